"""One client of the hub: bytes in, requests out; answers and the feed back.

In: what an asyncio transport delivers, hostile or not. Out: checked requests to the `Host`, which
answers through `send` and wakes watchers through `pump`. What is hard is that no client may cost
more than its share: a frame is bounded in length and in time, a client that does not read what it
asked for is not read from either, and a watcher is a place in the feed instead of a queue. A
connection that must end gets a `Goodbye` with the reason, and a moment to read it: closing a socket
with unread input resets it, and a reset takes the last words with it.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

from podway.hub.access import Peer
from podway.hub.feed import Feed
from podway.hub.limits import Limits, Times
from podway.store.frames import (
    FEATURES,
    PROTOCOL_VERSION,
    AnyRequest,
    Failure,
    Goodbye,
    Hello,
    Ping,
    Watch,
    Welcome,
)
from podway.store.protocol import StoreError
from podway.store.refusals import Code, NotAllowed, code_of
from podway.store.wire import (
    HELLO_MAX_BYTES,
    REQUEST_MAX_BYTES,
    FrameSplitter,
    WireError,
    decode_client_frame,
    encode_frame,
)

Identify: TypeAlias = Callable[[asyncio.Transport], Peer]
# Answers that one client may be owed before it is read from again.
IN_FLIGHT_MAX = 8
WRITE_HIGH_BYTES = 32 << 10
_PING = encode_frame(Ping())


class Host(Protocol):
    """What a session needs of the hub that it belongs to."""

    limits: Limits
    feed: Feed

    @property
    def store_id(self) -> str:
        """Name of the store, for ever."""
        ...

    def admit(self, session: "Session") -> bool:
        """Take *session* in; False: the hub is full."""
        ...

    def submit(self, session: "Session", request: AnyRequest) -> None:
        """Carry out *request* soon; the answer comes by `Session.answer`."""
        ...

    def dropped(self, session: "Session", code: Code, reason: str) -> None:
        """Note that the hub ended *session*."""
        ...

    def left(self, session: "Session") -> None:
        """Note that *session* is over."""
        ...


class Session(asyncio.Protocol):
    """One connection, from the accepted socket to the last word."""

    __slots__ = (
        "_asked_to_watch",
        "_bodies",
        "_ended",
        "_host",
        "_identify",
        "_in_flight",
        "_loop",
        "_opening",
        "_place",
        "_reading",
        "_splitter",
        "_times",
        "_transport",
        "name",
        "peer",
    )

    def __init__(self, host: Host, identify: Identify) -> None:
        self._host = host
        self._identify = identify
        self._loop = asyncio.get_running_loop()
        self._splitter = FrameSplitter(HELLO_MAX_BYTES)
        self._bodies: deque[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._opening: tuple[bytes, ...] = ()
        self._place: int | None = None
        self._asked_to_watch = False
        self._in_flight = 0
        self._reading = True
        self._ended = False
        self._times = Times(self._loop.time())
        self.peer: Peer | None = None
        self.name: str | None = None

    @property
    def greeted(self) -> bool:
        """Whether the client has said `Hello`."""
        return self.name is not None

    @property
    def label(self) -> str:
        """Who and where the client is, for logs."""
        peer = self.peer
        if peer is None:
            return "unknown"
        return f"{peer.name or self.name or peer.role} via {peer.via}"

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out who it is."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        if not self._host.admit(self):
            self.end(Code.BUSY, f"the hub serves {self._host.limits.clients} clients already")
            return
        try:
            self.peer = self._identify(transport)
        except NotAllowed as error:
            self.end(Code.FORBIDDEN, str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        del exc
        self._ended = True
        self._opening = ()
        self._bodies = None
        self._host.left(self)

    def eof_received(self) -> bool:
        """Close our side as well: a client that will not send will not ping either."""
        return False

    def data_received(self, data: bytes) -> None:
        """Cut *data* into frames and take what may be taken."""
        if self._ended:
            return
        try:
            bodies = self._splitter.feed(data)
            unfinished = self._splitter.unfinished
            self._times.hear(self._loop.time(), completed=bool(bodies), unfinished=unfinished)
            if bodies:
                self._bodies = self._bodies or deque()
                self._bodies.extend(bodies)
                self._take()
        except WireError as error:
            self.end(Code.PROTOCOL, str(error))

    def pause_writing(self) -> None:
        """Stop sending; and stop reading, so that it cannot ask for more."""
        self._times.paused_since_s = self._loop.time()
        self._set_reading()

    def resume_writing(self) -> None:
        """Go on where we stopped."""
        self._times.resume(self._loop.time())
        if not self._ended:
            self.pump()
            self._try_take()

    # -- what the host calls

    def send(self, frame: bytes) -> None:
        """Send an encoded frame, unless the connection is ending."""
        if not self._ended and self._transport is not None:
            self._transport.write(frame)
            self._times.sent_s = self._loop.time()

    def answer(self, frames: tuple[bytes, ...]) -> None:
        """Answer one request, and take the next."""
        self._in_flight -= 1
        for frame in frames:
            self.send(frame)
        if not self._ended:
            self._try_take()

    def watch(self, opening: tuple[bytes, ...], place: int) -> None:
        """Send *opening*, then the feed from *place* on."""
        self._in_flight -= 1
        self._opening = opening
        self._place = place
        self.pump()
        if not self._ended:
            self._try_take()

    @property
    def watching(self) -> bool:
        """Whether the feed goes to this client."""
        return self._place is not None and not self._ended

    def pump(self) -> None:
        """Send of the feed what the client takes now; end it when it is too far behind."""
        if self._place is None:
            return
        while self._opening and not self._times.is_paused:
            frame, *rest = self._opening
            self._opening = tuple(rest)
            self.send(frame)
        feed = self._host.feed
        while self._place < feed.end:
            frame_or_none = feed.frame(self._place)
            if frame_or_none is None:
                limit = self._host.limits.lag_bytes
                self.end(Code.SLOW, f"fell more than {limit} bytes behind what changed")
                return
            if self._times.is_paused:
                return
            self._place += 1
            self.send(frame_or_none)

    def sweep(self, now_s: float) -> None:
        """Send a heartbeat when due; end the session when a time limit has passed."""
        if self._ended:
            return
        limits = self._host.limits
        overdue = self._times.overdue(now_s, limits, greeted=self.greeted)
        if overdue is not None:
            self.end(*overdue)
        elif self.greeted and self._times.is_ping_due(now_s, limits):
            self.send(_PING)

    def end(self, code: Code, reason: str) -> None:
        """Say goodbye with *reason*; the connection is gone after a moment."""
        if self._ended or self._transport is None:
            return
        self._host.dropped(self, code, reason)
        self.send(encode_frame(Goodbye(code=code, message=reason)))
        self._ended = True
        self._opening, self._bodies, self._place = (), None, None
        transport = self._transport
        transport.resume_reading()  # and discard: see the module's text
        end_output(transport)
        self._loop.call_later(self._host.limits.linger_s, transport.abort)

    # -- inside

    def _try_take(self) -> None:
        try:
            self._take()
        except WireError as error:
            self.end(Code.PROTOCOL, str(error))

    def _take(self) -> None:
        """Pass on requests as long as the client is not owed too many answers."""
        while self._bodies and not self._times.is_paused and self._in_flight < IN_FLIGHT_MAX:
            self._receive(self._bodies.popleft())
        self._set_reading()

    def _set_reading(self) -> None:
        """Read only while nothing waits to be taken and the client takes what we send."""
        want = not self._bodies and not self._times.is_paused
        if self._ended or self._transport is None or want == self._reading:
            return
        self._reading = want
        if want:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _receive(self, body: bytes) -> None:
        frame = decode_client_frame(body)
        if not self.greeted:
            self._greet(frame)
        elif isinstance(frame, Hello):
            raise WireError("hello came twice")
        elif not isinstance(frame, Ping):
            if isinstance(frame, Watch):
                if self._asked_to_watch:
                    raise WireError("watch came twice")
                self._asked_to_watch = True
            self._in_flight += 1
            self._host.submit(self, frame)

    def _greet(self, frame: object) -> None:
        if not isinstance(frame, Hello):
            raise WireError("the first frame must be a hello")
        if frame.version != PROTOCOL_VERSION:
            theirs = f"protocol version {frame.version}"
            raise WireError(f"{theirs}; this hub speaks {PROTOCOL_VERSION}: update the older one")
        assert self.peer is not None, "identified when connected"
        self.name = frame.name[:253]
        self._splitter.limit_bytes = REQUEST_MAX_BYTES
        welcome = Welcome(
            version=PROTOCOL_VERSION,
            features=FEATURES,
            store_id=self._host.store_id,
            heartbeat_s=self._host.limits.heartbeat_s,
            role=self.peer.role,
        )
        self.send(encode_frame(welcome))


def end_output(transport: asyncio.Transport) -> None:
    """Tell the other side that nothing more comes; it may have gone already."""
    with contextlib.suppress(OSError):
        transport.write_eof()


def failure_frame(request: AnyRequest, error: StoreError) -> bytes:
    """Return the frame that tells a client that *request* was refused."""
    return encode_frame(Failure(id=request.id, code=code_of(error), message=str(error)))
