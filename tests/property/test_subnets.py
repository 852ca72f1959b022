"""Whatever nodes claim, release, reserve and lose: no two ever hold overlapping subnets."""

import json
from ipaddress import ip_address, ip_network
from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from podway.compute.holdings import Holdings
from podway.compute.subnets import (
    Rule,
    SubnetRefused,
    check_reservation,
    compute_leases,
    find_free,
    fits,
)
from podway.model.addresses import Family, IPNetwork
from podway.model.networks import Network, Pool, parse_network
from podway.model.nodes import Claim, Node, Wish

NAMES = st.sampled_from([f"n{number}" for number in range(9)])


def dual(length4: int, length6: int, prefixes4: list[int], drained: set[int]) -> Network:
    """Return a network of both families; in IPv4 it has the named ones of three /24 prefixes."""
    first, *others = prefixes4
    further = [
        {"Network": f"10.9.{number}.0/24", "SubnetLen": length4, "Drain": number in drained}
        for number in others
    ]
    return parse_network(
        json.dumps(
            {
                "Network": f"10.9.{first}.0/24",
                "SubnetLen": length4,
                "EnableIPv6": True,
                "IPv6Network": "fd00:9::/60",
                "IPv6SubnetLen": length6,
                "Networks": further,
                "Backend": {"Type": "host-gw"},
            }
        )
    )


# An operator who changes the lengths and the prefixes under live leases is the hard case.
NETWORKS = st.builds(
    dual,
    st.integers(26, 28),
    st.integers(62, 64),
    st.permutations(range(3)).flatmap(lambda order: st.integers(1, 3).map(lambda n: order[:n])),
    st.sets(st.integers(0, 2)),
)


def subnet4(number: int, length: int) -> IPNetwork:
    return ip_network((0x0A090000 + (number << 4), length), strict=False)


def subnet6(number: int, length: int) -> IPNetwork:
    return ip_network(((0xFD000009 << 96) + (number << 64), length), strict=False)


SUBNETS4 = st.builds(subnet4, st.integers(0, 49), st.integers(26, 28))
SUBNETS6 = st.builds(subnet6, st.integers(0, 17), st.integers(62, 64))
CLAIMS = st.tuples(
    st.just("claim"),
    NAMES,
    st.integers(1, 9),
    st.none() | SUBNETS4,
    st.none() | SUBNETS6,
    st.booleans(),
)
STEPS = st.one_of(
    CLAIMS,
    st.tuples(st.just("gone"), NAMES),
    st.tuples(st.just("reserve"), NAMES, SUBNETS4, SUBNETS6),
    st.tuples(st.just("unreserve"), NAMES),
    st.tuples(st.just("network"), NETWORKS),
)


def make_claim(
    name: str,
    host: int,
    wish4: IPNetwork | None,
    wish6: IPNetwork | None,
    leave: bool,  # noqa: FBT001
) -> Claim:
    ipv4, ipv6 = ip_address(f"192.0.2.{host}"), ip_address(f"2001:db8::{host}")
    return Claim(
        name=name,
        backend="host-gw",
        wishes=(
            Wish(family=Family.IPV4, public_ip=ipv4, subnet=wish4, leave=leave),
            Wish(family=Family.IPV6, public_ip=ipv6, subnet=wish6),
        ),
    )


def step(holdings: Holdings, network: Network, action: tuple[Any, ...]) -> Network:
    """Do *action* as the hub would, refusals included; return the network from then on."""
    match action:
        case ("claim", name, *rest):
            claim = make_claim(name, *rest)
            try:
                leases = compute_leases(network, claim, holdings)
            except SubnetRefused:
                return network
            for lease in leases:
                check_choice(network, holdings, claim, lease.subnet)
            holdings.set_node(name, Node(name=name, backend="host-gw", leases=leases))
        case ("gone", name):
            holdings.set_node(name, None)
        case ("reserve", name, *subnets):
            try:
                check_reservation(network, name, tuple(subnets), holdings)
            except SubnetRefused:
                return network
            holdings.set_reservation(name, tuple(subnets))
        case ("unreserve", name):
            holdings.set_reservation(name, ())
        case ("network", new):
            assert isinstance(new, Network)
            return new
        case other:
            raise AssertionError(other)
    return network


