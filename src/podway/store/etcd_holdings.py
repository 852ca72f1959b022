"""Who holds which subnet by what etcd says, and which free one to try first. Pure.

In: an `EtcdView`. Out: `Holdings`, from which `compute_leases` decides as a hub would. What flannel
and people write keeps no rules: two leases may overlap, or cannot be read. Each of them counts as
taken as far as nobody else has taken it before, the widest first, so that nothing that anybody
might believe to be his is ever given away.

There is no single writer here, so nodes that join at the same moment must not all try the same
subnet. Each begins at a place of its own, which follows from its name: it rarely meets others, and
a node that comes back after its lease has ended mostly finds the subnet that it had.
"""

import hashlib
from ipaddress import IPv4Network, IPv6Network

from msgspec.structs import replace

from podway.compute.holdings import Holdings
from podway.compute.subnets import fits
from podway.model.addresses import Family, IPNetwork
from podway.model.networks import Network, Pool
from podway.model.nodes import Claim, Wish
from podway.store.etcd_view import Entry, EtcdView
from podway.store.flannel_data import FlannelDataError, parse_subnet_key

# Places that one attempt looks at before it takes whatever is free.
_PROBES = 16


def holdings_of(view: EtcdView, name: str = "", own: Entry | None = None) -> Holdings:
    """Return what nodes hold, the lease *own* as that of the node called *name*."""
    holdings = Holdings()
    for subnets, entry in sorted(
        ((entry.subnets, entry) for entry in view.entries.values() if entry.subnets), key=_width
    ):
        owner = name if own is not None and entry.key == own.key else entry.name
        free = tuple(each for each in subnets if holdings.conflict(owner, each) is None)
        if entry.node is not None and free == subnets and owner not in holdings.nodes:
            holdings.set_node(owner, replace(entry.node, name=owner))
        elif free:
            holdings.set_reservation(entry.key, free)
    for reserved_for, subnets in sorted(view.reservations.items()):
        free = tuple(each for each in subnets if holdings.conflict(reserved_for, each) is None)
        holdings.set_reservation(reserved_for, free)
    _hold_ipv6(view, holdings, name)
    return holdings


def _width(item: tuple[tuple[IPNetwork, ...], Entry]) -> tuple[int, str]:
    subnets, entry = item
    return (min(each.prefixlen for each in subnets), entry.key)


def _hold_ipv6(view: EtcdView, holdings: Holdings, name: str) -> None:
    """Count IPv6 subnets as taken whose lease is gone, but not the key that keeps them."""
    for key, held in view.ipv6.items():
        try:
            subnets = parse_subnet_key(key)
        except FlannelDataError:
            continue
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
    pool = network.pool(wish.family)
    if pool is None:
        return wish
    subnet = wish.subnet
    if subnet is not None and fits(pool, subnet) and holdings.conflict(name, subnet) is None:
        return wish
    return replace(wish, subnet=_candidate(pool, name, holdings, attempt))


def _candidate(pool: Pool, name: str, holdings: Holdings, attempt: int) -> IPNetwork | None:
    first, last = int(pool.subnet_min.network_address), int(pool.subnet_max.network_address)
    size = 1 << (pool.family.bits - pool.subnet_len)
    count = (last - first) // size + 1
    for probe in range(attempt * _PROBES, (attempt + 1) * _PROBES):
        digest = hashlib.sha256(f"{name}\0{pool.family.label}\0{probe}".encode()).digest()
        number = first + int.from_bytes(digest[:16], "big") % count * size
        subnet = _subnet(pool, number)
        if holdings.conflict(name, subnet) is None:
            return subnet
    return None


def _subnet(pool: Pool, number: int) -> IPNetwork:
    if pool.family is Family.IPV4:
        return IPv4Network((number, pool.subnet_len))
    return IPv6Network((number, pool.subnet_len))
