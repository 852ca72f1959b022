"""Which subnets a node leases: flannel's rules, over what the cluster's nodes hold already.

In: the `Network`, a `Claim`, and the `Holdings` of all nodes. Out: the leases of the claim, one per
family, or a `SubnetRefused` that names value, rule and other party. The hub calls this for every
claim, so it must stay quick with thousands of nodes, and must never give an address twice, also
after the operator has cut the network anew (see `holdings`).

A free subnet is the next one after the one given last, round and round. A subnet given back is
thus the last to be given again: a node that was cut off for longer than its lease most likely
finds its own still free, and peers have forgotten a subnet's old owner before it has a new one.
"""

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from podway.compute.holdings import Held, Holdings, Subnets, SubnetTable
from podway.errors import PodwayError
from podway.model.addresses import Family, IPNetwork, family_of
from podway.model.backend_keys import is_wireguard_key
from podway.model.networks import Network, Pool, VxlanConfig, WireguardConfig
from podway.model.nodes import BackendData, Claim, Lease, VtepData, WireguardData, Wish

NAME_MAX_CHARS = 253  # DNS, and with it Kubernetes
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
TTL_MAX_S = 10 * 365 * 86400
MISFITS_SHOWN = 3
_HEX = frozenset("0123456789abcdef")


class Rule(StrEnum):
    """The rule that a refused claim or reservation breaks."""

    NAME = "name"
    TTL = "ttl"
    BACKEND = "backend"
    FAMILIES = "families"
    ADDRESS = "address"
    ADDRESS_IN_USE = "address in use"
    FIT = "fit"
    OVERLAP = "overlap"
    EXHAUSTED = "exhausted"


class SubnetRefused(PodwayError):  # noqa: N818  (an answer, not an accident)
    """No subnet can be given; *rule* says which rule stands in the way."""

    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def compute_leases(network: Network, claim: Claim, holdings: Holdings) -> tuple[Lease, ...]:
    """Return the leases that *claim* gets, in the order of the network's pools: all or none.

    A node gets, per family, the subnet reserved for it; else the one it leases already; else the
    one it wishes for; else the next free one. What no longer fits the network, or is somebody
    else's, is passed over (a reservation is not: an operator must settle that).

    Raises:
        SubnetRefused: the claim breaks a rule of the network, a public address is another node's,
            or no subnet is left in a family.
    """
    check_name(claim.name)
    check_claim(network, claim)
    for wish in claim.wishes:
        _check_address_free(claim, wish, holdings)
    wishes = {wish.family: wish for wish in claim.wishes}
    return tuple(
        Lease(
            subnet=_choose(pool, wishes[pool.family], claim.name, holdings),
            public_ip=wishes[pool.family].public_ip,
            data=wishes[pool.family].data,
        )
        for pool in network.pools
    )


def check_reservation(network: Network, name: str, subnets: Subnets, holdings: Holdings) -> None:
    """Check that *subnets* may be kept for the node called *name*: they fit and are nobody else's.

    Raises:
        SubnetRefused: a family twice, a subnet that does not fit the network, or an overlap.
    """
    check_name(name)
    if len({subnet.version for subnet in subnets}) != len(subnets):
        listed = ", ".join(map(str, subnets))
        raise SubnetRefused(Rule.FAMILIES, f"reservation {listed} for {name}: one subnet a family")
    for subnet in subnets:
        pool = network.pool(family_of(subnet))
        if pool is None or not fits(pool, subnet):
            rule = describe_pool(pool) if pool else "the network has no such family"
            raise SubnetRefused(Rule.FIT, f"reservation {subnet} for node {name}: {rule}")
        held = holdings.conflict(name, subnet)
        if held is not None:
            message = f"reservation {subnet} for node {name} overlaps {describe_held(held)}"
            raise SubnetRefused(Rule.OVERLAP, message)


def fits(pool: Pool, subnet: IPNetwork) -> bool:
    """Tell whether *subnet* is one of those into which *pool* is cut and that may be leased."""
    if family_of(subnet) is not pool.family or subnet.prefixlen != pool.subnet_len:
        return False
    first, last = pool.subnet_min.network_address, pool.subnet_max.network_address
    return int(first) <= int(subnet.network_address) <= int(last)


