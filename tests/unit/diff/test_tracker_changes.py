"""The tracker by example: devices that take things along, drift, and forgetting."""

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from msgspec.structs import replace

from podway.diff.tracker import Tracker
from podway.model.kernel import Address, Key, Veth, by_key, link_key
from unit.diff.tracked import (
    BRIDGE,
    DIRECT,
    FDB,
    GATEWAY,
    NEIGHBOUR,
    NODE,
    OWN,
    PEER,
    POD,
    PORT,
    ROUTE,
    TUNNEL,
    TUNNELLED,
    VTEP,
    VTEP_ADDRESS,
    VTEP_AND_ALL,
    VTEP_QUIET,
    carry_out,
    remembered,
    settled_with,
    verbs,
)

# --- devices take along what stands on them -----------------------------------------------------


REST = by_key(*(item for item in OWN if item.key not in VTEP_AND_ALL))


def tell_each(tracker: Tracker, keys: Iterable[Key]) -> None:
    for key in keys:
        tracker.observe(key, None)


@pytest.mark.parametrize(
    "tell",
    [
        pytest.param(lambda tracker: tracker.observe(VTEP.key, None), id="link"),
        pytest.param(lambda tracker: tracker.observe_device("podway.1", {}), id="device"),
        pytest.param(lambda tracker: tracker.observe_all(REST), id="all"),
        pytest.param(lambda tracker: tell_each(tracker, sorted(VTEP_AND_ALL)), id="one by one"),
        pytest.param(
            lambda tracker: tell_each(tracker, sorted(VTEP_AND_ALL, reverse=True)),
            id="one by one, backwards",
        ),
    ],
)
def test_a_device_that_is_gone_comes_back_with_everything(
    tell: Callable[[Tracker], None],
) -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    tell(tracker)
    operations = tracker.plan()
    assert verbs(operations) == [
        ("create", kind) for kind in ("link", "address", "sysctl", "neighbour", "fdb", "route")
    ]
    assert {op.key for op in operations} == VTEP_AND_ALL
    for operation in operations:
        tracker.record(operation, None, now=0.0)
    assert tracker.plan() == []


def test_a_device_made_anew_gets_everything_back_in_the_same_plan() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    moved = replace(VTEP, kind=replace(TUNNEL, local=ip_address("192.0.2.9")))
    tracker.desire(NODE, [moved, *OWN[1:]])
    operations = tracker.plan()
    assert verbs(operations) == [
        ("delete", "link"),
        *(("create", kind) for kind in ("link", "address", "sysctl", "neighbour", "fdb", "route")),
    ]
    for operation in operations:
        tracker.record(operation, None, now=0.0)
    assert tracker.plan() == []
    assert tracker.observed(VTEP.key) == moved


def test_a_device_made_anew_takes_stale_things_along() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    tracker.desire(PEER, ())
    tracker.desire(NODE, [replace(VTEP, kind=replace(TUNNEL, vni=2)), *OWN[1:]])
    assert verbs(tracker.plan()) == [
        ("delete", "link"),
        ("create", "link"),
        ("create", "address"),
        ("create", "sysctl"),
    ]


def test_a_bridge_that_is_gone_gets_its_ports_back() -> None:
    tracker = settled_with((NODE, OWN), (POD, [PORT]))
    tracker.observe(BRIDGE.key, None)
    assert tracker.observed(PORT.key) == replace(PORT, master="")
    assert carry_out(tracker) == [
        f"create {BRIDGE.key}",
        f"change {PORT.key}",
        f"create {GATEWAY.key}",
    ]
    assert tracker.plan() == []


def test_a_device_in_the_bridges_place_is_made_a_bridge_and_gets_the_ports() -> None:
    tracker = Tracker()
    tracker.observe_all(by_key(replace(BRIDGE, kind=Veth()), replace(PORT, master="cni0")))
    tracker.desire(NODE, [BRIDGE])
    tracker.desire(POD, [PORT])
    assert carry_out(tracker) == [
        f"delete {BRIDGE.key}",
        f"create {BRIDGE.key}",
        f"change {PORT.key}",
    ]
    assert tracker.plan() == []


def test_a_route_that_moved_does_not_go_with_its_old_device() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    tracker.desire(PEER, [DIRECT])
    carry_out(tracker)
    tracker.observe(VTEP.key, None)
    assert tracker.observed(ROUTE.key) == DIRECT
    assert ROUTE.key not in {op.key for op in tracker.plan()}
    tracker.observe_device("podway.1", {})
    assert tracker.observed(ROUTE.key) == DIRECT


def test_a_route_that_moves_while_its_device_goes_is_changed_first() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    tracker.desire(NODE, OWN[3:])
    tracker.desire(PEER, [DIRECT])
    assert carry_out(tracker) == [f"change {ROUTE.key}", f"delete {VTEP.key}"]
    assert tracker.plan() == []


