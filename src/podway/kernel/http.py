"""The small HTTP/1.1 end point of a daemon: /metrics, /healthz, /readyz, and nothing else.

In: a table of paths and functions that return a `Response` at once. Out: their answers to GET and
HEAD. h11 speaks the protocol; this file only bounds it: connections, header size, time to send a
request, idle time. A request body is refused, so nothing that a client sends is ever kept.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeAlias

import h11
from msgspec import Struct

TEXT = "text/plain; charset=utf-8"


class Response(Struct, frozen=True):
    """What one route answers."""

    body: bytes = b""
    status: int = 200
    content_type: str = TEXT


Route: TypeAlias = Callable[[], Response]


class HttpLimits(Struct, frozen=True, kw_only=True):
    """What a client may cost.

    Attributes:
        connections: at the same time; further ones are closed at once.
        header_bytes: of one request, with its request line.
        request_s: seconds for a whole request to arrive, and that a connection may stay idle.
    """

    connections: int = 64
    header_bytes: int = 8192
    request_s: float = 10.0


class HttpEndpoint:
    """Serves *routes* on one address until closed."""

    def __init__(self, routes: Mapping[str, Route], limits: HttpLimits | None = None) -> None:
        self._routes = dict(routes)
        self._limits = limits or HttpLimits()
        self._open: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen on *host* and *port* (0: any free one, see `address`); OSError when taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, host, port)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        assert self._server is not None, "start() comes first"
        name = self._server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
            for connection in tuple(self._open):
                connection.abort()
            await self._server.wait_closed()

    def _connect(self) -> asyncio.Protocol:
        return _Connection(self._routes, self._limits, self._open)


class _Connection(asyncio.Protocol):
    """One client: requests in, answers out, one after the other, under a deadline."""

    def __init__(
        self, routes: Mapping[str, Route], limits: HttpLimits, others: "set[_Connection]"
    ) -> None:
        self._routes = routes
        self._limits = limits
        self._others = others
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)
        self._request: h11.Request | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._others) >= self._limits.connections:
            transport.abort()
            return
        self._others.add(self)
        self._restart_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._others.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()

    def abort(self) -> None:
        """End the connection without further ado."""
        if self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            self._advance()
        except h11.RemoteProtocolError as error:
            self._refuse(error)

    def _advance(self) -> None:
        while not self._closing:
            event = self._http.next_event()
            match event:
                case h11.Request():
                    self._request = event
                case h11.Data():
                    raise h11.RemoteProtocolError("no request here has a body", 413)
                case h11.EndOfMessage():
                    self._answer()
                case h11.ConnectionClosed():
                    self._close()
                case _:  # NEED_DATA or PAUSED
                    return

    @property
    def _closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _answer(self) -> None:
        assert self._request is not None
        self._send(self._request.method, self._respond(self._request))
        if self._http.our_state is h11.MUST_CLOSE:
            self._close()
        else:
            self._http.start_next_cycle()
            self._restart_deadline()

    def _respond(self, request: h11.Request) -> Response:
        path = request.target.split(b"?", 1)[0].decode("ascii", "replace")
        route = self._routes.get(path)
        if route is None:
            known = " ".join(sorted(self._routes))
            return Response(f"no such page; there are: {known}\n".encode(), 404)
        if request.method not in {b"GET", b"HEAD"}:
            return Response(b"only GET and HEAD\n", 405)
        return route()

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._send(b"GET", Response(f"{error}\n".encode(), error.error_status_hint))
        self._close()

    def _send(self, method: bytes, response: Response) -> None:
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
        ]
        if response.status == 405:
            headers.append(("Allow", "GET, HEAD"))
        if self._http.their_state is h11.ERROR:
            headers.append(("Connection", "close"))
        head = h11.Response(status_code=response.status, headers=headers)
        sent = self._http.send(head) or b""
        if method != b"HEAD":
            sent += self._http.send(h11.Data(data=response.body)) or b""
        sent += self._http.send(h11.EndOfMessage()) or b""
        assert self._transport is not None
        self._transport.write(sent)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _restart_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._limits.request_s, self.abort)
