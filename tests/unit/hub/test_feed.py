"""The feed: one encoding for all, complete for who resumes, bounded for who does not read."""

import asyncio
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from podway.hub.feed import Feed, encode_snapshot
from podway.hub.state import Record, State
from podway.store.codec import encode_node
from podway.store.connection import StreamFrame
from podway.store.frames import (
    KIND_CONFIG,
    KIND_NODE,
    NETWORK_NAME,
    HubFrame,
)
from podway.store.protocol import Snapshot, StoreEvent
from podway.store.stream import Stream
from podway.store.wire import (
    ANSWER_MAX_BYTES,
    HEADER_BYTES,
    PART_BYTES,
    FrameSplitter,
    decode_hub_frame,
)
from unit.hub.worlds import World, node, take_all

NET_CONFS = [
    b'{"Network": "10.0.0.0/8", "Backend": {"Type": "host-gw"}}',
    b'{"Network": "10.0.0.0/9", "Backend": {"Type": "host-gw"}}',
]


def decoded(encoded: bytes) -> HubFrame:
    (body,) = FrameSplitter(ANSWER_MAX_BYTES).feed(encoded)
    return decode_hub_frame(body)


class Hub:
    """A state and its feed, without sockets and disk."""

    def __init__(self, keep_bytes: int = 1 << 20) -> None:
        self.state = State()
        self.feed = Feed(keep_bytes)

    def commit(self, writes: Iterable[tuple[str, str, bytes | None]]) -> None:
        before, records = self.state.revision, []
        for kind, name, value in writes:
            if value is None and self.state.get(kind, name) is None:
                continue
            records.append(Record(kind, name, self.state.revision + 1, value))
            self.state.apply(records[-1])
        self.feed.publish(before, records)


