"""Which operation comes first: a table of batches, and that the input's order does not matter."""

import itertools
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from podway.diff.operations import Operation, Verb
from podway.diff.order import device_of, in_order
from podway.model.addresses import Family
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    NftTable,
    Route,
    Rule,
    Sysctl,
    Veth,
)

VTEP = Link(name="podway.1", kind=Veth())
BRIDGE = Link(name="cni0", kind=Bridge())
# Sorts before its bridge by name, so that only the rule can put it behind.
PORT = Link(name="a0", kind=Veth(), master="cni0")
ADDRESS = Address("podway.1", ip_interface("10.244.1.0/32"))
OTHER = Address("podway.1", ip_interface("10.99.1.0/32"))
QUIET = Sysctl("ipv6/conf/podway.1/accept_ra", "0", "podway.1")
PROXY = Neighbour("podway.1", ip_address("10.244.2.1"), proxy=True)
NEIGHBOUR = Neighbour("podway.1", ip_address("10.244.2.0"), "02:00:00:00:00:01")
FDB = FdbEntry("podway.1", "02:00:00:00:00:01", ip_address("192.0.2.2"))
ROUTE = Route(dst=ip_network("10.244.2.0/24"), dev="podway.1")
PLAIN = Route(dst=ip_network("10.244.2.0/24"), dev="eth0", metric=5)
RULE = Rule(family=Family.IPV4, priority=1, table=2)
TABLE = NftTable("inet", "podway", "")

ALL: list[KernelObject] = [VTEP, ADDRESS, QUIET, PROXY, NEIGHBOUR, FDB, ROUTE, RULE, TABLE]


def create(item: KernelObject) -> Operation:
    return Operation(Verb.CREATE, item.key, item)


def change(item: KernelObject) -> Operation:
    return Operation(Verb.CHANGE, item.key, item, item)


def delete(item: KernelObject) -> Operation:
    return Operation(Verb.DELETE, item.key, None, item)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(
            [create(item) for item in ALL],
            [create(item) for item in ALL],
            id="what others stand on comes first",
        ),
        pytest.param(
            [change(item) for item in ALL],
            [change(item) for item in ALL],
            id="changes like creations",
        ),
        pytest.param(
            [delete(item) for item in ALL if item is not VTEP],
            [delete(item) for item in reversed(ALL) if item is not VTEP],
            id="what stands on others goes first",
        ),
        pytest.param(
            [delete(VTEP), delete(ADDRESS), delete(NEIGHBOUR), delete(FDB), delete(ROUTE)],
            [delete(VTEP)],
            id="what stands on a device goes with it",
        ),
        pytest.param(
            [delete(VTEP), delete(PLAIN), delete(TABLE)],
            [delete(TABLE), delete(PLAIN), delete(VTEP)],
            id="what stands elsewhere does not, and devices go last",
        ),
        pytest.param(
            [delete(VTEP), create(BRIDGE), create(PLAIN), delete(ROUTE)],
            [create(BRIDGE), create(PLAIN), delete(VTEP)],
            id="the new way is there before the old device goes",
        ),
        pytest.param(
            [delete(VTEP), create(VTEP), create(ROUTE), delete(FDB)],
            [delete(VTEP), create(VTEP), create(ROUTE)],
            id="made anew: gone before its successor comes",
        ),
        pytest.param(
            [delete(PLAIN), create(ROUTE)],
            [delete(PLAIN), create(ROUTE)],
            id="what goes away goes first",
        ),
        pytest.param(
            [create(PORT), create(BRIDGE)],
            [create(BRIDGE), create(PORT)],
            id="a bridge before its ports",
        ),
        pytest.param(
            [delete(BRIDGE), delete(PORT)],
            [delete(PORT), delete(BRIDGE)],
            id="a port does not go with its bridge",
        ),
        pytest.param(
            [delete(BRIDGE), create(BRIDGE), change(PORT)],
            [delete(BRIDGE), create(BRIDGE), change(PORT)],
            id="a bridge made anew, then its ports",
        ),
        pytest.param(
            [delete(ADDRESS), create(OTHER), delete(PLAIN), delete(PORT)],
            [delete(PLAIN), create(OTHER), delete(ADDRESS), delete(PORT)],
            id="a device is never without an address that has one and gets another",
        ),
    ],
)
def test_order(batch: list[Operation], expected: list[Operation]) -> None:
    for permutation in itertools.islice(itertools.permutations(batch), 200):
        assert in_order(permutation) == expected


def test_every_verb_of_every_kind_has_a_place() -> None:
    for item, make in itertools.product([*ALL, BRIDGE, PORT], (create, change, delete)):
        assert in_order([make(item)]) == [make(item)]


@pytest.mark.parametrize(
    ("item", "dev"),
    [
        pytest.param(VTEP, "podway.1", id="a link stands on itself"),
        pytest.param(PORT, "a0", id="a port too"),
        pytest.param(ROUTE, "podway.1", id="route"),
        pytest.param(Route(dst=ROUTE.dst, kind="unreachable"), "", id="unreachable route"),
        pytest.param(QUIET, "podway.1", id="sysctl of a device"),
        pytest.param(Sysctl("ipv4/ip_forward", "1"), "", id="sysctl"),
        pytest.param(TABLE, "", id="table"),
        pytest.param(RULE, "", id="rule"),
        pytest.param(None, "", id="nothing"),
    ],
)
def test_device_of(item: KernelObject | None, dev: str) -> None:
    assert device_of(item) == dev


def test_an_operation_says_what_it_does() -> None:
    assert str(create(ROUTE)) == "create route 2 254 10.244.2.0/24 0"
    assert str(delete(VTEP)) == "delete link podway.1"
