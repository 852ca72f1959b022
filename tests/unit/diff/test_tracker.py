"""The tracker by example: whose wish counts, what is swept, what is left alone."""

import pytest
from msgspec.structs import replace

from podway.diff.operations import Verb
from podway.diff.tracker import Tracker
from podway.model.kernel import Bridge, KernelObject, Route, Sysctl, by_key
from unit.diff.tracked import (
    BRIDGE,
    DIRECT,
    FDB,
    FORWARD,
    NEIGHBOUR,
    NODE,
    OTHER,
    OWN,
    PEER,
    POD,
    ROUTE,
    RULE,
    TABLE,
    TUNNELLED,
    VTEP,
    VTEP_ADDRESS,
    VTEP_AND_ALL,
    carry_out,
    settled_with,
)


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


def test_what_a_source_wants_is_in_force_once_the_kernel_holds_it_all() -> None:
    tracker = Tracker()
    assert tracker.in_force(PEER)
    tracker.desire(PEER, TUNNELLED)
    for operation in tracker.plan():
        assert not tracker.in_force(PEER)
        tracker.record(operation, None, 0.0)
    assert tracker.in_force(PEER)
    tracker.observe(ROUTE.key, None)
    assert not tracker.in_force(PEER)


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
    assert [failure.operation.verb for failure in tracker.failures_of(NODE)] == [Verb.CREATE]
