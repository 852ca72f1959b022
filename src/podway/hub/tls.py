"""The server side of TLS, so that a refused client learns why and a watcher costs little.

In: the bytes of an asyncio transport. Out: the same for a `Session`, without TLS. asyncio has TLS
of its own, but it drops the alert that tells a client what is wrong with its certificate, tells
the server nothing about failed handshakes, and keeps a quarter of a megabyte per connection.

An `ssl.SSLObject` works on two buffers in memory: what came is put into the one, what is to be sent
is taken out of the other after every step. TLS 1.3 knows no renegotiation, so after the handshake
reading and writing never wait for each other.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from podway.hub.sessions import Session, end_output

HANDSHAKE_S = 15.0
READ_BYTES = 16 << 10  # one TLS record


class Gate(Protocol):
    """What a TLS connection needs of the hub until there is a session."""

    def begin_handshake(self, connection: "TlsConnection") -> bool:
        """Count *connection*; False: the hub is full."""
        ...

    def end_handshake(self, connection: "TlsConnection") -> None:
        """Count *connection* no more; it may have been uncounted before."""
        ...

    def refused_handshake(self, client: str, reason: str) -> None:
        """Note that *client* could not prove who it is."""
        ...


class TlsConnection(asyncio.Protocol):
    """One connection: handshake, then a session in clear text."""

    def __init__(self, gate: Gate, context: ssl.SSLContext, make: Callable[[], Session]) -> None:
        self._gate = gate
        self._make = make
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client to begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._gate.begin_handshake(self):
            transport.abort()
            return
        reason = f"no TLS handshake within {HANDSHAKE_S:g} s"
        self._timer = self._loop.call_later(HANDSHAKE_S, self._refuse, reason)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the session."""
        self._end_handshake()
        if self._session is not None:
            self._session.connection_lost(exc)
            self._session = None

    def eof_received(self) -> bool:
        """Close our side as well."""
        return False

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, or give the session what was inside *data*."""
        if self._refused:
            return  # the alert is on its way; see `sessions` on last words
        self._incoming.write(data)
        try:
            if self._session is None:
                self._shake_hands()
            self._read()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._refuse(getattr(error, "verify_message", "") or error.reason or str(error))
        self.flush()

    def pause_writing(self) -> None:
        """Pass it on."""
        if self._session is not None:
            self._session.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        if self._session is not None:
            self._session.resume_writing()

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # -- inside

    def flush(self) -> None:
        """Send what TLS wants to send."""
        data = self._outgoing.read()
        if data and self._transport is not None:
            self._transport.write(data)

    def _shake_hands(self) -> None:
        assert self._transport is not None, "data comes over a transport"
        self.tls.do_handshake()
        self._end_handshake()
        self._session = self._make()
        self._session.connection_made(TlsTransport(self, self._transport))

    def _read(self) -> None:
        while self._session is not None:
            data = self.tls.read(READ_BYTES)
            if not data:  # the client says that it sends no more
                assert self._transport is not None, "data comes over a transport"
                self._transport.close()
                return
            self._session.data_received(data)

    def _end_handshake(self) -> None:
        self._gate.end_handshake(self)
        if self._timer is not None:
            self._timer.cancel()

    def _refuse(self, reason: str) -> None:
        """Send the alert, and leave the client a moment to read it."""
        transport = self._transport
        if transport is None or self._refused:
            return
        self._refused = True
        self._gate.refused_handshake(peer_name(transport), reason)
        self._end_handshake()
        self.flush()
        end_output(transport)
        self._loop.call_later(1.0, transport.abort)


class TlsTransport(asyncio.Transport):
    """What a session sees of a TLS connection: a transport like any other."""

    __slots__ = ("_connection", "_transport")

    def __init__(self, connection: TlsConnection, transport: asyncio.Transport) -> None:
        super().__init__()
        self._connection = connection
        self._transport = transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send *data*, record by record."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._connection.tls.write(rest) :]
        self._connection.flush()

    def write_eof(self) -> None:
        """Tell the client that nothing more comes, in TLS and in TCP."""
        with contextlib.suppress(ssl.SSLError):  # "want read": it need not answer
            self._connection.tls.unwrap()
        self._connection.flush()
        end_output(self._transport)

    def can_write_eof(self) -> bool:
        """Tell that `write_eof` works."""
        return True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the client's certificate as *peercert*, else what the transport knows."""
        if name == "peercert":
            return self._connection.tls.getpeercert()
        return self._transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pass it on."""
        self._transport.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        """Pass it on."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Pass it on."""
        self._transport.resume_reading()

    def is_closing(self) -> bool:
        """Pass it on."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Pass it on."""
        self._transport.close()

    def abort(self) -> None:
        """Pass it on."""
        self._transport.abort()


def peer_name(transport: asyncio.Transport) -> str:
    """Return where a TCP client is."""
    host, port, *_ = transport.get_extra_info("peername") or ("?", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
