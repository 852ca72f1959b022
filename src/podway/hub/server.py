"""The hub itself: sessions in, one batch of requests at a time through the ledger, news to all.

In: requests of all sessions. Those that arrive in one turn of the event loop become one batch, and
so one transaction (a disk that is slow makes batches larger, not clients slower). Out: answers,
then the feed to every watcher. `main` opens the sockets and calls `stop`; `metrics` reads counts.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from podway.hub.access import check_access
from podway.hub.feed import Feed
from podway.hub.ledger import Answered, Outcome
from podway.hub.limits import Limits
from podway.hub.plans import Plan
from podway.hub.sessions import (
    Identify,
    Session,
    failure_frame,
)
from podway.hub.state import Record, State
from podway.hub.tls import TlsConnection
from podway.kernel.logs import get_log
from podway.store.address import HubAddress
from podway.store.codec import decode_node
from podway.store.counts import StoreCounts
from podway.store.frames import (
    KIND_CONFIG,
    KIND_NODE,
    AnyRequest,
    Done,
    Item,
    Listing,
    Watch,
)
from podway.store.net_conf_remarks import tell_unknown_keys
from podway.store.protocol import StoreError
from podway.store.refusals import Code, NotAllowed, code_of
from podway.store.wire import (
    PART_BYTES,
    encode_frame,
)

_ITEM_OVERHEAD_BYTES = 64
_log = get_log("podway.hub")


class Backing(Protocol):
    """What a server stands on: a `Ledger`, or what takes its place."""

    state: State
    commits: int
    failures: int
    store_id: str

    @property
    def failure(self) -> StoreError | None:
        """Why nothing can be written now."""
        ...

    def run(self, requests: Sequence[AnyRequest]) -> tuple[list[Outcome], tuple[Record, ...]]:
        """Carry out *requests*; return an outcome for each, and the records to publish."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class HubServer:
    """Serves one ledger to any number of sessions.

    Attributes:
        ledger: the state and its disk.
        feed: what watchers are sent.
        limits: what a client may cost.
        sessions: the clients that are connected.
        requests: counts of requests by type and result code ("ok" or `Code`).
        drops: counts of connections that the hub ended, by `Code` or ``tls``.
        upstream_counts: what the client of the store behind this hub counts; None where there is
            none.
        addresses: where it listens, with the ports that the kernel chose.
        broken: done, with the error, when the hub cannot go on and must be started anew.
    """

    def __init__(self, ledger: Backing, limits: Limits | None = None) -> None:
        self.ledger = ledger
        self.limits = limits or Limits()
        self.feed = Feed(self.limits.lag_bytes)
        self.sessions: set[Session] = set()
        self.upstream_counts: StoreCounts | None = None
        self.addresses: list[HubAddress] = []
        self._handshakes: set[TlsConnection] = set()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.drops: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self.broken: asyncio.Future[None] = self._loop.create_future()
        self._pending: list[tuple[Session, AnyRequest]] = []
        self._failing = False
        self._empty = asyncio.Event()
        self._ticker = self._loop.create_task(self._tick())

    @property
    def store_id(self) -> str:
        """Name of the store, for ever."""
        return self.ledger.store_id

    @property
    def watchers(self) -> int:
        """How many clients are sent the feed."""
        return sum(session.watching for session in self.sessions)

    def connect(self, identify: Identify) -> Session:
        """Return the protocol for a connection of a listener that identifies by *identify*."""
        return Session(self, identify)

    async def stop(self, reason: str) -> None:
        """Say goodbye to everybody, and close the ledger, whoever loses patience meanwhile."""
        self._ticker.cancel()
        for connection in tuple(self._handshakes):
            connection.abort()
        for session in tuple(self.sessions):
            session.end(Code.STOPPING, reason)
        self._check_empty()
        try:
            # Not wait_for: in Python 3.11 it loses a cancellation that comes with the event.
            with contextlib.suppress(TimeoutError):  # who has not left by now is cut off
                async with asyncio.timeout(min(1.0, self.limits.linger_s)):
                    await self._empty.wait()
        finally:
            self.ledger.close()

    def _check_empty(self) -> None:
        if self.sessions:
            self._empty.clear()
        else:
            self._empty.set()

    # -- what sessions call

    def admit(self, session: Session) -> bool:
        """Take *session* in, unless the hub is full."""
        if len(self.sessions) >= self.limits.clients:
            return False
        self.sessions.add(session)
        return True

    def begin_handshake(self, connection: TlsConnection) -> bool:
        """Count a TLS connection that is not yet a session; False: the hub is full."""
        if len(self.sessions) + len(self._handshakes) >= self.limits.clients:
            return False
        self._handshakes.add(connection)
        return True

    def end_handshake(self, connection: TlsConnection) -> None:
        """Count *connection* no more."""
        self._handshakes.discard(connection)

    def refused_handshake(self, client: str, reason: str) -> None:
        """Note that *client* could not prove who it is."""
        self.drops["tls"] += 1
        _log.warning("TLS handshake failed", client=client, reason=reason)

    def left(self, session: Session) -> None:
        """Note that *session* is over."""
        self.sessions.discard(session)
        self._check_empty()

    def dropped(self, session: Session, code: Code, reason: str) -> None:
        """Note that the hub ended *session*."""
        self.drops[code] += 1
        if code is not Code.STOPPING:
            _log.warning("client dropped", client=session.label, code=code, reason=reason)

    def submit(self, session: Session, request: AnyRequest) -> None:
        """Put *request* into the batch of this turn of the event loop."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append((session, request))

    # -- batches

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        try:
            self._carry_out(pending)
        except Exception as error:  # noqa: BLE001  (whatever it is, memory and disk may differ now)
            self._break(error)

    def _break(self, error: Exception) -> None:
        """Give up: a new process begins with what is on the disk."""
        _log.exception("hub is broken", error=error)
        if not self.broken.done():
            self.broken.set_exception(error)

    def _carry_out(self, pending: Sequence[tuple[Session, AnyRequest]]) -> None:
        refusals = [self._refusal(session, request) for session, request in pending]
        accepted = [
            request
            for (_, request), refusal in zip(pending, refusals, strict=True)
            if refusal is None and not isinstance(request, Watch)
        ]
        before = self.ledger.state.revision
        outcomes, records = self.ledger.run(accepted)
        self._note_storage()
        following = iter(outcomes)
        for (session, request), refusal in zip(pending, refusals, strict=True):
            if refusal is not None:
                self._answer(session, request, refusal)
            elif not isinstance(request, Watch):
                self._answer(session, request, next(following))
        self._publish(before, records)
        for (session, request), refusal in zip(pending, refusals, strict=True):
            if refusal is None and isinstance(request, Watch):
                self._start_watch(session, request)

    def _refusal(self, session: Session, request: AnyRequest) -> NotAllowed | None:
        assert session.peer is not None, "a session that has no peer makes no requests"
        try:
            check_access(session.peer, request)
        except NotAllowed as error:
            return error
        return None

    def _answer(self, session: Session, request: AnyRequest, outcome: Outcome) -> None:
        result = "ok" if isinstance(outcome, Answered) else code_of(outcome)
        kind = str(request.__struct_config__.tag)
        self.requests[kind, result] += 1
        if isinstance(outcome, Answered):
            session.answer(_answer_frames(request, outcome.plan, outcome.revision))
            return
        _log.warning("refused", client=session.label, request=kind, code=result, reason=outcome)
        session.answer((failure_frame(request, outcome),))

    def _start_watch(self, session: Session, request: Watch) -> None:
        known = request.revision if request.store_id == self.store_id else None
        session.watch(self.feed.opening(self.ledger.state, known), self.feed.end)
        self.requests["watch", "ok"] += 1
        _log.debug("watch", client=session.label, after=known, at=self.ledger.state.revision)

    def _publish(self, before: int, records: Sequence[Record]) -> None:
        if not records:
            return
        self.feed.publish(before, records)
        for session in tuple(self.sessions):
            session.pump()
        for record in records:
            _log_record(record)

    def _note_storage(self) -> None:
        failure = self.ledger.failure
        if failure is not None and not self._failing:
            _log.error("storage fails, nothing can be written", reason=failure)
        elif failure is None and self._failing:
            _log.info("storage works again")
        self._failing = failure is not None

    async def _tick(self) -> None:
        """Look for sessions whose time is up, and for leases."""
        interval_s = min(1.0, self.limits.heartbeat_s / 4)
        while not self.broken.done():
            await asyncio.sleep(interval_s)
            try:
                self._sweep()
            except Exception as error:  # noqa: BLE001  (without sweeps it would rot unseen)
                self._break(error)

    def _sweep(self) -> None:
        now_s = self._loop.time()
        for session in tuple(self.sessions):
            session.sweep(now_s)
        if not self._pending:
            self._flush()


def _log_record(record: Record) -> None:
    if record.kind != KIND_NODE:
        change = "removed" if record.value is None else "stored"
        _log.info(f"{record.kind} {change}", name=record.name, revision=record.revision)
        if record.kind == KIND_CONFIG and record.value is not None:
            tell_unknown_keys(record.value)
    elif record.value is None:
        _log.info("lease ended", node=record.name, revision=record.revision)
    else:
        leases = decode_node(record.value).leases
        _log.info(
            "lease given",
            node=record.name,
            subnets=",".join(str(lease.subnet) for lease in leases),
            addresses=",".join(str(lease.public_ip) for lease in leases),
            revision=record.revision,
        )


def _answer_frames(request: AnyRequest, plan: Plan, revision: int) -> tuple[bytes, ...]:
    if plan.items is None:
        return (encode_frame(Done(id=request.id, revision=revision, value=plan.value)),)
    parts = list(_parts(plan.items))
    return tuple(
        encode_frame(Listing(id=request.id, items=part, more=number < len(parts)))
        for number, part in enumerate(parts, 1)
    )


def _parts(items: Iterable[Item]) -> Iterable[tuple[Item, ...]]:
    """Cut *items* into parts of about `PART_BYTES`; at least one, if empty."""
    part: list[Item] = []
    size = 0
    for item in items:
        if size >= PART_BYTES:
            yield tuple(part)
            part, size = [], 0
        part.append(item)
        size += len(item.value) + _ITEM_OVERHEAD_BYTES
    yield tuple(part)
