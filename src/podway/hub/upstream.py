"""A hub before another store: one watch of that store, served to any number of agents.

In: requests of all sessions, as in `HubServer`; the other store's events. Out: watchers get the
feed of what was heard, each thing encoded once; every other request goes on to the other store,
with the hub's own credentials, after the hub has checked that its client may ask for it. The other
store sees one client instead of thousands, and agents need to know and trust the hub alone.

While the other store is away, watchers keep what they have, and other requests are refused as such.
Nobody is told of an unfinished state: who comes before the first complete list waits for it.
"""

import asyncio
from collections.abc import Sequence

from podway.errors import ConfigError
from podway.hub.feed import Feed
from podway.hub.ledger import Answered, Outcome
from podway.hub.limits import Limits
from podway.hub.mirror import Mirror
from podway.hub.plans import Plan, parse_subnets
from podway.hub.server import HubServer
from podway.hub.sessions import Session
from podway.kernel.logs import get_log
from podway.model.networks import parse_network
from podway.store.codec import (
    claim_from_body,
    encode_network,
    encode_node,
    encode_subnets,
)
from podway.store.frames import (
    KIND_CONFIG,
    KIND_NODE,
    KIND_RESERVATION,
    NETWORK_NAME,
    AnyRequest,
    ClaimLease,
    Delete,
    Get,
    Item,
    List,
    Put,
    ReleaseLease,
    RenewLease,
    Reserve,
    Watch,
)
from podway.store.protocol import AdminStore, Away, Back, Delta, NodeStatus, Snapshot, StoreError
from podway.store.refusals import Code, ValueRefused

_NETWORK = (KIND_CONFIG, NETWORK_NAME)
_log = get_log("podway.hub")


class UpstreamServer(HubServer):
    """Serves *store* to any number of sessions.

    Attributes:
        mirror: what is known of the store.
    """

    def __init__(self, store: AdminStore, limits: Limits | None = None) -> None:
        self.mirror = Mirror()
        super().__init__(self.mirror, limits)
        self._store = store
        self.upstream_counts = getattr(store, "counts", None)
        self._waiting: list[tuple[Session, Watch]] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._follower = self._loop.create_task(self._follow())

    async def stop(self, reason: str) -> None:
        """Say goodbye to everybody, so that nothing new is asked, and close the store."""
        try:
            await super().stop(reason)
        finally:
            tasks = (self._follower, *self._calls)
            for task in tasks:
                task.cancel()
            try:
                await asyncio.wait(tasks)
            finally:
                await self._store.close()

    # -- what the store says

    async def _follow(self) -> None:
        try:
            async for event in self._store.watch():
                self._hear(event)
        except Exception as error:  # noqa: BLE001  (without its news the hub is of no use)
            self._break(error)
        else:
            self._break(StoreError("the watch of the store has ended by itself"))

    def _hear(self, event: Snapshot | Delta | Away | Back) -> None:
        mirror = self.mirror
        match event:
            case Away(reason):
                mirror.failure, mirror.failures = StoreError(reason), mirror.failures + 1
                _log.warning("store is away", reason=reason)
                return
            case Back():
                mirror.failure = None
                _log.info("store is back")
                return
            case Snapshot(rewound=True):
                self._begin_anew()
            case _:
                pass
        mirror.failure = None
        before = mirror.state.revision
        self._publish(before, mirror.take(event))
        waiting, self._waiting = self._waiting, []
        for session, request in waiting:
            if session in self.sessions:
                self._start_watch(session, request)

    def _begin_anew(self) -> None:
        """Have watchers come back: to another store, as far as they can tell."""
        self.mirror.begin_anew()
        self.feed = Feed(self.limits.lag_bytes)
        for session in tuple(self.sessions):
            session.end(Code.STOPPING, "the store behind this hub was put back; reconnect")

    # -- what clients ask

    def _carry_out(self, pending: Sequence[tuple[Session, AnyRequest]]) -> None:
        for session, request in pending:
            refusal = self._refusal(session, request)
            if refusal is not None:
                self._answer(session, request, refusal)
            elif not isinstance(request, Watch):
                self._forward(session, request)
            elif self.mirror.complete:
                self._start_watch(session, request)
            else:
                self._waiting.append((session, request))

    def _forward(self, session: Session, request: AnyRequest) -> None:
        task = self._loop.create_task(self._ask(session, request))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _ask(self, session: Session, request: AnyRequest) -> None:
        outcome: Outcome
        try:
            outcome = Answered(*await self._perform(request))
        except StoreError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001  (who asked waits for an answer)
            _log.exception("fault", client=session.label)
            outcome = StoreError(f"a defect of the hub, see its log: {error!r}")
        self._answer(session, request, outcome)

    async def _perform(self, request: AnyRequest) -> tuple[Plan, int]:
        """Return what the store answers to *request*, and a revision. Raises StoreError."""
        store, revision = self._store, self.mirror.state.revision
        match request:
            case ClaimLease():
                node = await store.claim(claim_from_body(request.claim))
                return Plan(value=encode_node(node)), revision
            case RenewLease():
                await store.renew(request.name)
            case ReleaseLease():
                await store.release(request.name)
            case Reserve():
                await store.reserve(request.name, parse_subnets(request))
            case Delete() if request.kind == KIND_RESERVATION:
                await store.unreserve(request.name)
            case Put() if (request.kind, request.name) == _NETWORK:
                return Plan(), await self._put_network(request)
            case Get() if (request.kind, request.name) == _NETWORK:
                stored = await store.get_network()
                value = None if stored is None else _as_meant(stored.text, self.mirror)
                return Plan(value=value), 0 if stored is None else stored.revision
            case List():
                return Plan(items=await self._list(request)), revision
            case _:
                raise ValueRefused("this hub keeps nothing itself: ask the store behind it")
        return Plan(), revision

    async def _put_network(self, request: Put) -> int:
        return await self._store.put_network(
            request.value.decode(errors="replace"),
            expected_revision=request.expected,
            force=request.force,
        )

    async def _list(self, request: List) -> tuple[Item, ...]:
        if request.kind == KIND_NODE:
            return tuple(map(_node_item, await self._store.list_nodes()))
        if request.kind == KIND_RESERVATION:
            kept = await self._store.list_reservations()
            return tuple(
                Item(name=each.name, revision=0, value=encode_subnets(each.subnets))
                for each in kept
            )
        return ()


def _as_meant(text: str, mirror: Mirror) -> bytes:
    """Return *text*, or the network itself where clients of a hub would take it for another."""
    network = mirror.state.network
    try:
        alike = network is None or parse_network(text) == network
    except ConfigError:
        alike = True
    return text.encode() if alike or network is None else encode_network(network)


def _node_item(status: NodeStatus) -> Item:
    return Item(
        name=status.node.name,
        revision=status.revision,
        value=encode_node(status.node),
        ttl_s=status.ttl_s,
        expires_in_s=status.expires_in_s,
    )
