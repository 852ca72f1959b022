"""The tracker's state depends on the last word about each thing, not on the way that led there.

No kernel here: two trackers hear the same last words, one of them after a long and muddled history,
and have to agree on everything.
"""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from podway.diff.claims import Source
from podway.diff.operations import Operation, Verb
from podway.diff.order import device_of, in_order
from podway.diff.tracker import Tracker
from podway.model.kernel import KernelObject, Key, Link
from property.objects import DEVICES, KEYS, SOURCES, on_device, parts, states, wishes

Wishes = Mapping[Source, Sequence[KernelObject]]
State = Mapping[Key, KernelObject]

REFUSED = OSError(16, "busy")


def from_scratch(wanted: Wishes, truth: State) -> Tracker:
    tracker = Tracker()
    for source, part in wanted.items():
        tracker.desire(source, part)
    tracker.observe_all(truth)
    tracker.sweeping = True
    return tracker


def needed(tracker: Tracker, truth: State) -> list[Operation]:
    """Return the plan without sysctls written as they are: nobody watches one while unwanted."""
    return [
        operation
        for operation in tracker.plan()
        if operation.key.kind != "sysctl" or operation.desired != truth.get(operation.key)
    ]


def agree(tracker: Tracker, wanted: Wishes, truth: State) -> None:
    """Check that *tracker* says what one says that has heard nothing but the last words."""
    other = from_scratch(wanted, truth)
    assert needed(tracker, truth) == needed(other, truth)
    assert set(tracker.wanted()) == set(other.wanted())
    assert set(tracker.sources()) == set(other.sources())
    assert tracker.conflicts() == other.conflicts()
    for key in KEYS:
        assert tracker.desired(key) == other.desired(key)
        if key.kind != "sysctl":
            assert tracker.observed(key) == other.observed(key)
    for source in SOURCES:
        assert tracker.part(source) == other.part(source)
    for dev in DEVICES:
        assert set(tracker.wanted_on(dev)) == set(other.wanted_on(dev))


# --- the past -----------------------------------------------------------------------------------


def muddle(tracker: Tracker, data: st.DataObject) -> None:
    """Let *tracker* hear, plan and record anything at all, as long as it could have happened."""
    for _ in range(data.draw(st.integers(0, 10))):
        match data.draw(st.sampled_from(["desire", "observe", "all", "device", "plan", "retry"])):
            case "desire":
                tracker.desire(data.draw(st.sampled_from(SOURCES)), data.draw(parts))
            case "observe":
                key = data.draw(st.sampled_from(KEYS))
                tracker.observe(key, data.draw(states).get(key))
            case "all":
                tracker.observe_all(data.draw(states))
            case "device":
                dev = data.draw(st.sampled_from(DEVICES))
                tracker.observe_device(dev, on_device(data.draw(states), dev))
            case "plan":
                for operation in tracker.plan():
                    error = REFUSED if data.draw(st.booleans()) else None
                    tracker.record(operation, error, now=0.0)
            case _:
                tracker.retry()
        tracker.sweeping = data.draw(st.booleans())


def tell(tracker: Tracker, truth: State, data: st.DataObject) -> None:
    """Tell *truth* as a kernel may: at once, by device, or thing by thing, devices first."""
    rest = set(KEYS)
    match data.draw(st.sampled_from(["all", "devices", "each"])):
        case "all":
            tracker.observe_all(truth)
            return
        case "devices":
            for dev in data.draw(st.permutations(DEVICES)):
                tracker.observe_device(dev, on_device(truth, dev))
                rest -= on_device(truth, dev).keys()
        case _:
            pass
    for key in sorted(data.draw(st.permutations(sorted(rest))), key=lambda key: key.kind != "link"):
        tracker.observe(key, truth.get(key))


