"""Requests to durable changes: the one writer of the hub.

In: the requests that came together, in order. Out: an outcome for each, and the records that
watchers must hear of, after all of it is on the disk in one transaction (so that a thousand nodes
that claim at once cost a few fsyncs, not a thousand). State in memory is only ever what is on the
disk: when a write fails, all of the batch is refused and the state is read back, which leaves no
doubt about what a failing disk did take. For a second after that writes are refused unseen, so
that a full disk does not also cost the processor.

Runs in the event loop and blocks it for as long as the disk takes: what is decided is committed
before anything else can look at it, and no lock is needed for that.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec import Struct

from podway.hub.database import Database, Stored
from podway.hub.plans import Plan, plan_expiry, plan_request
from podway.hub.state import TOMBSTONES_MAX, Record, State
from podway.hub.terms import Term, with_grace
from podway.store.frames import (
    KIND_NODE,
    AnyRequest,
)
from podway.store.protocol import StoreError
from podway.store.refusals import StorageFailed

RETRY_S = 1.0
# Hub time is written at least this often, so that it gets on even if nobody claims or renews.
AGE_WRITE_S = 300.0


class Answered(Struct, frozen=True):
    """A request was carried out; what it planned, and the revision to answer with."""

    plan: Plan
    revision: int


Outcome: TypeAlias = Answered | StoreError


class _Batch:
    """What the requests of one batch have changed so far."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.terms: dict[str, Term] = {}
        self.ended: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self.records or self.terms)


class Ledger:
    """The hub's state and its disk, in step.

    Attributes:
        state: what is on the disk.
        store_id: names this store; a watcher's revision means nothing to another one.
        failures: writes that the disk refused so far.
        commits: transactions so far.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.monotonic,
        tombstones_max: int = TOMBSTONES_MAX,
    ) -> None:
        self._database = database
        self._clock = clock
        self._tombstones_max = tombstones_max
        self._retry_s = 0.0
        self._failure: StorageFailed | None = None
        self.failures = 0
        self.commits = 0
        stored = database.load()
        self._born_s = clock() - stored.age_s
        self._written_s = stored.age_s
        self.store_id = stored.store_id
        self.state = _build_state(stored, self.now_s())

    def now_s(self) -> float:
        """Return hub time: seconds that the hub has been up in its whole life."""
        return self._clock() - self._born_s

    @property
    def failure(self) -> StorageFailed | None:
        """Why the last write failed; None when it did not."""
        return self._failure

    def run(self, requests: Sequence[AnyRequest]) -> tuple[list[Outcome], tuple[Record, ...]]:
        """Carry out *requests* in order, and take leases that have ended first.

        Returns an outcome for each request and the records to publish; both are durable.
        """
        now_s, batch, before = self.now_s(), _Batch(), self.state.revision
        self._expire(batch, now_s)
        outcomes = [self._attempt(batch, request, now_s) for request in requests]
        try:
            self._commit(batch, now_s)
        except StorageFailed as error:
            self._recover(error)
            # A disk that fails while it syncs may have taken the batch: then it counts.
            return [self._settle(r, error) for r in requests], self.state.since(before)
        return outcomes, tuple(batch.records)

    def close(self) -> None:
        """Write hub time, close the file."""
        # A full disk costs some hub time here: leases live a little longer, nothing is lost.
        with contextlib.suppress(StorageFailed):
            self._database.commit(age_s=self.now_s())
        self._database.close()

    def _expire(self, batch: _Batch, now_s: float) -> None:
        if now_s >= self._retry_s:
            self._apply(batch, plan_expiry(self.state, self.state.terms.ended(now_s)))

    def _attempt(self, batch: _Batch, request: AnyRequest, now_s: float) -> Outcome:
        try:
            plan = plan_request(request, self.state, now_s)
        except StoreError as error:
            return error
        if self._failure is not None and now_s < self._retry_s and (plan.writes or plan.terms):
            return self._failure
        self._apply(batch, plan)
        return Answered(plan, self.state.revision if plan.revision is None else plan.revision)

    def _apply(self, batch: _Batch, plan: Plan) -> None:
        for write in plan.writes:
            record = Record(write.kind, write.name, self.state.revision + 1, write.value)
            self.state.apply(record)
            batch.records.append(record)
            if write.kind == KIND_NODE and write.value is None:
                batch.terms.pop(write.name, None)
                batch.ended[write.name] = None
        for term in plan.terms:
            self.state.terms.set(term)
            batch.terms[term.name] = term
            batch.ended.pop(term.name, None)

    def _commit(self, batch: _Batch, now_s: float) -> None:
        aging = len(self.state.terms) > 0 and now_s - self._written_s >= AGE_WRITE_S
        if not batch and not (aging and now_s >= self._retry_s):
            return
        self._database.commit(
            age_s=now_s,
            records=batch.records,
            terms=batch.terms.values(),
            ended=batch.ended,
            compacted=self._compact(),
        )
        self._written_s = now_s
        self._failure = None
        self.commits += 1

    def _compact(self) -> int | None:
        """Drop old removals when there are too many, half of them so that it happens seldom."""
        if self.state.tombstones <= self._tombstones_max:
            return None
        return self.state.compact(self._tombstones_max // 2)

    def _recover(self, error: StorageFailed) -> None:
        self.failures += 1
        self._failure = error
        self._retry_s = self.now_s() + RETRY_S
        self.state = _build_state(self._database.load(), self.now_s())

    def _settle(self, request: AnyRequest, error: StorageFailed) -> Outcome:
        """Answer a request of a batch that failed: reads from what is on the disk, writes no."""
        now_s = self.now_s()
        try:
            plan = plan_request(request, self.state, now_s)
        except StoreError as refusal:
            return refusal
        if plan.writes or plan.terms:
            return error
        return Answered(plan, self.state.revision if plan.revision is None else plan.revision)


def _build_state(stored: Stored, now_s: float) -> State:
    terms = (with_grace(term, now_s) for term in stored.terms)
    return State(stored.records, terms, stored.compacted)
