"""The tracker by example: claims, sweeping, ownership, failures, devices that take things along."""

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from msgspec.structs import replace

from podway.diff.operations import Operation, Verb
from podway.diff.tracker import Tracker
from podway.model.addresses import Family
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    KernelObject,
    Key,
    Link,
    Neighbour,
    NftTable,
    Route,
    Rule,
    Sysctl,
    Veth,
    Vxlan,
    by_key,
    link_key,
)

NODE, POD = ("node",), ("pod", "a")
PEER, OTHER = ("peer", "node-2"), ("peer", "node-3")

TUNNEL = Vxlan(vni=1, local=ip_address("192.0.2.1"), underlay="eth0", port=8472)
VTEP = Link(name="podway.1", kind=TUNNEL, mtu=1450, mac="02:00:00:00:00:01")
VTEP_ADDRESS = Address("podway.1", ip_interface("10.244.1.0/32"))
VTEP_QUIET = Sysctl("ipv6/conf/podway.1/accept_ra", "0", "podway.1")
NEIGHBOUR = Neighbour("podway.1", ip_address("10.244.2.0"), "02:00:00:00:00:02")
FDB = FdbEntry("podway.1", "02:00:00:00:00:02", ip_address("192.0.2.2"))
ROUTE = Route(dst=ip_network("10.244.2.0/24"), dev="podway.1", via=NEIGHBOUR.address, onlink=True)
DIRECT = replace(ROUTE, dev="eth0", via=ip_address("192.0.2.2"), onlink=False)
BRIDGE = Link(name="cni0", kind=Bridge(), mtu=1450)
GATEWAY = Address("cni0", ip_interface("10.244.1.1/24"))
PORT = Link(name="pw1", kind=Veth(), mtu=1450, master="cni0", hairpin=True)
FORWARD = Sysctl("ipv4/ip_forward", "1")
TABLE = NftTable("inet", "podway", "chain a {\n}\n")
RULE = Rule(family=Family.IPV4, priority=1, table=2)

OWN = (VTEP, VTEP_ADDRESS, VTEP_QUIET, BRIDGE, GATEWAY, FORWARD, TABLE)
TUNNELLED = (NEIGHBOUR, FDB, ROUTE)
VTEP_AND_ALL = {item.key for item in (VTEP, VTEP_ADDRESS, VTEP_QUIET, *TUNNELLED)}

REFUSED = OSError(16, "busy")


def carry_out(tracker: Tracker, *refused: Key) -> list[str]:
    """Record every planned operation as done, but those on *refused* keys; return them as text."""
    operations = tracker.plan()
    for operation in operations:
        tracker.record(operation, REFUSED if operation.key in refused else None, now=1.0)
    return [str(operation) for operation in operations]


def settled_with(*parts: tuple[tuple[str, ...], Iterable[KernelObject]]) -> Tracker:
    """Return a tracker that has made all of *parts*, sweeps, and has nothing left to do."""
    tracker = Tracker()
    tracker.sweeping = True
    for source, objects in parts:
        tracker.desire(source, objects)
    carry_out(tracker)
    assert tracker.plan() == []
    return tracker


def verbs(operations: Iterable[Operation]) -> list[tuple[str, str]]:
    return [(operation.verb.value, operation.key.kind) for operation in operations]


def test_a_new_tracker_has_nothing_to_do() -> None:
    tracker = Tracker()
    assert not tracker.pending
    assert tracker.plan() == []
    assert not list(tracker.wanted())
    assert not list(tracker.sources())


# --- what is wanted -----------------------------------------------------------------------------


def test_what_is_wanted_and_not_there_is_created() -> None:
    tracker = Tracker()
    tracker.desire(PEER, TUNNELLED)
    tracker.desire(NODE, OWN)
    assert tracker.pending
    operations = tracker.plan()
    assert {op.verb for op in operations} == {Verb.CREATE}
    assert {op.key for op in operations} == {item.key for item in (*OWN, *TUNNELLED)}
    assert [op.desired for op in operations if op.key == ROUTE.key] == [ROUTE]
    assert not tracker.pending


def test_what_is_there_as_wanted_needs_nothing() -> None:
    tracker = Tracker()
    tracker.observe_all(by_key(*OWN))
    tracker.desire(NODE, OWN)
    assert tracker.plan() == []


def test_the_same_wish_again_is_no_work() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    tracker.desire(PEER, TUNNELLED)
    tracker.desire(NODE, reversed(OWN))
    assert not tracker.pending
    assert tracker.plan() == []


def test_a_part_is_replaced_as_a_whole() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    tracker.desire(PEER, [replace(ROUTE, mtu=1400), NEIGHBOUR])
    assert carry_out(tracker) == [f"delete {FDB.key}", f"change {ROUTE.key}"]
    assert tracker.observed(ROUTE.key) == replace(ROUTE, mtu=1400)
    assert tracker.part(PEER) == by_key(replace(ROUTE, mtu=1400), NEIGHBOUR)


