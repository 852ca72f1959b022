"""Who holds which subnet by what etcd says, and which free one to try first. Pure.

In: an `EtcdView`. Out: `Holdings`, from which `compute_leases` decides as a hub would. What flannel
and people write keeps no rules: two leases may overlap, or cannot be read. Each of them counts as
taken as far as nobody else has taken it before, the widest first, so that nothing that anybody
might believe to be his is ever given away. But who claims a whole prefix of the network, or the
world, has none of it: that can only be a slip, and would leave nothing for anybody.

There is no single writer here, so nodes that join at the same moment must not all try the same
subnet. Each begins at a place of its own, which follows from its name: it rarely meets others, and
a node that comes back after its lease has ended mostly finds the subnet that it had.
"""

import hashlib

from msgspec.structs import replace

from podway.compute.holdings import Holdings, Subnets
from podway.compute.subnets import find_free, fits
from podway.model.addresses import IPNetwork, family_of, prefix_contains
from podway.model.networks import Network, Pool
from podway.model.nodes import Claim, Wish
from podway.store.etcd_view import Entry, EtcdView
from podway.store.flannel_data import parse_subnet_key

# Places that one attempt looks at before it takes whatever is free.
_PROBES = 16


def holdings_of(view: EtcdView, name: str = "", own: Entry | None = None) -> Holdings:
    """Return what nodes hold, the lease *own* as that of the node called *name*."""
    holdings = Holdings()
    leases = ((_possible(view, entry.subnets), entry) for entry in view.entries.values())
    for subnets, entry in sorted(((found, entry) for found, entry in leases if found), key=_width):
        owner = name if own is not None and entry.key == own.key else entry.name
        free = tuple(each for each in subnets if holdings.conflict(owner, each) is None)
        if entry.node is not None and free == entry.subnets and owner not in holdings.nodes:
            holdings.set_node(owner, replace(entry.node, name=owner))
        elif free:
            holdings.set_reservation(entry.key, free)
    for reserved_for, reserved in sorted(view.reservations.items()):
        subnets = _possible(view, reserved)
        free = tuple(each for each in subnets if holdings.conflict(reserved_for, each) is None)
        holdings.set_reservation(reserved_for, free)
    _hold_ipv6(view, holdings, name)
    return holdings


def _possible(view: EtcdView, subnets: Subnets) -> Subnets:
    """Return those of *subnets* that do not hold a whole prefix of the network."""
    network = view.network
    if network is None:
        return subnets
    return tuple(
        each
        for each in subnets
        if not any(prefix_contains(each, prefix) for prefix in network.prefixes(family_of(each)))
    )


def _width(item: tuple[tuple[IPNetwork, ...], Entry]) -> tuple[int, str]:
    subnets, entry = item
    return (min(each.prefixlen for each in subnets), entry.key)


def _hold_ipv6(view: EtcdView, holdings: Holdings, name: str) -> None:
    """Count IPv6 subnets as taken whose lease is gone, but not the key that keeps them."""
    for key, held in view.ipv6.items():
        subnets = _possible(view, parse_subnet_key(key))
        if held.value != name.encode() and not any(holdings.conflict("", s) for s in subnets):
            holdings.set_reservation(key, subnets)


def with_candidates(network: Network, claim: Claim, holdings: Holdings, attempt: int) -> Claim:
    """Return *claim* with a free subnet to wish for in each family, where its own is not free.

    Each *attempt* begins at another place.
    """
    return replace(
        claim,
        wishes=tuple(
            _with_candidate(network, claim.name, wish, holdings, attempt) for wish in claim.wishes
        ),
    )


def _with_candidate(
    network: Network, name: str, wish: Wish, holdings: Holdings, attempt: int
) -> Wish:
    subnet, pools = wish.subnet, network.pools_of(wish.family)
    kept = subnet is not None and any(
        fits(pool, subnet) and not (pool.drain and wish.leave) for pool in pools
    )
    if kept and subnet is not None and holdings.conflict(name, subnet) is None:
        return wish
    return replace(wish, subnet=_candidate(pools, name, holdings, attempt))


def _candidate(
    pools: tuple[Pool, ...], name: str, holdings: Holdings, attempt: int
) -> IPNetwork | None:
    """Return a free subnet of the first pool that has room; None leaves it to `compute_leases`."""
    for pool in pools:
        if pool.drain:
            continue
        found = _probe(pool, name, holdings, attempt)
        if found is not None or find_free(pool, holdings.tables[pool.family]) is not None:
            return found
    return None


def _probe(pool: Pool, name: str, holdings: Holdings, attempt: int) -> IPNetwork | None:
    for probe in range(attempt * _PROBES, (attempt + 1) * _PROBES):
        digest = hashlib.sha256(f"{name}\0{pool.family.label}\0{probe}".encode()).digest()
        number = pool.first + int.from_bytes(digest[:16], "big") % pool.room * pool.step
        subnet = pool.subnet_at(number)
        if holdings.conflict(name, subnet) is None:
            return subnet
    return None
