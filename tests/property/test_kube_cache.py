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


@given(histories())
def test_a_list_replaces_everything(history: History) -> None:
    cache = NodeCache()
    for event in history.events:
        cache.take(event)
    record = NodeRecord(name="z", uid="z", revision=1)
    cache.replace([record], 7)
    assert list(cache) == [record]
    assert cache.revision == 7
    assert cache.take(WatchEvent("MODIFIED", 8, NodeRecord(name="a", uid="a", revision=8))) == "a"


def test_a_bookmark_moves_on_and_forgets_the_dead() -> None:
    cache = NodeCache()
    record = NodeRecord(name="a", uid="a", revision=3)
    assert cache.take(WatchEvent("ADDED", 3, record)) == "a"
    gone = NodeRecord(name="a", uid="a", revision=5)
    assert cache.take(WatchEvent("DELETED", 5, gone)) == "a"
    assert cache.take(WatchEvent("ADDED", 3, record)) is None
    assert cache.take(WatchEvent("BOOKMARK", 9)) is None
    assert cache.revision == 9