def describe_misfits(network: Network, holdings: Holdings) -> str:
    """Return what nodes hold that has no place in *network*, in words; "" for nothing."""
    misfits = [
        f"{held.subnet} of node {held.owner} {misfit}"
        for table in holdings.tables.values()
        for held in table
        if (misfit := _misfit(network, held.subnet))
    ]
    if not misfits:
        return ""
    shown = "; ".join(misfits[:MISFITS_SHOWN])
    more = f"; and {len(misfits) - MISFITS_SHOWN} more" if len(misfits) > MISFITS_SHOWN else ""
    return (
        f"it would break what nodes hold: {shown}{more}; force it to let those nodes claim other "
        "subnets (their pods lose their addresses)"
    )


def _misfit(network: Network, subnet: IPNetwork) -> str:
    pool = network.pool(family_of(subnet))
    if pool is None:
        return f"({family_of(subnet).label} would be gone)"
    return "" if fits(pool, subnet) else f"({describe_pool(pool)})"


def describe_pool(pool: Pool) -> str:
    """Return the rule for a subnet of *pool*, for messages."""
    return (
        f"must be a /{pool.subnet_len} of {pool.prefix} "
        f"from {pool.subnet_min.network_address} to {pool.subnet_max.network_address}"
    )


def describe_held(held: Held) -> str:
    """Return whose *held* is and why, for messages."""
    why = "leased" if held.leased else "reserved"
    return f"{held.subnet}, {why} for node {held.owner}"


def check_name(name: str) -> None:
    """Check that *name* can name a node: it stands in messages, certificates and file names.

    Raises:
        SubnetRefused: it cannot.
    """
    if not (
        0 < len(name) <= NAME_MAX_CHARS
        and _NAME_CHARS.issuperset(name)
        and name[0].isalnum()
        and name[-1].isalnum()
    ):
        rule = f"must be 1 to {NAME_MAX_CHARS} letters, digits, '.', '-', '_'"
        message = f"node name {name[:80]!r}: {rule}, a letter or digit first and last"
        raise SubnetRefused(Rule.NAME, message)


def check_claim(network: Network, claim: Claim) -> None:
    """Check what *claim* says against *network* alone, whatever other nodes hold.

    Raises:
        SubnetRefused: time to live, backend, families, an address or tunnel data do not fit.
    """
    who = f"claim of node {claim.name}"
    if not 0 <= claim.ttl_s <= TTL_MAX_S:
        raise SubnetRefused(Rule.TTL, f"{who}: ttl_s = {claim.ttl_s}: must be 0 to {TTL_MAX_S}")
    if claim.backend != network.backend_name:
        message = f"{who}: backend {claim.backend!r}, but the network's is {network.backend_name!r}"
        raise SubnetRefused(Rule.BACKEND, message)
    wanted = sorted(pool.family for pool in network.pools)
    if sorted(wish.family for wish in claim.wishes) != wanted:
        given = _labels(wish.family for wish in claim.wishes) or "no family"
        message = f"{who} is for {given}, but the network has {_labels(iter(wanted))}"
        raise SubnetRefused(Rule.FAMILIES, f"{message}; give the node an address in each")
    for wish in claim.wishes:
        _check_wish(network, who, wish)


def _labels(families: Iterator[Family]) -> str:
    return " and ".join(family.label for family in families)


def _check_wish(network: Network, who: str, wish: Wish) -> None:
    address = wish.public_ip
    if family_of(address) is not wish.family:
        message = f"{who}: public address {address} must be {wish.family.label}"
        raise SubnetRefused(Rule.FAMILIES, message)
    if address.is_unspecified or address.is_loopback or address.is_multicast:
        message = f"{who}: public address {address}: peers cannot reach it"
        raise SubnetRefused(Rule.ADDRESS, message)
    for pool in network.pools:
        if address in pool.prefix:
            message = f"{who}: public address {address} must lie outside the network {pool.prefix}"
            raise SubnetRefused(Rule.ADDRESS, message)
    match network.backend:
        case VxlanConfig():
            _check_vtep(network.backend, who, wish)
        case WireguardConfig():
            _check_wireguard(who, wish)
        case _:
            pass


