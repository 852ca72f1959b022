"""The tracker by example: what the kernel refused, when it is tried again, and when it is over."""

import pytest

from podway.diff.operations import Verb
from podway.diff.tracker import Tracker
from podway.model.kernel import Key
from unit.diff.tracked import (
    DIRECT,
    NEIGHBOUR,
    OTHER,
    PEER,
    REFUSED,
    ROUTE,
    TUNNELLED,
    VTEP,
    carry_out,
    settled_with,
)


def test_a_failure_waits_for_retry_and_goes_with_success() -> None:
    tracker = Tracker()
    tracker.desire(PEER, TUNNELLED)
    (operation,) = (op for op in tracker.plan() if op.key == ROUTE.key)
    tracker.record(operation, REFUSED, now=5.0)
    failure = tracker.failures[ROUTE.key]
    assert (failure.operation, failure.error) == (operation, REFUSED)
    assert (failure.since, failure.attempts) == (5.0, 1)
    assert tracker.failures_of(PEER) == [failure]
    assert tracker.failures_of(OTHER) == []
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


@pytest.mark.parametrize(
    ("dev", "again"),
    [
        pytest.param("", {VTEP.key, NEIGHBOUR.key, DIRECT.key}, id="for whatever reason"),
        pytest.param("podway.1", {VTEP.key, NEIGHBOUR.key}, id="a device, and what stands on it"),
        pytest.param("eth0", {VTEP.key, DIRECT.key}, id="its underlay"),
        pytest.param("pw0", {VTEP.key}, id="a device on which nothing stands"),
    ],
)
def test_a_device_makes_due_what_it_may_matter_for(dev: str, again: set[Key]) -> None:
    """When the uplink is down all peers' routes fail; a pod that comes is no reason to try them."""
    tracker = Tracker()
    tracker.desire(PEER, [VTEP, NEIGHBOUR, DIRECT])
    for operation in tracker.plan():
        tracker.record(operation, REFUSED, now=0.0)
    tracker.retry(dev)
    assert {operation.key for operation in tracker.plan()} == again


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
