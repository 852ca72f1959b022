"""Which subnets a node leases: flannel's rules, over what the cluster's nodes hold already.

In: the `Network`, a `Claim`, and the `Holdings` of all nodes. Out: the leases of the claim, one per
family, or a `SubnetRefused` that names value, rule and other party. The hub calls this for every
claim, so it must stay quick with thousands of nodes, and must never give an address twice, also
after the operator has cut the network anew (see `holdings`).

A free subnet is the next one after the one given last, round and round, in the first of the
network's pools that has room. A subnet given back is thus the last of its pool to be given again: a
node that was cut off for longer than its lease most likely finds its own still free, and peers have
forgotten a subnet's old owner before it has a new one.

A pool that is being drained gives nothing to those who have nothing in it. A node keeps its subnet
there, and may wish for the one that it lost, until it says that it has no use for it.
"""

from collections.abc import Iterator
from enum import StrEnum

from podway.compute.holdings import Held, Holdings, Subnets, SubnetTable
from podway.compute.tunnel_ends import describe_unfit_end
from podway.errors import PodwayError
from podway.model.addresses import Family, IPNetwork, family_of
from podway.model.networks import Network, Pool
from podway.model.nodes import Claim, Lease, Wish

NAME_MAX_CHARS = 253  # DNS, and with it Kubernetes
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
TTL_MAX_S = 10 * 365 * 86400
MISFITS_SHOWN = 3


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
    """Return the leases that *claim* gets, one for each family of the network: all or none.

    A node gets, per family, the subnet reserved for it; else the one it leases already; else the
    one it wishes for; else the next free one. What no longer fits the network, or is somebody
    else's, is passed over (a reservation is not: an operator must settle that); so is what the node
    can do without and the network wants drained, if there is another.

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
            subnet=_choose(network.pools_of(family), wishes[family], claim.name, holdings),
            public_ip=wishes[family].public_ip,
            data=wishes[family].data,
        )
        for family in network.families
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
        if not has_place(network, subnet):
            rule = _describe_places(network.pools_of(family_of(subnet)))
            raise SubnetRefused(Rule.FIT, f"reservation {subnet} for node {name}: {rule}")
        held = holdings.conflict(name, subnet)
        if held is not None:
            message = f"reservation {subnet} for node {name} overlaps {describe_held(held)}"
            raise SubnetRefused(Rule.OVERLAP, message)


def fits(pool: Pool, subnet: IPNetwork) -> bool:
    """Tell whether *subnet* is one of those into which *pool* is cut and that may be leased."""
    if family_of(subnet) is not pool.family or subnet.prefixlen != pool.subnet_len:
        return False
    return pool.first <= int(subnet.network_address) <= pool.last


def has_place(network: Network, subnet: IPNetwork) -> bool:
    """Tell whether *subnet* is one that may be leased in *network*, drained pools included."""
    return any(fits(pool, subnet) for pool in network.pools)


def is_drained(network: Network, subnet: IPNetwork) -> bool:
    """Tell whether *subnet* lies where *network* wants nobody any more."""
    pool = network.pool_around(subnet)
    return pool is not None and pool.drain


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
        f"it would break what nodes hold: {shown}{more}; keep that prefix in Networks with "
        '"Drain": true until nobody holds any of it, or force it to let those nodes claim other '
        "subnets (their pods lose their addresses)"
    )


def _misfit(network: Network, subnet: IPNetwork) -> str:
    if has_place(network, subnet):
        return ""
    pools = network.pools_of(family_of(subnet))
    return f"({_describe_places(pools) if pools else f'{family_of(subnet).label} would be gone'})"


def _describe_places(pools: tuple[Pool, ...]) -> str:
    """Return the rule for a subnet of any of *pools*, for messages."""
    if not pools:
        return "the network has no such family"
    return "must be " + ", or ".join(
        f"a /{pool.subnet_len} of {pool.prefix} "
        f"from {pool.subnet_min.network_address} to {pool.subnet_max.network_address}"
        for pool in pools
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
    wanted = network.families
    if sorted(wish.family for wish in claim.wishes) != list(wanted):
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
    unfit = describe_unfit_end(network.backend, wish)
    if unfit:
        raise SubnetRefused(Rule.BACKEND, f"{who}: {unfit}")


def _check_address_free(claim: Claim, wish: Wish, holdings: Holdings) -> None:
    owner = holdings.owner_of(wish.public_ip)
    if owner is not None and owner != claim.name:
        raise SubnetRefused(
            Rule.ADDRESS_IN_USE,
            f"claim of node {claim.name}: public address {wish.public_ip} is node {owner}'s; "
            f"give one of them another address, or, if {owner} is gone for good, "
            f"`podway node remove {owner}`",
        )


def _choose(pools: tuple[Pool, ...], wish: Wish, name: str, holdings: Holdings) -> IPNetwork:
    family = wish.family
    reserved = _of_family(holdings.reservations.get(name, ()), family)
    if reserved is not None:
        return _check_reserved(pools, reserved, name)
    node = holdings.nodes.get(name)
    own = node.lease(family) if node else None
    had = [subnet for subnet in (own.subnet if own else None, wish.subnet) if subnet is not None]
    for subnet in had:
        if _is_wanted(pools, subnet, wish) and holdings.conflict(name, subnet) is None:
            return subnet
    free = _next_free(pools, holdings.tables[family])
    if free is not None:
        return free
    if wish.leave and own is not None and any(fits(pool, own.subnet) for pool in pools):
        return own.subnet
    raise SubnetRefused(Rule.EXHAUSTED, _describe_exhausted(pools, name, holdings.tables[family]))


def _is_wanted(pools: tuple[Pool, ...], subnet: IPNetwork, wish: Wish) -> bool:
    return any(fits(pool, subnet) and not (pool.drain and wish.leave) for pool in pools)


def _of_family(subnets: Subnets, family: Family) -> IPNetwork | None:
    return next((subnet for subnet in subnets if family_of(subnet) is family), None)


def _check_reserved(pools: tuple[Pool, ...], subnet: IPNetwork, name: str) -> IPNetwork:
    if not any(fits(pool, subnet) for pool in pools):
        rule = _describe_places(pools)
        raise SubnetRefused(
            Rule.FIT, f"reservation {subnet} for node {name}: {rule}; reserve another"
        )
    return subnet


def _next_free(pools: tuple[Pool, ...], table: SubnetTable) -> IPNetwork | None:
    """Return a free subnet of the first pool that has one, None where none has."""
    for pool in pools:
        found = None if pool.drain else find_free(pool, table)
        if found is not None:
            return pool.subnet_at(found)
    return None


def find_free(pool: Pool, table: SubnetTable) -> int | None:
    """Return the number of the next free subnet of *pool*, None where it has no room."""
    after = (table.latest // pool.step + 1) * pool.step
    if pool.first <= after <= pool.last:
        found = table.next_free(after, pool.last, pool.step)
        if found is not None:
            return found
    return table.next_free(pool.first, pool.last, pool.step)


def _describe_exhausted(pools: tuple[Pool, ...], name: str, table: SubnetTable) -> str:
    counts = "; ".join(_describe_use(pool, table) for pool in pools if not pool.drain)
    return (
        f"no {pools[0].family.label} subnet is free for node {name}: {counts}; "
        "`podway node remove` those that are gone for good, or enlarge the network "
        "(Networks takes further prefixes)"
    )


def _describe_use(pool: Pool, table: SubnetTable) -> str:
    leased, reserved = count_use(pool, table)
    return (
        f"{leased} leased and {reserved} reserved of the {pool.room} /{pool.subnet_len} "
        f"subnets of {pool.prefix}"
    )


def count_use(pool: Pool, table: SubnetTable) -> tuple[int, int]:
    """Return how many subnets of *pool* are leased, and how many are reserved only."""
    held = list(table.within(pool.first, pool.last + pool.step - 1))
    leased = sum(each.leased for each in held)
    return leased, len(held) - leased
