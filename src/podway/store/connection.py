"""One connection to a hub, from the client: hello, requests and their answers, the watched stream.

In: an address, TLS for it, and a sink for the frames of the stream. Out: an open connection, or
`StoreAway` with a reason that tells a person what to do. A connection ends once, for one reason;
`HubStore` then makes another.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, TypeAlias

from podway.store.address import HubAddress, UnixAddress
from podway.store.frames import (
    FEATURES,
    PROTOCOL_VERSION,
    AnyRequest,
    Deltas,
    Done,
    Failure,
    Goodbye,
    Hello,
    HubFrame,
    Item,
    Listing,
    Ping,
    Resumed,
    SnapshotEnd,
    SnapshotPart,
    SnapshotStart,
    Watch,
    Welcome,
)
from podway.store.local_addresses import is_stranded
from podway.store.protocol import StoreAway
from podway.store.refusals import error_of
from podway.store.tls import HUB_TLS_NAME
from podway.store.wire import (
    ANSWER_MAX_BYTES,
    FrameSplitter,
    WireError,
    decode_hub_frame,
    encode_frame,
)

StreamFrame: TypeAlias = SnapshotStart | SnapshotPart | SnapshotEnd | Resumed | Deltas
Sink: TypeAlias = Callable[[StreamFrame], None]
Answer: TypeAlias = Done | tuple[Item, ...]
_PING = encode_frame(Ping())
# Silence for so many heartbeats is death.
MISSED_HEARTBEATS = 3


async def open_connection(
    address: HubAddress, tls: ssl.SSLContext | None, sink: Sink, timeout_s: float
) -> "HubConnection":
    """Return a connection on which the hub has said `Welcome`.

    Raises:
        StoreAway: it cannot be had now; the message says why.
    """
    connection = HubConnection(address, sink)
    try:
        async with asyncio.timeout(timeout_s):
            await _connect(connection, address, tls, timeout_s)
            await connection.greet()
    except TimeoutError as error:
        connection.abort()
        raise StoreAway(f"{address}: no answer within {timeout_s:g} s") from error
    except (OSError, UnicodeError) as error:  # the last: no host name at all
        raise StoreAway(f"{address}: {describe_failure(error)}") from error
    except BaseException:
        connection.abort()
        raise
    return connection


async def _connect(
    connection: "HubConnection", address: HubAddress, tls: ssl.SSLContext | None, timeout_s: float
) -> None:
    loop = asyncio.get_running_loop()
    if isinstance(address, UnixAddress):
        await loop.create_unix_connection(lambda: connection, str(address.path))
    elif tls is None:
        await loop.create_connection(lambda: connection, address.host, address.port)
    else:
        await loop.create_connection(
            lambda: connection,
            address.host,
            address.port,
            ssl=tls,
            server_hostname=HUB_TLS_NAME,
            ssl_handshake_timeout=timeout_s,
        )


def describe_failure(error: Exception) -> str:
    """Return in words why a connection failed, and what to do where that is known."""
    if isinstance(error, ssl.SSLError):
        return _describe_tls(error)
    match error:
        case FileNotFoundError():
            return "no such socket: is the hub running?"
        case ConnectionRefusedError():
            return "nothing listens there: is the hub running?"
        case PermissionError():
            return "permission denied: only root may use the hub's socket"
        case _:
            return str(error) or type(error).__name__


def _describe_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        words = error.verify_message
        return f"the hub's certificate is not to be trusted: {words}: check --tls-ca"
    words = (error.reason or str(error)).replace("_", " ").lower()
    if "alert" in words:
        return f"the hub refused our certificate: {words}: check --tls-cert and --tls-ca"
    return f"no TLS with that side: {words}: does the hub serve TLS there?"


class HubConnection(asyncio.Protocol):
    """An open connection.

    Attributes:
        welcome: what the hub said first, None before that.
        watching: whether the stream was started.
        closed: done, with the reason, when the connection is over.
    """

    def __init__(self, address: HubAddress, sink: Sink) -> None:
        self._address = address
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._splitter = FrameSplitter(ANSWER_MAX_BYTES)
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._parts: dict[int, list[Item]] = {}
        self._last_id = 0
        self._heard_s = self._loop.time()
        self._heartbeat: asyncio.TimerHandle | None = None
        self._reason = ""
        self._welcomed: asyncio.Future[Welcome] = self._loop.create_future()
        self.welcome: Welcome | None = None
        self.watching = False
        self.closed: asyncio.Future[str] = self._loop.create_future()

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        if not self._reason:
            self._reason = describe_failure(exc) if exc else self._describe_end()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        reason = f"{self._address}: {self._reason}"
        waiting: list[asyncio.Future[Any]] = [*self._waiting.values(), self._welcomed]
        for answer in waiting:
            if not answer.done():
                answer.set_exception(StoreAway(reason))
        self._waiting.clear()
        if not self._welcomed.cancelled():
            self._welcomed.exception()  # seen, also when nobody waits for it
        if not self.closed.done():
            self.closed.set_result(reason)

    def _describe_end(self) -> str:
        if self.welcome is None:
            return "the hub closed the connection without a word: its log says why"
        return "the hub closed the connection"

    def data_received(self, data: bytes) -> None:
        """Take the frames that *data* completes."""
        self._heard_s = self._loop.time()
        try:
            for body in self._splitter.feed(data):
                self._receive(decode_hub_frame(body))
        except WireError as error:
            self.abort(f"the hub sent what we cannot read: {error}")

    # -- what the store calls

    async def greet(self) -> Welcome:
        """Say hello and return the hub's welcome. Raises StoreAway."""
        self._send(encode_frame(Hello(PROTOCOL_VERSION, FEATURES)))
        self.welcome = await self._welcomed
        self._beat(self.welcome.heartbeat_s)
        return self.welcome

    async def request(self, make: Callable[[int], AnyRequest]) -> Answer:
        """Send the request that *make* builds for its number; return the answer.

        Raises:
            StoreError: what the hub says against it, or `StoreAway` when the connection ends.
        """
        if self.closed.done():
            raise StoreAway(self.closed.result())
        self._last_id += 1
        number = self._last_id
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[number] = answer
        self._send(encode_frame(make(number)))
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)
            self._parts.pop(number, None)

    def watch(self, store_id: str, revision: int) -> None:
        """Start the stream into the sink, after *revision* of *store_id* if that is possible."""
        self.watching = True
        self._last_id += 1
        self._send(encode_frame(Watch(id=self._last_id, store_id=store_id, revision=revision)))

    def abort(self, reason: str = "") -> None:
        """End the connection now."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def recheck(self) -> None:
        """End the connection if its own end has lost its address."""
        if self._transport is None:
            return
        name = self._transport.get_extra_info("sockname")
        if is_stranded(name):
            self.abort(f"this node does not have the address {name[0]} any more")

    # -- inside

    def _send(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def _beat(self, interval_s: float) -> None:
        silent_s = self._loop.time() - self._heard_s
        if silent_s > MISSED_HEARTBEATS * interval_s:
            self.abort(f"no sign of life for {silent_s:.0f} s")
            return
        self._send(_PING)
        self._heartbeat = self._loop.call_later(interval_s, self._beat, interval_s)

    def _receive(self, frame: HubFrame) -> None:
        match frame:
            case Ping():
                pass
            case Done() | Failure() | Listing():
                self._receive_answer(frame)
            case Welcome():
                self._receive_welcome(frame)
            case Goodbye():
                self.abort(f"the hub ended the connection: {frame.message}")
            case _:
                self._sink(frame)

    def _receive_welcome(self, frame: Welcome) -> None:
        if frame.version != PROTOCOL_VERSION:
            self.abort(f"the hub speaks protocol {frame.version}, we speak {PROTOCOL_VERSION}")
        elif not self._welcomed.done():
            self._welcomed.set_result(frame)

    def _receive_answer(self, frame: Done | Failure | Listing) -> None:
        answer = self._waiting.get(frame.id)
        if answer is None or answer.done():
            return  # who asked has given up
        match frame:
            case Done():
                answer.set_result(frame)
            case Failure():
                answer.set_exception(error_of(frame.code, frame.message))
            case Listing():
                parts = self._parts.setdefault(frame.id, [])
                parts += frame.items
                if not frame.more:
                    answer.set_result(tuple(parts))
