"""What a client of the hub may cost, and when it has cost too much time. Pure.

In: what happens on a connection, and when (by the event loop's clock). Out: why it must end, if it
must. Used by `sessions`.
"""

from msgspec import Struct

from podway.store.refusals import Code


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


class Times:
    """When one client was heard and sent something, and what it takes its time with.

    Attributes:
        sent_s: when it was sent something last; until then, when it came.
        frame_since_s: since when a frame is on its way that is not complete, None for none.
        paused_since_s: since when it does not read what it is sent, None while it does.
    """

    __slots__ = ("_heard_s", "frame_since_s", "paused_since_s", "sent_s")

    def __init__(self, now_s: float) -> None:
        self._heard_s = self.sent_s = now_s
        self.frame_since_s: float | None = None
        self.paused_since_s: float | None = None

    @property
    def is_paused(self) -> bool:
        """Whether it does not read what it is sent."""
        return self.paused_since_s is not None

    def hear(self, now_s: float, *, completed: bool, unfinished: bool) -> None:
        """Note that bytes came; they *completed* a frame, and after them one is *unfinished*."""
        self._heard_s = now_s
        if not unfinished:
            self.frame_since_s = None
        elif completed or self.frame_since_s is None:
            self.frame_since_s = now_s

    def resume(self, now_s: float) -> None:
        """Note that it reads again; it was not read from in the meantime."""
        self.paused_since_s = None
        self._heard_s = now_s

    def is_ping_due(self, now_s: float, limits: Limits) -> bool:
        """Tell whether it should be sent a sign of life."""
        return not self.is_paused and now_s - self.sent_s >= limits.heartbeat_s * 0.9

    def overdue(self, now_s: float, limits: Limits, *, greeted: bool) -> tuple[Code, str] | None:
        """Return why it must go, None as long as it need not; *greeted*: it has said hello."""
        if not greeted:
            late = now_s - self.sent_s > limits.handshake_s
            reason = f"no complete hello within {limits.handshake_s:g} s"
            return (Code.PROTOCOL, reason) if late else None
        if self.frame_since_s is not None and now_s - self.frame_since_s > limits.frame_s:
            return Code.PROTOCOL, f"a frame was not complete after {limits.frame_s:g} s"
        silent_s = now_s - self._heard_s
        if self.paused_since_s is not None:
            if now_s - self.paused_since_s > limits.stall_s:
                return Code.SLOW, f"read nothing for {limits.stall_s:g} s"
        elif silent_s > 3 * limits.heartbeat_s:
            return Code.PROTOCOL, f"no sign of life for {silent_s:.0f} s"
        return None
