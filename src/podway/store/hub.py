"""The hub as a store: the client of `podway hub`, for agents and for administrators.

In: an address. Out: the `Store` protocol, and calls that only an administrator may make. Hard is
that the hub may be away at any time and for any time: one task connects, watches from where it
stopped, and starts anew after every loss, for ever, with a growing and jittered pause; the kernel
goes on forwarding in the meantime. A call never waits for a hub that is known to be away.

A call that ends with `StoreAway` may or may not have been carried out. Claim, renew and release may
simply be repeated; a put should read before it repeats.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

from msgspec import Struct

from podway.model.addresses import IPNetwork
from podway.model.nodes import Claim, Node
from podway.store.address import HubAddress
from podway.store.codec import claim_to_body, decode_node, decode_subnets
from podway.store.connection import Answer, HubConnection, StreamFrame, open_connection
from podway.store.frames import (
    KIND_CONFIG,
    KIND_NODE,
    KIND_RESERVATION,
    NETWORK_NAME,
    AnyRequest,
    ClaimLease,
    Delete,
    Done,
    Get,
    Item,
    List,
    Put,
    ReleaseLease,
    RenewLease,
    Reserve,
)
from podway.store.protocol import (
    Away,
    Back,
    NodeStatus,
    Reservation,
    StoreAway,
    StoredNetwork,
    StoreEvent,
)
from podway.store.renewed import Renewed
from podway.store.stream import Stream


class HubOptions(Struct, frozen=True, kw_only=True):
    """Times of one client, in seconds.

    Attributes:
        request_s: for the answer to one request.
        connect_s: for a connection, with TLS and greeting.
        backoff_min_s: pause after the first failure; doubles with each further one.
        backoff_max_s: longest pause; each is between half of this and all of it, at random.
        stable_s: a connection that lasted so long makes the pauses short again.
    """

    request_s: float = 10.0
    connect_s: float = 5.0
    backoff_min_s: float = 0.1
    backoff_max_s: float = 5.0
    stable_s: float = 5.0


class StoredValue(Struct, frozen=True):
    """A value and the revision by which it can be compared and swapped."""

    value: bytes
    revision: int


class HubStore:
    """One hub, seen from one client; belongs to the event loop in which it is first used."""

    def __init__(
        self,
        address: HubAddress,
        *,
        tls: Renewed[ssl.SSLContext] | None = None,
        options: HubOptions | None = None,
    ) -> None:
        self._address = address
        self._tls = tls
        self._options = options or HubOptions()
        self._connection: HubConnection | None = None
        self._stream: Stream | None = None
        self._task: asyncio.Task[None] | None = None
        self._attempted = asyncio.Event()
        self._reason = f"{address}: closed"
        self._closed = False

    # -- the Store protocol

    async def watch(self) -> AsyncIterator[StoreEvent]:
        """Yield a snapshot, then every change, for ever; `Away` and `Back` as they happen.

        A second watch ends the first one's stream: there is one at a time.
        """
        if self._stream is not None:
            self._stream.mailbox.close()
        stream = self._stream = Stream()
        if self._connection is not None and self._connection.watching:
            self._connection.abort("watching anew")
        elif self._connection is not None:
            self._watch(self._connection, stream)
        self._start()
        try:
            while (event := await stream.mailbox.get()) is not None:
                yield event
        finally:
            if self._stream is stream:
                self._stream = None

    async def claim(self, claim: Claim) -> Node:
        """Lease one subnet per family, all or none. Raises ClaimRefused, StoreAway, StoreError."""
        body = claim_to_body(claim)
        done = _done(await self._call(lambda number: ClaimLease(id=number, claim=body)))
        return decode_node(done.value or b"")

    async def renew(self, name: str) -> None:
        """Start the lease's time to live anew. Raises LeaseLost, StoreAway, StoreError."""
        await self._call(lambda number: RenewLease(id=number, name=name))

    async def release(self, name: str) -> None:
        """Give the node's lease back; an administrator removes any node so."""
        await self._call(lambda number: ReleaseLease(id=number, name=name))

    def recheck(self) -> None:
        """Connect anew if this node has lost the address from which the connection goes."""
        if self._connection is not None:
            self._connection.recheck()

    async def close(self) -> None:
        """End the connection, and the stream of who watches."""
        self._closed = True
        if self._connection is not None:
            self._connection.abort("closed")
        if self._stream is not None:
            self._stream.mailbox.close()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    # -- an administrator's calls

    async def get_network(self) -> StoredNetwork | None:
        """Return the network configuration, None where there is none yet."""
        stored = await self.get(KIND_CONFIG, NETWORK_NAME)
        return None if stored is None else StoredNetwork(stored.value.decode(), stored.revision)

    async def put_network(
        self, text: str, *, expected_revision: int | None = None, force: bool = False
    ) -> int:
        """Configure the network; return its revision. Raises ValueRefused, Conflict."""
        return await self.put(
            KIND_CONFIG, NETWORK_NAME, text.encode(), expected=expected_revision, force=force
        )

    async def list_nodes(self) -> tuple[NodeStatus, ...]:
        """Return every node with the state of its lease, by name."""
        items = _items(await self._call(lambda number: List(id=number, kind=KIND_NODE)))
        return tuple(
            NodeStatus(
                node=decode_node(item.value),
                revision=item.revision,
                ttl_s=item.ttl_s,
                expires_in_s=item.expires_in_s,
            )
            for item in items
        )

    async def list_reservations(self) -> tuple[Reservation, ...]:
        """Return every reservation, by name of the node."""
        items = _items(await self._call(lambda number: List(id=number, kind=KIND_RESERVATION)))
        return tuple(Reservation(item.name, decode_subnets(item.value)) for item in items)

    async def reserve(self, name: str, subnets: Sequence[IPNetwork]) -> None:
        """Keep *subnets*, at most one a family, for the node called *name*, present or to come.

        A node that lives keeps what it has until it claims again.

        Raises:
            ClaimRefused: a subnet does not fit the network or is another node's.
        """
        texts = tuple(str(subnet) for subnet in subnets)
        await self._call(lambda number: Reserve(id=number, name=name, subnets=texts))

    async def unreserve(self, name: str) -> None:
        """Remove the reservation for *name*; no error when there is none."""
        await self.delete(KIND_RESERVATION, name)

    async def put(
        self,
        kind: str,
        name: str,
        value: bytes,
        *,
        expected: int | None = None,
        force: bool = False,
    ) -> int:
        """Store *value*; return its revision. *expected* is its revision now, 0: not there.

        Raises:
            Conflict: it is at another revision.
            ValueRefused: the value breaks a rule.
        """
        done = _done(
            await self._call(
                lambda number: Put(
                    id=number, kind=kind, name=name, value=value, expected=expected, force=force
                )
            )
        )
        return done.revision

    async def get(self, kind: str, name: str) -> StoredValue | None:
        """Return a value, None where there is none."""
        done = _done(await self._call(lambda number: Get(id=number, kind=kind, name=name)))
        return None if done.value is None else StoredValue(done.value, done.revision)

    async def delete(self, kind: str, name: str, *, expected: int | None = None) -> None:
        """Remove a value; no error when it is not there. Raises Conflict as `put` does."""
        await self._call(lambda number: Delete(id=number, kind=kind, name=name, expected=expected))

    # -- the connection

    async def _call(self, make: Callable[[int], AnyRequest]) -> Answer:
        self._start()
        try:
            async with asyncio.timeout(self._options.request_s):
                await self._attempted.wait()
                if self._connection is None:
                    raise StoreAway(self._reason)
                return await self._connection.request(make)
        except TimeoutError as error:
            limit_s = self._options.request_s
            raise StoreAway(f"{self._address}: no answer within {limit_s:g} s") from error

    def _start(self) -> None:
        if self._closed:
            raise StoreAway(f"{self._address}: this store was closed")
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._stay_connected())

    async def _stay_connected(self) -> None:
        """Connect, wait for the end, pause, for ever."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began_s = loop.time()
            reason = await self._connect_once()
            if loop.time() - began_s >= self._options.stable_s:
                failures = 0
            self._reason = reason
            if self._stream is not None:
                self._stream.mailbox.put(Away(reason))
            self._attempted.set()
            await asyncio.sleep(self._pause_s(failures))
            failures += 1

    def _pause_s(self, failures: int) -> float:
        options = self._options
        longest_s = min(options.backoff_max_s, options.backoff_min_s * 2.0 ** min(failures, 16))
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311  (spreads load, hides nothing)

    async def _connect_once(self) -> str:
        """Connect and stay connected; return why that ended."""
        tls = self._tls.now() if self._tls is not None else None
        try:
            connection = await open_connection(
                self._address, tls, self._take, self._options.connect_s
            )
        except StoreAway as error:
            return str(error)
        self._connection = connection
        try:
            if self._stream is not None:
                self._watch(connection, self._stream)
            self._attempted.set()
            return await asyncio.shield(connection.closed)
        finally:
            self._connection = None
            connection.abort()

    def _watch(self, connection: HubConnection, stream: Stream) -> None:
        assert connection.welcome is not None, "an open connection was greeted"
        stream.begin(connection.welcome.store_id)
        stream.mailbox.put(Back())
        connection.watch(stream.store_id, stream.revision)

    def _take(self, frame: StreamFrame) -> None:
        if self._stream is not None:
            self._stream.take(frame)


def _done(answer: Answer) -> Done:
    assert isinstance(answer, Done), "the hub answers this request with one frame"
    return answer


def _items(answer: Answer) -> tuple[Item, ...]:
    assert isinstance(answer, tuple), "the hub answers this request with a list"
    return answer