def _check_vtep(backend: VxlanConfig, who: str, wish: Wish) -> None:
    if not isinstance(wish.data, VtepData) or wish.data.vni != backend.vni:
        given = _describe_vtep(wish.data)
        message = f"{who}: {given} for {wish.family.label}; the network has VNI {backend.vni}"
        raise SubnetRefused(Rule.BACKEND, message)
    pairs = wish.data.mac.split(":")
    if len(pairs) != 6 or not all(len(pair) == 2 and _HEX.issuperset(pair) for pair in pairs):
        message = f"{who}: MAC {wish.data.mac!r}: must be six lower-case hex bytes"
        raise SubnetRefused(Rule.BACKEND, message)
    if int(pairs[0], 16) & 1 or set(pairs) == {"00"}:
        message = f"{who}: MAC {wish.data.mac}: must be the address of one interface"
        raise SubnetRefused(Rule.BACKEND, message)


def _describe_vtep(data: BackendData | None) -> str:
    return f"VNI {data.vni}" if isinstance(data, VtepData) else "no tunnel end point"


def _check_wireguard(who: str, wish: Wish) -> None:
    data = wish.data
    if not isinstance(data, WireguardData) or not is_wireguard_key(data.public_key):
        message = f"{who}: no WireGuard key for {wish.family.label}: must be 32 bytes in base64"
        raise SubnetRefused(Rule.BACKEND, message)
    if not 0 <= data.port <= 65535:
        message = f"{who}: UDP port {data.port} for {wish.family.label}: must be 0 to 65535"
        raise SubnetRefused(Rule.BACKEND, message)


def _check_address_free(claim: Claim, wish: Wish, holdings: Holdings) -> None:
    owner = holdings.owner_of(wish.public_ip)
    if owner is not None and owner != claim.name:
        raise SubnetRefused(
            Rule.ADDRESS_IN_USE,
            f"claim of node {claim.name}: public address {wish.public_ip} is node {owner}'s; "
            f"give one of them another address, or, if {owner} is gone for good, "
            f"`podway node remove {owner}`",
        )


def _choose(pool: Pool, wish: Wish, name: str, holdings: Holdings) -> IPNetwork:
    reserved = _of_family(holdings.reservations.get(name, ()), pool.family)
    if reserved is not None:
        return _check_reserved(pool, reserved, name)
    node = holdings.nodes.get(name)
    own = node.lease(pool.family) if node else None
    for subnet in (own.subnet if own else None, wish.subnet):
        if subnet is None or not fits(pool, subnet):
            continue
        if holdings.conflict(name, subnet) is None:
            return subnet
    return _next_free(pool, name, holdings.tables[pool.family])


def _of_family(subnets: Subnets, family: Family) -> IPNetwork | None:
    return next((subnet for subnet in subnets if family_of(subnet) is family), None)


def _check_reserved(pool: Pool, subnet: IPNetwork, name: str) -> IPNetwork:
    if not fits(pool, subnet):
        message = f"reservation {subnet} for node {name}: {describe_pool(pool)}; reserve another"
        raise SubnetRefused(Rule.FIT, message)
    return subnet


def _next_free(pool: Pool, name: str, table: SubnetTable) -> IPNetwork:
    first, last = int(pool.subnet_min.network_address), int(pool.subnet_max.network_address)
    size = 1 << (pool.family.bits - pool.subnet_len)
    after = (table.latest // size + 1) * size
    found = None
    if first <= after <= last:
        found = table.next_free(after, last, size)
    if found is None:
        found = table.next_free(first, last, size)
    if found is None:
        raise SubnetRefused(Rule.EXHAUSTED, _describe_exhausted(pool, name, table))
    if pool.family is Family.IPV4:
        return IPv4Network((found, pool.subnet_len))
    return IPv6Network((found, pool.subnet_len))


def _describe_exhausted(pool: Pool, name: str, table: SubnetTable) -> str:
    first, last = int(pool.subnet_min.network_address), int(pool.subnet_max.network_address)
    size = 1 << (pool.family.bits - pool.subnet_len)
    held = list(table.within(first, last + size - 1))
    leased = sum(each.leased for each in held)
    return (
        f"no {pool.family.label} subnet is free for node {name}: {leased} leased and "
        f"{len(held) - leased} reserved of the {(last - first) // size + 1} /{pool.subnet_len} "
        f"subnets of {pool.prefix}; `podway node remove` those that are gone for good, "
        "or enlarge the network"
    )