def test_a_stale_route_is_deleted_although_its_device_could_not_be() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    tracker.desire(NODE, OWN[3:])
    tracker.desire(PEER, ())
    assert carry_out(tracker, VTEP.key) == [f"delete {VTEP.key}"]
    # The device is wanted again, the peer is not.
    tracker.desire(NODE, OWN)
    assert carry_out(tracker) == [
        *(f"delete {item.key}" for item in (ROUTE, FDB, NEIGHBOUR)),
        f"create {VTEP_QUIET.key}",
    ]
    assert tracker.failures == {}


def test_what_was_to_go_with_a_device_made_anew_is_not_forgotten_when_that_fails() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    tracker.desire(PEER, ())
    tracker.desire(NODE, [replace(VTEP, kind=replace(TUNNEL, vni=2)), *OWN[1:]])
    refused = {VTEP.key, VTEP_ADDRESS.key, VTEP_QUIET.key}
    assert len(carry_out(tracker, *refused)) == 4
    tracker.desire(NODE, OWN)
    assert carry_out(tracker) == [f"delete {item.key}" for item in (ROUTE, FDB, NEIGHBOUR)]


# --- drift --------------------------------------------------------------------------------------


def test_drift_is_counted_when_it_is_repaired() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    assert tracker.drift_repaired == 0
    tracker.observe(ROUTE.key, None)
    tracker.observe(BRIDGE.key, replace(BRIDGE, mtu=9))
    carry_out(tracker, ROUTE.key)
    assert tracker.drift_repaired == 1
    tracker.retry()
    carry_out(tracker)
    assert tracker.drift_repaired == 2


@pytest.mark.parametrize(
    "tell",
    [
        pytest.param(lambda tracker: tracker.observe(VTEP.key, None), id="link"),
        pytest.param(lambda tracker: tracker.observe_device("podway.1", {}), id="device"),
        pytest.param(lambda tracker: tracker.observe_all(REST), id="all"),
    ],
)
def test_a_device_that_is_gone_is_one_drift(tell: Callable[[Tracker], None]) -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    tell(tracker)
    carry_out(tracker)
    assert tracker.drift_repaired == 1


def test_what_we_do_ourselves_is_no_drift() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    tracker.desire(PEER, [DIRECT])
    carry_out(tracker)
    tracker.observe(ROUTE.key, DIRECT)
    tracker.desire(PEER, ())
    carry_out(tracker)
    assert tracker.drift_repaired == 0


def test_drift_that_mends_itself_is_not_ours() -> None:
    tracker = settled_with((PEER, TUNNELLED))
    tracker.observe(ROUTE.key, None)
    tracker.observe(ROUTE.key, ROUTE)
    assert carry_out(tracker) == []
    assert tracker.drift_repaired == 0
    tracker.desire(PEER, [DIRECT])
    carry_out(tracker)
    assert tracker.drift_repaired == 0


# --- looking without touching, and forgetting ---------------------------------------------------


def test_a_wish_that_moved_and_never_came_true_is_not_remembered_on_its_first_device() -> None:
    tracker = Tracker()
    tracker.desire(PEER, [ROUTE])
    tracker.desire(PEER, [DIRECT])
    tracker.desire(PEER, ())
    tracker.plan()
    assert not any(remembered(tracker).values())


def test_preview_says_what_would_be_done_and_changes_nothing() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    stale = replace(ROUTE, dst=ip_network("10.244.9.0/24"))
    state = by_key(*OWN, *TUNNELLED[:2], stale)
    assert [str(op) for op in tracker.preview(state)] == [
        f"delete {stale.key}",
        f"create {ROUTE.key}",
    ]
    assert not tracker.pending
    assert tracker.observed(ROUTE.key) == ROUTE


@pytest.mark.parametrize("refused", [[], [PORT.key], [PORT.key, BRIDGE.key]], ids=len)
def test_nothing_is_remembered_of_what_is_gone(refused: list[Key]) -> None:
    """A node sees thousands of pods come and go, some of which never came to be."""
    tracker = Tracker()
    tracker.sweeping = True
    for number in range(3):
        port = replace(PORT, name=f"pw{number}")
        tracker.desire(NODE, OWN)
        tracker.desire(POD, [port, Address(port.name, ip_interface("fe80::1/64"))])
        tracker.desire(PEER, TUNNELLED)
        carry_out(tracker, *(link_key(port.name) if key == PORT.key else key for key in refused))
        tracker.observe(port.key, replace(port, master=""))
        tracker.desire(PEER, [DIRECT])
        carry_out(tracker)
        for source in (NODE, POD, PEER):
            tracker.desire(source, ())
        carry_out(tracker)
        carry_out(tracker)
    assert tracker.plan() == []
    kept = {name: value for name, value in remembered(tracker).items() if value}
    assert kept.pop("sweeping") is True
    kept.pop("drift_repaired", None)
    assert kept == {}