class Watcher:
    """A client's end: reads as many frames as it is told to, loses its connection when told to."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.stream = Stream()
        self.world = World()
        self.heard: list[StoreEvent] = []
        self.connect()

    def connect(self) -> None:
        known = self.stream.revision if self.stream.store_id else None
        self.stream.begin("store")
        self._opening = list(self._hub.feed.opening(self._hub.state, known))
        self._place = self._hub.feed.end

    def read(self, count: int) -> None:
        for _ in range(count):
            if self._opening:
                self._take(self._opening.pop(0))
            elif self._place < self._hub.feed.end:
                frame = self._hub.feed.frame(self._place)
                if frame is None:  # too slow: dropped
                    self.connect()
                    continue
                self._place += 1
                self._take(frame)

    def _take(self, encoded: bytes) -> None:
        frame: Any = decoded(encoded)
        taken: StreamFrame = frame
        self.stream.take(taken)

    async def catch_up(self) -> None:
        while self._opening or self._place < self._hub.feed.end:
            self.read(1)
        for event in await take_all(self.stream.mailbox):
            self.heard.append(event)
            self.world.hear(event)


NAMES = st.sampled_from("abcdef")
WRITES = st.one_of(
    st.builds(
        lambda name, number: (KIND_NODE, name, encode_node(node(name, number * 7 + ord(name)))),
        NAMES,
        st.integers(0, 3),
    ),
    st.builds(lambda name: (KIND_NODE, name, None), NAMES),
    st.builds(lambda text: (KIND_CONFIG, NETWORK_NAME, text), st.sampled_from(NET_CONFS)),
    st.just(("note", "n", b"no watcher hears of it")),
)
STEPS = st.one_of(
    st.tuples(st.just("commit"), st.lists(WRITES, min_size=1, max_size=5)),
    st.tuples(st.just("read"), st.integers(0, 4)),
    st.tuples(st.just("reconnect"), st.none()),
    st.tuples(st.just("compact"), st.integers(0, 3)),
)


def expected(state: State) -> tuple[object, object]:
    nodes = dict(state.holdings.nodes)
    return nodes, state.network


@given(st.lists(STEPS, max_size=30), st.sampled_from([200, 1 << 20]))
def test_who_watches_ends_with_the_state_of_the_hub(
    steps: list[tuple[str, Any]], keep_bytes: int
) -> None:
    """Whatever was written, lost, resumed, compacted and read late in between."""

    async def scenario() -> None:
        hub = Hub(keep_bytes)
        watcher = Watcher(hub)
        for action, value in steps:
            match action:
                case "commit":
                    hub.commit(value)
                case "read":
                    watcher.read(value)
                case "reconnect":
                    watcher.connect()
                case "compact":
                    hub.state.compact(value)
                case other:
                    raise AssertionError(other)
        await watcher.catch_up()
        assert (watcher.world.nodes, watcher.world.network[0]) == expected(hub.state)
        assert watcher.stream.revision == hub.state.revision

    asyncio.run(scenario())


def filled(count: int, keep_bytes: int = 1 << 20) -> Hub:
    hub = Hub(keep_bytes)
    nodes = [(f"n{number}", number) for number in range(count)]
    hub.commit([(KIND_NODE, name, encode_node(node(name, number))) for name, number in nodes])
    return hub


def test_snapshots_come_in_parts_of_bounded_size() -> None:
    encoded = list(encode_snapshot(filled(2000).state))
    assert len(encoded) > 10
    assert max(map(len, encoded)) < 2 * PART_BYTES + HEADER_BYTES


def test_deltas_come_in_parts_of_which_only_the_last_counts() -> None:
    hub = filled(2000)
    parts: list[Any] = [decoded(hub.feed.frame(number) or b"") for number in range(hub.feed.end)]
    assert len(parts) > 10
    assert [part.revision for part in parts] == [0] * (len(parts) - 1) + [2000]


def test_watchers_share_one_snapshot_until_it_is_old() -> None:
    hub = filled(1000)
    first = hub.feed.opening(hub.state, None)
    assert hub.feed.opening(hub.state, None) is first
    hub.commit([(KIND_NODE, "n7", None)])
    second = hub.feed.opening(hub.state, None)
    change = hub.feed.frame(hub.feed.end - 1)
    assert all(one is two for one, two in zip(first[:-1], second[:-2], strict=True))
    assert second[-2] is change
    for number in range(2000):
        hub.commit([(KIND_NODE, "n8", encode_node(node("n8", 5000 + number)))])
    assert hub.feed.opening(hub.state, None)[1] is not first[1]


def test_nobody_sees_an_old_state_as_a_whole_one() -> None:
    """A shared snapshot is older than the state; an agent would sweep what came since."""

    async def scenario() -> None:
        hub = filled(100)
        hub.feed.opening(hub.state, None)
        hub.commit([(KIND_NODE, "n7", None), (KIND_CONFIG, NETWORK_NAME, NET_CONFS[0])])
        hub.commit([(KIND_NODE, "new", encode_node(node("new", 500)))])
        watcher = Watcher(hub)
        await watcher.catch_up()
        (snapshot,) = watcher.heard
        assert isinstance(snapshot, Snapshot)
        assert snapshot.revision == hub.state.revision
        assert snapshot.network == hub.state.network
        assert {each.name for each in snapshot.nodes} == hub.state.holdings.nodes.keys()

    asyncio.run(scenario())


def test_watchers_that_resume_together_share_one_encoding() -> None:
    hub = filled(100)
    mark = hub.state.revision
    hub.commit([(KIND_NODE, "n7", None)])
    first = hub.feed.opening(hub.state, mark)
    assert hub.feed.opening(hub.state, mark) is first
    hub.commit([(KIND_NODE, "n8", None)])
    assert len(hub.feed.opening(hub.state, mark)) == len(first)


def test_the_feed_keeps_so_many_bytes_and_no_more() -> None:
    hub = filled(10, keep_bytes=1000)
    for number in range(100):
        hub.commit([(KIND_NODE, "n1", encode_node(node("n1", 1000 + number)))])
    kept = [number for number in range(hub.feed.end) if hub.feed.frame(number) is not None]
    assert kept == list(range(kept[0], hub.feed.end))
    assert sum(len(hub.feed.frame(number) or b"") for number in kept) <= 1000
    assert hub.feed.behind_bytes(kept[0] - 1) is None
    assert hub.feed.behind_bytes(hub.feed.end) == 0
