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

from msgspec import Struct

from podway.hub.access import Peer
from podway.hub.feed import Feed
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


class Limits(Struct, frozen=True, kw_only=True):
    """What a client may cost.

    Attributes:
        clients: at the same time.
        handshake_s: seconds until its `Hello` is there (TLS has as long again before that).
        frame_s: seconds for one frame to arrive.
        stall_s: seconds for which it may read nothing while there is something to read.
        linger_s: seconds in which it may read its `Goodbye`.
        heartbeat_s: between two signs of life; three missed are death.
        lag_bytes: how far behind a watcher may fall.
    """

    clients: int = 10_000
    handshake_s: float = 5.0
    frame_s: float = 10.0
    stall_s: float = 30.0
    linger_s: float = 5.0
    heartbeat_s: float = 10.0
    lag_bytes: int = 4 << 20


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
        "_frame_since_s",
        "_heard_s",
        "_host",
        "_identify",
        "_in_flight",
        "_loop",
        "_opening",
        "_paused_since_s",
        "_place",
        "_reading",
        "_sent_s",
        "_splitter",
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
        self._heard_s = self._sent_s = self._loop.time()
        self._frame_since_s: float | None = None
        self._paused_since_s: float | None = None
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
        self._heard_s = self._loop.time()
        try:
            bodies = self._splitter.feed(data)
            self._frame_since_s = self._begun(complete=bool(bodies))
            if bodies:
                self._bodies = self._bodies or deque()
                self._bodies.extend(bodies)
                self._take()
        except WireError as error:
            self.end(Code.PROTOCOL, str(error))

    def pause_writing(self) -> None:
        """Stop sending; and stop reading, so that it cannot ask for more."""
        self._paused_since_s = self._loop.time()
        self._set_reading()

    def resume_writing(self) -> None:
        """Go on where we stopped."""
        self._paused_since_s = None
        self._heard_s = self._loop.time()  # it was not read from in the meantime
        if not self._ended:
            self.pump()
            self._try_take()

    # -- what the host calls

    def send(self, frame: bytes) -> None:
        """Send an encoded frame, unless the connection is ending."""
        if not self._ended and self._transport is not None:
            self._transport.write(frame)
            self._sent_s = self._loop.time()

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
        while self._opening and self._paused_since_s is None:
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
            if self._paused_since_s is not None:
                return
            self._place += 1
            self.send(frame_or_none)

    def sweep(self, now_s: float) -> None:
        """Send a heartbeat when due; end the session when a time limit has passed."""
        if self._ended:
            return
        limits = self._host.limits
        overdue = self._overdue(now_s, limits)
        if overdue is not None:
            self.end(*overdue)
        elif not self.greeted:
            return
        elif self._paused_since_s is None and now_s - self._sent_s >= limits.heartbeat_s * 0.9:
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

    def _begun(self, *, complete: bool) -> float | None:
        """Return since when the frame that is not complete is on its way."""
        if not self._splitter.unfinished:
            return None
        if complete or self._frame_since_s is None:
            return self._heard_s
        return self._frame_since_s

    def _overdue(self, now_s: float, limits: Limits) -> tuple[Code, str] | None:
        silent_s = now_s - self._heard_s
        if not self.greeted:  # until the hello, _sent_s is when the session began
            late = now_s - self._sent_s > limits.handshake_s
            reason = f"no complete hello within {limits.handshake_s:g} s"
            return (Code.PROTOCOL, reason) if late else None
        if self._frame_since_s is not None and now_s - self._frame_since_s > limits.frame_s:
            return Code.PROTOCOL, f"a frame was not complete after {limits.frame_s:g} s"
        if self._paused_since_s is not None:
            if now_s - self._paused_since_s > limits.stall_s:
                return Code.SLOW, f"read nothing for {limits.stall_s:g} s"
        elif silent_s > 3 * limits.heartbeat_s:
            return Code.PROTOCOL, f"no sign of life for {silent_s:.0f} s"
        return None

    def _try_take(self) -> None:
        try:
            self._take()
        except WireError as error:
            self.end(Code.PROTOCOL, str(error))

    def _take(self) -> None:
        """Pass on requests as long as the client is not owed too many answers."""
        while self._bodies and self._paused_since_s is None and self._in_flight < IN_FLIGHT_MAX:
            self._receive(self._bodies.popleft())
        self._set_reading()

    def _set_reading(self) -> None:
        """Read only while nothing waits to be taken and the client takes what we send."""
        want = not self._bodies and self._paused_since_s is None
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