def test_a_source_that_wants_nothing_is_gone() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    assert set(tracker.sources()) == {NODE, PEER}
    tracker.desire(PEER, ())
    assert set(tracker.sources()) == {NODE}
    assert tracker.part(PEER) == {}
    assert carry_out(tracker) == [f"delete {item.key}" for item in (ROUTE, FDB, NEIGHBOUR)]


@pytest.mark.parametrize("order", [(PEER, OTHER), (OTHER, PEER)])
def test_of_two_claims_the_smallest_source_wins_whoever_spoke_first(
    order: tuple[tuple[str, ...], ...],
) -> None:
    wishes: dict[tuple[str, ...], list[Route]] = {PEER: [ROUTE], OTHER: [DIRECT]}
    tracker = Tracker()
    for source in order:
        tracker.desire(source, wishes[source])
    assert tracker.desired(ROUTE.key) == ROUTE
    assert tracker.conflicts() == {ROUTE.key: [PEER, OTHER]}
    carry_out(tracker)
    tracker.desire(PEER, ())
    assert tracker.desired(ROUTE.key) == DIRECT
    assert tracker.conflicts() == {}
    assert carry_out(tracker) == [f"change {ROUTE.key}"]
    tracker.desire(PEER, [ROUTE])
    assert carry_out(tracker) == [f"change {ROUTE.key}"]


def test_two_sources_that_want_the_same_are_no_conflict() -> None:
    tracker = settled_with((PEER, [ROUTE]), (OTHER, [ROUTE]))
    assert tracker.conflicts() == {}
    tracker.desire(PEER, ())
    assert carry_out(tracker) == []
    tracker.desire(OTHER, ())
    assert carry_out(tracker) == [f"delete {ROUTE.key}"]


def test_a_loser_that_changes_its_mind_is_no_operation() -> None:
    tracker = settled_with((PEER, [ROUTE]), (OTHER, [DIRECT]))
    tracker.desire(OTHER, [replace(DIRECT, mtu=1400)])
    assert carry_out(tracker) == []


def test_wanted_on_a_device_is_what_stands_there_now() -> None:
    tracker = Tracker()
    tracker.desire(NODE, OWN)
    tracker.desire(PEER, TUNNELLED)
    assert set(tracker.wanted_on("podway.1")) == VTEP_AND_ALL
    assert tracker.wanted_on("eth0") == []
    tracker.desire(PEER, [DIRECT])
    assert tracker.wanted_on("eth0") == [DIRECT.key]
    assert ROUTE.key not in tracker.wanted_on("podway.1")
    assert set(tracker.wanted()) == {item.key for item in (*OWN, DIRECT)}


def test_wanted_on_a_device_is_not_what_is_only_seen_there() -> None:
    tracker = settled_with((NODE, OWN), (PEER, TUNNELLED))
    tracker.desire(PEER, [DIRECT])
    assert tracker.observed(ROUTE.key) == ROUTE
    assert ROUTE.key not in tracker.wanted_on("podway.1")
    assert tracker.wanted_on("eth0") == [ROUTE.key]


# --- what is there ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item", [ROUTE, NEIGHBOUR, FDB, VTEP_ADDRESS, TABLE, RULE, BRIDGE, VTEP], ids=str
)
def test_a_stale_object_is_left_alone_until_the_sweep(item: KernelObject) -> None:
    tracker = Tracker()
    tracker.observe(item.key, item)
    tracker.desire(POD, [FORWARD])
    assert carry_out(tracker) == [f"create {FORWARD.key}"]
    assert tracker.plan() == []
    tracker.sweeping = True
    assert tracker.pending
    assert carry_out(tracker) == [f"delete {item.key}"]
    assert tracker.observed(item.key) is None
    assert not tracker.pending


def test_a_stale_object_that_goes_by_itself_needs_no_sweep() -> None:
    tracker = Tracker()
    tracker.observe(ROUTE.key, ROUTE)
    tracker.plan()
    tracker.observe(ROUTE.key, None)
    assert tracker.plan() == []
    tracker.sweeping = True
    assert not tracker.pending


def test_a_stale_object_that_somebody_wants_in_time_is_kept() -> None:
    """Sysctls are read only where they are wanted, so none is seen that early."""
    own = [item for item in OWN if not isinstance(item, Sysctl)]
    tracker = Tracker()
    tracker.observe_all(by_key(*own, *TUNNELLED))
    tracker.plan()
    tracker.desire(NODE, own)
    tracker.desire(PEER, TUNNELLED)
    tracker.sweeping = True
    assert tracker.plan() == []


def test_what_was_wanted_goes_before_the_sweep_too() -> None:
    tracker = Tracker()
    tracker.desire(PEER, [ROUTE])
    carry_out(tracker)
    tracker.desire(PEER, ())
    assert carry_out(tracker) == [f"delete {ROUTE.key}"]


def test_a_wish_that_was_never_fulfilled_gives_no_right_to_remove() -> None:
    """The route that appears later under the same key is stale, or another agent's."""
    tracker = Tracker()
    tracker.desire(PEER, [ROUTE])
    tracker.desire(PEER, ())
    assert tracker.plan() == []
    tracker.observe(ROUTE.key, ROUTE)
    assert tracker.plan() == []
    tracker.sweeping = True
    assert carry_out(tracker) == [f"delete {ROUTE.key}"]


