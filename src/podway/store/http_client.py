"""HTTP/1.1 towards a store's server: single calls, and answers that go on for ever (watches).

In: a server and a request. Out: its whole answer, or its body in pieces as they come. h11 speaks
the protocol. Each request has a connection of its own: requests are rare here (a node makes a
handful when it joins and then lives on one watch), and a connection that is never used twice is
never stale.

Whatever keeps an answer from coming whole is a `StoreAway` with the reason; what the answer's
status means is the caller's business. Nothing of a request but its method and path is ever in a
message: headers carry credentials.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import h11
from msgspec import Struct

from podway.store.local_addresses import is_stranded
from podway.store.protocol import StoreAway

# Large enough for a handful of pieces of a watch; more would only be memory.
_READ_BYTES = 64 << 10
_HEADER_MAX_BYTES = 64 << 10
_KEEPALIVE_IDLE_S = 30
_KEEPALIVE_INTERVAL_S = 5
_UNANSWERED_MS = 15_000
# X509_V_ERR_CERT_SIGNATURE_FAILURE, ..._DEPTH_ZERO_SELF_SIGNED_CERT, ..._SELF_SIGNED_CERT_IN_CHAIN,
# ..._UNABLE_TO_GET_ISSUER_CERT_LOCALLY, ..._UNABLE_TO_VERIFY_LEAF_SIGNATURE (openssl/x509_vfy.h).
_UNKNOWN_SIGNER = frozenset({7, 18, 19, 20, 21})
_CA = "--tls-ca or the kubeconfig's certificate-authority"
_CERT = "--tls-cert or the kubeconfig's client-certificate"


class HttpServer(Struct, frozen=True):
    """Where a server listens; *tls* None: in plain text, for loopback and tests."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    tls_name: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class HttpRequest(Struct, frozen=True, kw_only=True):
    """What to ask: *target* is path and query."""

    method: str
    target: str
    headers: Mapping[str, str] = {}
    body: bytes = b""


