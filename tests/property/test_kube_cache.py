"""Whatever order the API server's words come in, the youngest counts."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from podway.store.kube_cache import NodeCache
from podway.store.kube_objects import NodeRecord, WatchEvent

NAMES = ["a", "b", "c"]


@dataclass(frozen=True)
class History:
    """Events as they happened, and what is there at the end."""

    events: tuple[WatchEvent, ...]
    final: dict[str, NodeRecord]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Nodes come, change and go; each change has the next revision."""
    there: dict[str, NodeRecord] = {}
    events = []
    steps = draw(st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=12))
    for revision, (name, goes) in enumerate(steps, start=1):
        known = there.get(name)
        if goes and known is None:
            continue
        record = NodeRecord(
            name=name,
            uid=known.uid if known else f"{name}{revision}",
            revision=revision,
            annotations={"public-ip": f"192.0.2.{revision}"},
        )
        if goes:
            del there[name]
            events.append(WatchEvent("DELETED", revision, record))
        else:
            there[name] = record
            events.append(WatchEvent("MODIFIED" if known else "ADDED", revision, record))
    return History(tuple(events), there)


@given(histories(), st.data())
def test_repeated_and_late_events_change_nothing(history: History, data: st.DataObject) -> None:
    """Every event comes in order, and any earlier ones come again at any time."""
    cache = NodeCache()
    cache.replace([], 0)
    told: dict[str, NodeRecord] = {}
    for number, event in enumerate(history.events):
        past = history.events[: number + 1]
        again = data.draw(st.lists(st.sampled_from(past), max_size=4)) if past else []
        for each in [event, *again]:
            name = cache.take(each)
            if name is not None:
                record = cache.get(name)
                told.pop(name, None)
                told |= {} if record is None else {name: record}
    assert {record.name: record for record in cache} == history.final
    assert told == history.final
    assert cache.revision == max((event.revision for event in history.events), default=0)


def state_at(history: History, revision: int) -> dict[str, NodeRecord]:
    """Return what is there at *revision*."""
    there: dict[str, NodeRecord] = {}
    for event in history.events:
        if event.revision <= revision and event.record is not None:
            there.pop(event.record.name, None)
            if event.kind != "DELETED":
                there[event.record.name] = event.record
    return there


@given(histories(), st.data())
def test_answers_and_lists_come_between_events(history: History, data: st.DataObject) -> None:
    """Answers may be ahead of the watch or behind it, lists behind answers; nobody goes back."""
    cache = NodeCache()
    cache.replace([], 0)
    last = history.events[-1].revision if history.events else 0
    seen: dict[str, int] = {}
    while cache.revision < last:
        step = data.draw(st.sampled_from(["event", "answer", "list"]))
        if step == "event":
            cache.take(next(each for each in history.events if each.revision > cache.revision))
        elif step == "list":
            revision = data.draw(st.integers(cache.revision, last))
            cache.replace(state_at(history, revision).values(), revision)
        else:
            at = data.draw(st.integers(0, last))
            for record in state_at(history, at).values():
                cache.keep(record)
        for record in cache:
            assert record.revision >= seen.get(record.name, 0)
            seen[record.name] = record.revision
        for event in history.events:
            if event.kind == "DELETED" and event.revision <= cache.revision:
                assert event.record is not None
                seen[event.record.name] = max(event.revision, seen.get(event.record.name, 0))
    for record in cache:
        assert record.revision >= seen[record.name]
    assert {record.name: record for record in cache} == history.final


@given(histories())
def test_a_list_of_a_rewound_store_replaces_everything(history: History) -> None:
    cache = NodeCache()
    for event in history.events:
        cache.take(event)
    record = NodeRecord(name="z", uid="z", revision=1)
    cache.replace([record], 7, rewound=True)
    assert list(cache) == [record]
    assert cache.revision == 7
    assert cache.take(WatchEvent("MODIFIED", 8, NodeRecord(name="a", uid="a", revision=8))) == "a"


def test_a_bookmark_moves_on_and_the_dead_stay_dead() -> None:
    cache = NodeCache()
    record = NodeRecord(name="a", uid="a", revision=3)
    assert cache.take(WatchEvent("ADDED", 3, record)) == "a"
    gone = NodeRecord(name="a", uid="a", revision=5)
    assert cache.take(WatchEvent("DELETED", 5, gone)) == "a"
    assert cache.take(WatchEvent("BOOKMARK", 9)) is None
    assert cache.revision == 9
    assert cache.keep(record) is None
    assert cache.get("a") is None


def test_a_list_without_a_node_is_its_death() -> None:
    cache = NodeCache()
    record = NodeRecord(name="a", uid="a", revision=3)
    cache.replace([record], 4)
    cache.replace([], 9)
    assert cache.keep(NodeRecord(name="a", uid="a", revision=8)) is None
    assert cache.keep(NodeRecord(name="a", uid="a2", revision=10)) == "a"


def test_the_memory_of_the_dead_is_bounded() -> None:
    cache = NodeCache()
    for revision in range(1, 5000):
        cache.take(
            WatchEvent(
                "DELETED", revision, NodeRecord(name=f"n{revision}", uid="", revision=revision)
            )
        )
    assert len(cache._dead) == 1000
    assert cache.keep(NodeRecord(name="n4500", uid="", revision=4000)) is None