def check_choice(network: Network, holdings: Holdings, claim: Claim, subnet: IPNetwork) -> None:
    """Check that *subnet* is what *claim* should be given in its family, where that is certain."""
    family = Family.IPV4 if subnet.version == 4 else Family.IPV6
    (wish,) = (each for each in claim.wishes if each.family is family)
    (chosen,) = (pool for pool in network.pools if fits(pool, subnet))
    own = holdings.nodes.get(claim.name)
    lease = own.lease(family) if own is not None else None
    if subnet in holdings.reservations.get(claim.name, ()):
        return
    if lease is not None and subnet == lease.subnet:
        assert not (chosen.drain and wish.leave and has_room(network, holdings, family))
        return
    if subnet == wish.subnet:
        assert not (chosen.drain and wish.leave)
        return
    assert not chosen.drain
    for pool in network.pools_of(family):
        if pool == chosen:
            break
        assert pool.drain or find_free(pool, holdings.tables[family]) is None


def has_room(network: Network, holdings: Holdings, family: Family) -> bool:
    return any(
        find_free(pool, holdings.tables[family]) is not None
        for pool in network.pools_of(family)
        if not pool.drain
    )


def held_by(holdings: Holdings) -> set[tuple[str, IPNetwork]]:
    leased = {
        (name, lease.subnet) for name, node in holdings.nodes.items() for lease in node.leases
    }
    reserved = {(name, each) for name, subnets in holdings.reservations.items() for each in subnets}
    return leased | reserved


@given(NETWORKS, st.lists(STEPS, max_size=40))
def test_no_two_nodes_ever_overlap(network: Network, actions: list[tuple[Any, ...]]) -> None:
    holdings = Holdings()
    for action in actions:
        network = step(holdings, network, action)
        held = held_by(holdings)
        for (name, one), (other, two) in combinations(held, 2):
            assert name == other or not overlap(one, two), f"{name}'s {one}, {other}'s {two}"
        addresses = [lease.public_ip for n in holdings.nodes.values() for lease in n.leases]
        assert len(addresses) == len(set(addresses))
        assert {(h.owner, h.subnet) for t in holdings.tables.values() for h in t} == held


def overlap(one: IPNetwork, two: IPNetwork) -> bool:
    return one.version == two.version and (
        int(one.network_address) <= int(two.broadcast_address)
        and int(two.network_address) <= int(one.broadcast_address)
    )


@given(NETWORKS, st.lists(STEPS, max_size=40))
def test_the_same_history_gives_the_same_leases(
    network: Network, actions: list[tuple[Any, ...]]
) -> None:
    ends = []
    for _ in range(2):
        holdings, current = Holdings(), network
        for action in actions:
            current = step(holdings, current, action)
        ends.append((holdings.nodes, holdings.reservations))
    assert ends[0] == ends[1]


@given(NETWORKS, st.lists(STEPS, max_size=40), CLAIMS)
def test_a_refused_claim_was_refused_for_a_reason(
    network: Network, actions: list[tuple[Any, ...]], last: tuple[Any, ...]
) -> None:
    """Exhausted means: every block that may be leased touches something held by another."""
    holdings = Holdings()
    for action in actions:
        network = step(holdings, network, action)
    try:
        compute_leases(network, make_claim(*last[1:]), holdings)
    except SubnetRefused as error:
        if error.rule is not Rule.EXHAUSTED:
            return
        held = [subnet for _, subnet in held_by(holdings)]
        blocks = [
            [
                ip_network((number, pool.subnet_len))
                for pool in network.pools_of(family)
                if not pool.drain
                for number in numbers(pool)
            ]
            for family in network.families
        ]
        assert any(all(any(overlap(b, h) for h in held) for b in family) for family in blocks)


def numbers(pool: Pool) -> range:
    return range(pool.first, pool.last + 1, 1 << (pool.family.bits - pool.subnet_len))


@given(NETWORKS, st.lists(STEPS, max_size=30), CLAIMS)
def test_a_claim_repeated_gives_the_same(
    network: Network, actions: list[tuple[Any, ...]], last: tuple[Any, ...]
) -> None:
    holdings = Holdings()
    for action in actions:
        network = step(holdings, network, action)
    claim = make_claim(*last[1:])
    try:
        leases = compute_leases(network, claim, holdings)
    except SubnetRefused:
        return
    holdings.set_node(claim.name, Node(name=claim.name, backend="host-gw", leases=leases))
    assert compute_leases(network, claim, holdings) == leases
