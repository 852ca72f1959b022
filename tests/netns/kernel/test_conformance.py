"""Every verb on every kind of object, against the kernel in memory and the real one.

The same expectations hold for both, which is what lets other tests trust the one in memory.
"""

from ipaddress import ip_address, ip_interface, ip_network
from typing import get_args

import pytest
from msgspec.structs import replace

from netns.kernel.cases import CASES
from netns.kernel.stock import Case
from netns.kernel.worlds import (
    World,
    apply,
    build,
    change,
    delete,
    forget,
    read_one,
    wait_for,
    wait_for_more,
)
from podway.diff.compare import Difference, compare
from podway.diff.operations import Verb
from podway.kernel.protocol import Seen
from podway.model.kernel import (
    Address,
    AllowedIp,
    KernelObject,
    Link,
    Offload,
    Route,
    Sysctl,
    UdpPeer,
    UdpRelay,
    WireguardDevice,
    WireguardPeer,
)

# What nobody can delete.
LASTING = (Sysctl, Offload)


def over(*cases: Case) -> pytest.MarkDecorator:
    """Run a test over *cases*, each on a kernel that has what it needs."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(
                case, id=case.name, marks=pytest.mark.kernel(case.feature) if case.feature else ()
            )
            for case in cases
        ],
    )


every_case = over(*CASES)
deletable = over(*(case for case in CASES if not isinstance(case.item, LASTING)))
changeable = over(*(case for case in CASES if case.other is not None))


def test_the_cases_cover_every_kind() -> None:
    wireguard = {WireguardDevice, WireguardPeer, AllowedIp}  # test_wireguard.py
    elsewhere = wireguard | {UdpRelay, UdpPeer}  # test_relays.py
    assert {type(case.item) for case in CASES} == set(get_args(KernelObject)) - elsewhere
    assert {case.item.key.kind for case in CASES} == {
        "link", "address", "route", "neighbour", "proxy", "fdb", "rule", "sysctl", "offload", "nft",
    }  # fmt: skip


def test_every_verb_has_a_test_over_every_case() -> None:
    tests = {name for name in globals() if name.startswith("test_")}
    assert {f"test_{verb.value}" for verb in Verb} <= tests


@every_case
def test_create(world: World, case: Case) -> None:
    build(world, *case.needs, case.item)
    world.assert_there(case.item)
    assert _matches(case.item, read_one(world, case.item.key))
    assert _seen_of(world, case.item) == []


@every_case
def test_create_what_is_there(world: World, case: Case) -> None:
    build(world, *case.needs, case.item, case.item)
    build(world, case.item)
    world.assert_there(case.item)


@changeable
def test_create_over_another_value(world: World, case: Case) -> None:
    assert case.other is not None
    build(world, *case.needs, case.other)
    build(world, case.item)
    world.assert_there(case.item)
    assert _matches(case.item, read_one(world, case.item.key))


@changeable
def test_change(world: World, case: Case) -> None:
    assert case.other is not None
    build(world, *case.needs, case.item)
    apply(world, change(case.other, case.item))
    world.assert_there(case.other)
    assert _matches(case.other, read_one(world, case.item.key))
    apply(world, change(case.item, case.other))
    world.assert_there(case.item)
    assert _seen_of(world, case.item) == []


@every_case
def test_delete(world: World, case: Case) -> None:
    build(world, *case.needs, case.item)
    apply(world, delete(case.item), delete(case.item))
    apply(world, delete(case.item))
    if isinstance(case.item, LASTING):
        world.assert_there(case.item)  # nobody knows what it was before
        return
    world.assert_gone(case.item.key)
    assert read_one(world, case.item.key) is None
    assert _seen_of(world, case.item) == []


@every_case
def test_delete_with_what_it_stands_on_gone(world: World, case: Case) -> None:
    build(world, *case.needs, case.item)
    apply(world, *(delete(item) for item in reversed(case.needs)), delete(case.item))


@every_case
def test_reading_tells_what_is_ours_without_being_asked(world: World, case: Case) -> None:
    build(world, *case.needs, case.item)
    expected = not isinstance(case.item, LASTING)
    assert (case.item.key in world.kernel.read([])) is expected


@every_case
def test_reading_a_device_tells_of_it_alone(world: World, case: Case) -> None:
    build(world, *case.needs, case.item)
    dev = getattr(case.item, "dev", "")
    if dev:
        state = world.kernel.read_dev(dev, [case.item.key])
        assert _matches(case.item, state.get(case.item.key))
        assert all(getattr(item, "dev", dev) in {dev, ""} for item in state.values())


@deletable
def test_tampering_by_deletion_is_told(world: World, case: Case) -> None:
    build(world, *case.needs, case.item)
    forget(world)
    world.tamper_delete(case.item)
    if case.is_told:
        wait_for(world, Seen(case.item.key, None))
    assert read_one(world, case.item.key) is None
    build(world, case.item)
    world.assert_there(case.item)


@changeable
def test_tampering_by_change_is_told(world: World, case: Case) -> None:
    assert case.other is not None
    build(world, *case.needs, case.item)
    forget(world)
    world.tamper_set(case.other)
    if case.is_told:
        _wait_for_another_value(world, case.item)
    found = read_one(world, case.item.key)
    assert found is not None
    assert not _matches(case.item, found)
    apply(world, change(case.item, found))
    world.assert_there(case.item)
    assert _matches(case.item, read_one(world, case.item.key))


@changeable
def test_what_is_wanted_is_read_whoever_wrote_it(world: World, case: Case) -> None:
    assert case.other is not None
    build(world, *case.needs)
    foreign = _as_foreign(case.other)
    world.tamper_set(foreign)
    assert not _matches(case.item, read_one(world, case.item.key))
    if isinstance(foreign, Link | Route):
        assert foreign.key not in world.kernel.read([])
    build(world, case.item)
    world.assert_there(case.item)


def test_addresses_of_one_prefix_and_another_length(world: World) -> None:
    """IPv4 has both; IPv6 takes the second one for the first, and must be made to change it."""
    build(world, CASES[0].item)
    for short, long in (("10.1.0.1/24", "10.1.0.1/25"), ("fd01::1/64", "fd01::1/80")):
        first, second = Address("cni0", ip_interface(short)), Address("cni0", ip_interface(long))
        build(world, first, second)
        world.assert_there(second)
        assert read_one(world, second.key) == second
    assert read_one(world, Address("cni0", ip_interface("10.1.0.1/24")).key) is not None
    assert read_one(world, Address("cni0", ip_interface("fd01::1/64")).key) is None


def test_primary_address_takes_its_secondaries_along(world: World) -> None:
    bridge = CASES[0].item
    first = Address("cni0", ip_interface("10.1.0.1/24"))
    second = Address("cni0", ip_interface("10.1.0.2/24"))
    other = Address("cni0", ip_interface("10.1.1.2/24"))
    build(world, bridge, first, second, other)
    forget(world)
    apply(world, delete(first))
    wait_for(world, Seen(second.key, None))
    state = world.kernel.read([])
    assert (first.key in state, second.key in state, other.key in state) == (False, False, True)


def test_routes_go_with_the_address_that_they_name(world: World) -> None:
    source = Address("cni0", ip_interface("10.1.0.1/24"))
    route = Route(dst=ip_network("10.5.0.0/24"), dev="eth0", src=ip_address("10.1.0.1"))
    build(world, CASES[0].item, source, route)
    apply(world, delete(source))
    world.assert_gone(route.key)


def _matches(item: KernelObject, found: KernelObject | None) -> bool:
    return found is not None and compare(item, found) is Difference.NONE


def _seen_of(world: World, item: KernelObject) -> list[Seen]:
    """Return what was told of *item*; our own writes must not be among it."""
    events = world.kernel.drain()
    return [event for event in events if isinstance(event, Seen) and event.key == item.key]


def _wait_for_another_value(world: World, item: KernelObject) -> None:
    """Wait until it is told that *item* is not as it was."""
    last: KernelObject | None = item
    while _matches(item, last):
        for event in wait_for_more(world):
            if isinstance(event, Seen) and event.key == item.key:
                last = event.found


def _as_foreign(item: KernelObject) -> KernelObject:
    """Return *item* without podway's mark."""
    match item:
        case Link():
            return replace(item, alias="")
        case Route():
            return replace(item, protocol=4)
        case _:
            return item