@given(wanted=wishes, truth=states, data=st.data())
def test_only_the_last_words_count(wanted: Wishes, truth: State, data: st.DataObject) -> None:
    tracker = Tracker()
    muddle(tracker, data)
    telling = data.draw(st.integers(0, len(SOURCES)))
    for position, source in enumerate(data.draw(st.permutations(SOURCES))):
        if position == telling:
            tell(tracker, truth, data)
        tracker.desire(source, wanted.get(source, ()))
    if telling == len(SOURCES):
        tell(tracker, truth, data)
    tracker.retry()
    tracker.sweeping = True
    agree(tracker, wanted, truth)


@given(wanted=wishes, truth=states, data=st.data())
def test_the_order_and_repetition_of_words_does_not_matter(
    wanted: Wishes, truth: State, data: st.DataObject
) -> None:
    """Between two plans everything may be said in any order and more than once."""
    tracker = Tracker()
    sources = data.draw(st.permutations(SOURCES * 2))
    tracker.observe_all(truth)
    for source in sources:
        tracker.desire(source, wanted.get(source, ()))
    tracker.observe_all(truth)
    tracker.sweeping = True
    agree(tracker, wanted, truth)


@given(wanted=wishes, truth=states, data=st.data())
def test_refused_operations_are_planned_again_until_they_succeed(
    wanted: Wishes, truth: State, data: st.DataObject
) -> None:
    """Refusals change nothing: after `retry` the same plan is due, whatever was refused."""
    tracker = from_scratch(wanted, truth)
    expected = from_scratch(wanted, truth).plan()
    for _ in range(data.draw(st.integers(1, 3))):
        for operation in tracker.plan():
            tracker.record(operation, REFUSED, now=0.0)
        tracker.retry()
    failed = {operation.key for operation in expected}
    assert tracker.failures.keys() >= failed
    assert [op for op in tracker.plan() if op.key in failed] == expected


@given(wanted=wishes, truth=states)
def test_a_plan_that_succeeds_leaves_nothing_to_do(wanted: Wishes, truth: State) -> None:
    """By the book-keeping alone; `test_convergence` asks a kernel."""
    tracker = from_scratch(wanted, truth)
    for operation in tracker.plan():
        tracker.record(operation, None, now=0.0)
    # What is wanted on a device that nobody wants goes with it, and cannot be had.
    doomed = {str(key.parts[0]) for key in truth if key.kind == "link"}
    doomed -= {str(key.parts[0]) for key in tracker.wanted() if key.kind == "link"}
    assert all(needs(op.desired) & doomed for op in tracker.plan())


def needs(item: KernelObject | None) -> set[str]:
    """Return the devices without which *item* cannot be."""
    return {device_of(item), item.master if isinstance(item, Link) else ""} - {""}


@given(wanted=wishes, truth=states)
def test_no_operation_is_planned_twice_and_all_in_order(wanted: Wishes, truth: State) -> None:
    operations = from_scratch(wanted, truth).plan()
    assert len({(op.verb, op.key) for op in operations}) == len(operations)
    assert in_order(reversed(operations)) == operations
    for operation in operations:
        assert (operation.desired is None) == (operation.verb is Verb.DELETE)
        assert operation.desired is None or operation.desired.key == operation.key
        assert operation.observed is None or operation.observed.key == operation.key


@given(wanted=wishes, truth=states)
def test_nothing_foreign_or_stale_is_deleted_before_the_sweep(wanted: Wishes, truth: State) -> None:
    tracker = from_scratch(wanted, truth)
    tracker.sweeping = False
    deleted = [op.key for op in tracker.plan() if op.verb is Verb.DELETE]
    # Only devices that have to be made anew.
    assert all(tracker.desired(key) is not None for key in deleted)


@given(wanted=wishes, truth=states)
def test_preview_is_the_plan_of_a_new_tracker(wanted: Wishes, truth: State) -> None:
    tracker = from_scratch(wanted, {})
    before = tracker.pending
    assert tracker.preview(truth) == from_scratch(wanted, truth).plan()
    assert tracker.pending == before