class HttpReply(Struct, frozen=True):
    """A whole answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Asks one server.

    Args:
        server: which.
        connect_s: for a connection, with TLS.
        answer_s: between the request and the answer's head, and for a whole answer.
        body_max_bytes: a longer answer is refused.
    """

    def __init__(
        self,
        server: HttpServer,
        *,
        connect_s: float = 5.0,
        answer_s: float = 10.0,
        body_max_bytes: int = 256 << 20,
    ) -> None:
        self.server = server
        self._connect_s = connect_s
        self._answer_s = answer_s
        self._body_max_bytes = body_max_bytes
        self._open: set[asyncio.StreamWriter] = set()

    def use(self, server: HttpServer) -> None:
        """Make further connections as *server* says; those that are there stay."""
        self.server = server

    def recheck(self) -> None:
        """End what is under way from addresses that this machine has lost."""
        for writer in self._open:
            if is_stranded(writer.get_extra_info("sockname")):
                writer.transport.abort()

    async def call(self, request: HttpRequest, *, answer_s: float | None = None) -> HttpReply:
        """Return the whole answer to *request*. Raises `StoreAway`."""
        limit_s = answer_s or self._answer_s
        try:
            async with (
                asyncio.timeout(self._connect_s + limit_s),
                self.open(request, answer_s=limit_s) as exchange,
            ):
                body = await exchange.body(self._body_max_bytes)
        except TimeoutError as error:
            raise self._away(request, f"no whole answer within {limit_s:g} s") from error
        return HttpReply(exchange.status, exchange.headers, body)

    @asynccontextmanager
    async def open(
        self, request: HttpRequest, *, answer_s: float | None = None
    ) -> AsyncIterator["HttpExchange"]:
        """Send *request* and wait for the answer's head; the body is read inside.

        Raises:
            StoreAway: there is no connection, or no answer in time.
        """
        reader, writer = await self._connect(request)
        self._open.add(writer)
        exchange = HttpExchange(f"{self.server}: {_named(request)}", reader, writer)
        try:
            try:
                async with asyncio.timeout(answer_s or self._answer_s):
                    await exchange.begin(request, self.server)
            except TimeoutError as error:
                raise self._away(request, "no answer in time") from error
            yield exchange
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _connect(
        self, request: HttpRequest
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        server = self.server
        try:
            async with asyncio.timeout(self._connect_s):
                reader, writer = await asyncio.open_connection(
                    server.host,
                    server.port,
                    ssl=server.tls,
                    server_hostname=(server.tls_name or server.host) if server.tls else None,
                    limit=_READ_BYTES,
                )
        except TimeoutError as error:
            raise self._away(request, f"no connection within {self._connect_s:g} s") from error
        except OSError as error:  # ssl.SSLError is one, too
            raise self._away(request, _reason(error)) from error
        except ValueError as error:  # of the codec for names, and of TLS
            raise self._away(request, f"{server.host!r} is no name of a host") from error
        if is_stranded(writer.get_extra_info("sockname")):
            # It went while the connection was being made, when `recheck` knew nothing of it yet.
            writer.transport.abort()
            raise self._away(request, "this machine has lost the address that it would go from")
        _keep_alive(writer.get_extra_info("socket"))
        return reader, writer

    def _away(self, request: HttpRequest, reason: str) -> StoreAway:
        return StoreAway(f"{self.server}: {_named(request)}: {reason}")


class HttpExchange:
    """One request under way.

    Attributes:
        status: of the answer.
        headers: of the answer, names in lower case.
    """

    def __init__(
        self, what: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._what = what
        self._reader = reader
        self._writer = writer
        self._tls = writer.get_extra_info("sslcontext") is not None
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEADER_MAX_BYTES)
        self._heard = False

    async def begin(self, request: HttpRequest, server: HttpServer) -> None:
        """Send *request* and take the answer's head. Raises `StoreAway`."""
        sent = self._http.send(self._head(request, server)) or b""
        sent += self._http.send(h11.Data(data=request.body)) or b""
        self._writer.write(sent + (self._http.send(h11.EndOfMessage()) or b""))
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        assert isinstance(event, h11.Response), "h11 gives the head first"
        self.status = event.status_code
        self.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}

    def _head(self, request: HttpRequest, server: HttpServer) -> h11.Request:
        headers = {
            "Host": str(server).partition("://")[2],
            "Connection": "close",
            "Content-Length": str(len(request.body)),
            **request.headers,
        }
        try:
            return h11.Request(
                method=request.method, target=request.target, headers=list(headers.items())
            )
        except (h11.LocalProtocolError, UnicodeError):
            # Without what that says: it quotes the header, which may be the one with the token.
            reason = "path or headers hold characters that HTTP does not know"
            raise self._away(reason) from None

    async def chunks(self, *, silence_s: float | None = None) -> AsyncIterator[bytes]:
        """Yield the body in pieces, to its end.

        Raises:
            StoreAway: it broke off, or nothing came for *silence_s*.
        """
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    event = await self._next()
            except TimeoutError as error:
                raise self._away(f"silent for {silence_s:g} s") from error
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    async def body(self, max_bytes: int) -> bytes:
        """Return the whole body. Raises `StoreAway` when it breaks off or is too long."""
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > max_bytes:
                raise self._away(f"answer of more than {max_bytes} bytes")
        return bytes(body)

    async def _next(self) -> object:
        """Return the next event of the answer. Raises `StoreAway` when there is none."""
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._read())
        except h11.RemoteProtocolError as error:
            raise self._away(f"the answer broke off: {error}") from error
        except OSError as error:
            raise self._away(_reason(error)) from error
        if isinstance(event, h11.ConnectionClosed):
            raise self._away("the connection was closed without an answer")
        return event

    async def _read(self) -> bytes:
        data = await self._reader.read(_READ_BYTES)
        if not data and not self._heard:
            hint = "" if self._tls else ": does it want https?"
            raise self._away(f"closed the connection without an answer{hint}")
        self._heard = True
        return data

    def _away(self, reason: str) -> StoreAway:
        return StoreAway(f"{self._what}: {reason}")


def _keep_alive(link: socket.socket) -> None:
    """Have the kernel find out that the other side, or a NAT between, has forgotten a watch."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS)


def _named(request: HttpRequest) -> str:
    return f"{request.method} {request.target.partition('?')[0]}"


def _reason(error: OSError) -> str:
    """Return what went wrong and, where it is known, what to do about it."""
    match error:
        case ssl.SSLCertVerificationError():
            hint = f": name who signed it, {_CA}" if error.verify_code in _UNKNOWN_SIGNER else ""
            return f"TLS: its certificate is not trusted ({error.verify_message}){hint}"
        case ssl.SSLError():
            text = error.reason or str(error)
            wrong = error.reason == "WRONG_VERSION_NUMBER"
            hint = "does it speak http?" if wrong else f"it may want another certificate, {_CERT}"
            return f"TLS: {text}: {hint}"
        case ConnectionRefusedError():
            return "nothing listens there: does it run, and at this address and port?"
        case socket.gaierror():
            return f"{error.strerror}: is the host's name right?"
        case _:
            return error.strerror or str(error) or type(error).__name__
