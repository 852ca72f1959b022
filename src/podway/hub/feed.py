"""What watchers are told: encoded once, kept once, however many they are.

In: records as they are committed. Out: frames with ever growing numbers. A watcher is but a place
in this row: nothing is queued per watcher, and one that stops reading costs what it costs to keep
the row from its place on, which is bounded; who falls further behind is dropped.

A snapshot is cut into parts and kept for the next watcher too. It is not made anew for every
change: who comes later gets the frames since then inside it, before its end, so nobody ever sees an
old state as a whole one. It is made anew when those frames have grown to be worth it. So a thousand
watchers that come at once (a hub that was restarted) share one.
"""

from collections.abc import Iterator, Sequence

from podway.hub.state import Record, State
from podway.store.frames import (
    KIND_CONFIG,
    KIND_NODE,
    NETWORK_NAME,
    Changed,
    Deltas,
    Resumed,
    SnapshotEnd,
    SnapshotPart,
    SnapshotStart,
)
from podway.store.wire import (
    PART_BYTES,
    encode_frame,
)

# A node costs its value, its name and a few bytes of msgpack.
_NODE_OVERHEAD_BYTES = 16
SNAPSHOT_REUSE_MIN_BYTES = 64 << 10
RESUMES_KEPT = 16


class Feed:
    """The row of frames; numbers count them from the hub's start.

    Attributes:
        end: number that the next frame will get.
        total_bytes: of all frames ever.
    """

    def __init__(self, keep_bytes: int) -> None:
        self._keep_bytes = keep_bytes
        self._frames: dict[int, tuple[bytes, int]] = {}
        self._kept_bytes = 0
        self._snapshot: tuple[bytes, ...] = ()
        self._snapshot_end = -1
        self._snapshot_bytes = 0
        self._whole: tuple[bytes, ...] = ()
        self._resumes: dict[int, tuple[bytes, ...]] = {}
        self.end = 0
        self.total_bytes = 0

    def publish(self, revision_before: int, records: Sequence[Record]) -> None:
        """Append the frames that tell of *records*, which follow *revision_before*."""
        self._resumes.clear()
        self._whole = ()
        for frame in encode_deltas(revision_before, records):
            self.total_bytes += len(frame)
            self._kept_bytes += len(frame)
            self._frames[self.end] = (frame, self.total_bytes)
            self.end += 1
        while self._kept_bytes > self._keep_bytes and len(self._frames) > 1:
            oldest = next(iter(self._frames))
            self._kept_bytes -= len(self._frames.pop(oldest)[0])

    def frame(self, number: int) -> bytes | None:
        """Return frame *number*, None when it is no longer kept."""
        kept = self._frames.get(number)
        return None if kept is None else kept[0]

    def behind_bytes(self, number: int) -> int | None:
        """Return how many bytes lie from frame *number* on, None when it is no longer kept."""
        if number == self.end:
            return 0
        kept = self._frames.get(number)
        return None if kept is None else self.total_bytes - kept[1] + len(kept[0])

    def opening(self, state: State, revision: int | None) -> tuple[bytes, ...]:
        """Return what a new watcher gets before frame `end`.

        *revision*: the last that the watcher knows, None for nothing.
        """
        if revision is not None and state.can_resume(revision):
            return self._resume(state, revision)
        return self._share_snapshot(state)

    def _resume(self, state: State, revision: int) -> tuple[bytes, ...]:
        known = self._resumes.get(revision)
        if known is None:
            deltas = encode_deltas(revision, state.since(revision))
            known = (encode_frame(Resumed(revision=revision)), *deltas)
            if len(self._resumes) < RESUMES_KEPT:
                self._resumes[revision] = known
        return known

    def _share_snapshot(self, state: State) -> tuple[bytes, ...]:
        since_bytes = self.behind_bytes(self._snapshot_end)
        allowed_bytes = max(SNAPSHOT_REUSE_MIN_BYTES, self._snapshot_bytes // 2)
        if since_bytes is None or since_bytes > allowed_bytes:
            self._snapshot = tuple(encode_snapshot(state))
            self._snapshot_end = self.end
            self._snapshot_bytes = sum(map(len, self._snapshot))
            self._whole = ()
        if not self._whole:
            since = (self._frames[number][0] for number in range(self._snapshot_end, self.end))
            end = encode_frame(SnapshotEnd(revision=state.revision))
            self._whole = (*self._snapshot, *since, end)
        return self._whole


def encode_snapshot(state: State) -> Iterator[bytes]:
    """Yield the frames of the whole *state* but the end, in parts of about `PART_BYTES`."""
    yield encode_frame(SnapshotStart(revision=state.revision, network=state.network_text))
    values = (record.value for record in state.records(KIND_NODE) if record.value is not None)
    part: list[bytes] = []
    size = 0
    for value in values:
        part.append(value)
        size += len(value) + _NODE_OVERHEAD_BYTES
        if size >= PART_BYTES:
            yield encode_frame(SnapshotPart(nodes=tuple(part)))
            part, size = [], 0
    if part:
        yield encode_frame(SnapshotPart(nodes=tuple(part)))


def encode_deltas(revision_before: int, records: Sequence[Record]) -> Iterator[bytes]:
    """Yield the frames that tell of *records*, the last state of each object alone.

    Only the last frame names the new revision (see `Deltas`). Objects that no watcher needs still
    move the revision on.
    """
    if not records:
        return
    latest = {(record.kind, record.name): record for record in records}
    network = latest.get((KIND_CONFIG, NETWORK_NAME))
    text = None if network is None or network.value is None else network.value.decode()
    part: list[Changed] = []
    size = 0
    for record in latest.values():
        if record.kind != KIND_NODE:
            continue
        if size >= PART_BYTES:
            yield encode_frame(Deltas(revision=revision_before, changes=tuple(part)))
            part, size = [], 0
        part.append(Changed(record.name, record.value))
        size += len(record.name) + len(record.value or b"") + _NODE_OVERHEAD_BYTES
    yield encode_frame(Deltas(revision=records[-1].revision, changes=tuple(part), network=text))