def test_a_sysctl_that_nobody_wants_any_more_stays_and_is_forgotten() -> None:
    tracker = settled_with((NODE, OWN))
    tracker.desire(NODE, [item for item in OWN if item is not FORWARD])
    assert tracker.plan() == []
    assert tracker.observed(FORWARD.key) is None
    tracker.desire(NODE, OWN)
    assert carry_out(tracker) == [f"create {FORWARD.key}"]


FOREIGN: list[KernelObject] = [
    replace(BRIDGE, alias=""),
    replace(VTEP, alias="somebody's"),
    replace(ROUTE, protocol=4),
    replace(RULE, protocol=0),
]


@pytest.mark.parametrize("item", FOREIGN, ids=lambda item: str(item.key))
def test_what_bears_somebody_elses_mark_is_never_deleted(item: KernelObject) -> None:
    tracker = Tracker()
    tracker.sweeping = True
    tracker.observe_all(by_key(item))
    assert tracker.plan() == []
    # Not even when we wanted to have its place for a while.
    tracker.desire(POD, [item])
    tracker.desire(POD, ())
    assert tracker.plan() == []
    assert tracker.observed(item.key) == item


@pytest.mark.parametrize(
    ("wanted", "found"),
    [pytest.param(BRIDGE, FOREIGN[0], id="link"), pytest.param(ROUTE, FOREIGN[2], id="route")],
)
def test_what_can_be_taken_over_is_taken_over_and_then_ours(
    wanted: KernelObject, found: KernelObject
) -> None:
    tracker = Tracker()
    tracker.observe_all(by_key(found))
    tracker.desire(NODE, [wanted])
    assert carry_out(tracker) == [f"change {wanted.key}"]
    tracker.desire(NODE, ())
    assert carry_out(tracker) == [f"delete {wanted.key}"]


def test_somebody_elses_device_that_bears_our_name_is_an_error_to_show() -> None:
    theirs = replace(VTEP, kind=Bridge(), alias="")
    tracker = Tracker()
    tracker.sweeping = True
    tracker.observe_all(by_key(theirs))
    tracker.desire(NODE, [VTEP])
    assert carry_out(tracker, VTEP.key) == [f"create {VTEP.key}"]
    assert [failure.operation.verb for failure in tracker.settled(NODE)] == [Verb.CREATE]


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


# --- failures -----------------------------------------------------------------------------------


def test_a_failure_waits_for_retry_and_goes_with_success() -> None:
    tracker = Tracker()
    tracker.desire(PEER, TUNNELLED)
    (operation,) = (op for op in tracker.plan() if op.key == ROUTE.key)
    tracker.record(operation, REFUSED, now=5.0)
    failure = tracker.failures[ROUTE.key]
    assert (failure.operation, failure.error) == (operation, REFUSED)
    assert (failure.since, failure.attempts) == (5.0, 1)
    assert tracker.settled(PEER) == [failure]
    assert tracker.settled(OTHER) == []
    assert tracker.plan() == []
    tracker.retry()
    (again,) = tracker.plan()
    tracker.record(again, REFUSED, now=9.0)
    failure = tracker.failures[ROUTE.key]
    assert (failure.since, failure.attempts) == (5.0, 2)
    tracker.retry()
    assert len(carry_out(tracker)) == 1
    assert tracker.failures == {}
    tracker.retry()
    assert tracker.plan() == []


def failing_route() -> Tracker:
    tracker = Tracker()
    tracker.sweeping = True
    tracker.desire(PEER, [ROUTE])
    carry_out(tracker, ROUTE.key)
    assert set(tracker.failures) == {ROUTE.key}
    return tracker


def test_a_failure_goes_when_nobody_wants_the_object() -> None:
    tracker = failing_route()
    tracker.desire(PEER, ())
    assert tracker.plan() == []
    assert tracker.failures == {}


def test_a_failure_goes_when_the_object_is_seen_as_wanted() -> None:
    tracker = failing_route()
    tracker.observe(ROUTE.key, ROUTE)
    assert tracker.plan() == []
    assert tracker.failures == {}


def test_a_failed_deletion_goes_when_the_object_does() -> None:
    tracker = settled_with((PEER, [ROUTE]))
    tracker.desire(PEER, ())
    carry_out(tracker, ROUTE.key)
    assert tracker.failures[ROUTE.key].operation.verb is Verb.DELETE
    tracker.observe(ROUTE.key, None)
    tracker.plan()
    assert tracker.failures == {}


def test_a_new_wish_for_a_failed_object_is_tried_at_once() -> None:
    tracker = failing_route()
    tracker.desire(PEER, [DIRECT])
    assert carry_out(tracker) == [f"create {ROUTE.key}"]
    assert tracker.failures == {}


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
    assert not any(vars(tracker).values())


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
    kept = {name: value for name, value in vars(tracker).items() if value}
    assert kept.pop("sweeping") is True
    kept.pop("drift_repaired", None)
    assert kept == {}
