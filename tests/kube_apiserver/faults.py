"""A gateway before the API server that does to answers what gateways and tired servers do.

``FaultProxy`` takes plain HTTP on loopback, asks the real API server over TLS, and hands the answer
on, unless a test has put something in its way::

    proxy.answers.append(refuse(429, {"Retry-After": "1"}))    the next request gets that
    proxy.lines = lambda line: [line, line]                    each line of a watch comes twice
    proxy.cut_after = 100                                      bodies end after 100 bytes

It decides which of two answers comes first, too, or that one never comes::

    async with proxy.holding("PATCH") as held:                 carried out, but not answered yet
        await held.wait()
        proxy.hear.clear()                                     nor is anything heard of it
    proxy.lose("PATCH")                                        the next is never answered

It also writes down what it was asked: paths and bearer tokens.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterable

from kube_apiserver.server import KubeServer

Answer = bytes
_LINE_MAX_BYTES = 1 << 22


def refuse(code: int, headers: dict[str, str] | None = None, message: str = "try later") -> Answer:
    """Return an answer with a Status, as the API server gives it."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
    return answer(code, json.dumps({**status, "code": code}).encode(), headers)


def answer(code: int, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """Return a whole answer."""
    fields = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {code} Fault\r\n{head}\r\n".encode() + body


class _Held:
    """Answers that are held back."""

    def __init__(self) -> None:
        self.there = asyncio.Event()
        self.go = asyncio.Event()

    async def pass_by(self) -> None:
        """Wait until answers may go on."""
        self.there.set()
        await self.go.wait()


class FaultProxy:
    """One gateway.

    Attributes:
        url: where it listens.
        answers: given to the next requests, instead of the API server's.
        lines: makes the lines of a watch that go on from each that came.
        cut_after: end every body after so many bytes; None: do not.
        dead: connections are closed unseen.
        hear: lines of a watch are handed on while it is set.
        requests: "METHOD /path?query" of each.
        tokens: the bearer token of each.
    """

    def __init__(self, server: KubeServer) -> None:
        self.url = ""
        self.answers: list[Answer] = []
        self.lines: Callable[[bytes], Iterable[bytes]] = lambda line: [line]
        self.cut_after: int | None = None
        self.dead = False
        self.hear = asyncio.Event()
        self.hear.set()
        self.requests: list[str] = []
        self.tokens: list[str] = []
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[str, _Held] = {}
        self._lost: list[str] = []

    @contextlib.asynccontextmanager
    async def holding(self, method: str) -> AsyncIterator[asyncio.Event]:
        """Hold answers to *method* back; give an event that is set when there is one."""
        held = self._held[method] = _Held()
        try:
            yield held.there
        finally:
            del self._held[method]
            held.go.set()

    def lose(self, method: str) -> None:
        """Have the next request with *method* carried out, and its answer lost."""
        self._lost.append(method)

    def cut_all(self) -> None:
        """End every connection that is open."""
        for task in self._tasks:
            task.cancel()

    def watches(self) -> int:
        """Return how many watches were asked for."""
        return sum("watch=1" in request for request in self.requests)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection with one request."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if not self.dead:
                    await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if self.dead else writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = _fields(head)
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        request = head.split(b" HTTP/", 1)[0].decode()
        self.requests.append(request)
        self.tokens.append(fields.get("authorization", "").removeprefix("Bearer "))
        if self.answers:
            writer.write(self.answers.pop(0))
            await writer.drain()
            return
        context = ssl.create_default_context(cafile=str(self._server.ca))
        upstream, to_upstream = await asyncio.open_connection(
            "127.0.0.1", self._server.port, ssl=context, limit=_LINE_MAX_BYTES
        )
        try:
            to_upstream.write(head + body)
            if "watch=1" in request:
                await self._pass_watch(upstream, writer)
            else:
                await self._pass_answer(request.split()[0], upstream, writer)
        finally:
            to_upstream.transport.abort()

    async def _pass_answer(
        self, method: str, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await upstream.readuntil(b"\r\n\r\n")
        body = await upstream.read()
        if method in self._held:
            await self._held[method].pass_by()
        if method in self._lost:
            self._lost.remove(method)
            return
        writer.write(head)
        writer.write(body if self.cut_after is None else body[: self.cut_after])
        await writer.drain()

    async def _pass_watch(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Hand a watch on line by line; what is a chunk here was none there."""
        head = await upstream.readuntil(b"\r\n\r\n")
        writer.write(head)
        chunked = "chunked" in _fields(head).get("transfer-encoding", "")
        async for line in _lines(upstream, chunked=chunked):
            await self.hear.wait()
            for each in self.lines(line):
                sent = each if self.cut_after is None else each[: self.cut_after]
                writer.write(b"%x\r\n%s\r\n" % (len(sent), sent) if chunked else sent)
                await writer.drain()
                if self.cut_after is not None:
                    return
        writer.write(b"0\r\n\r\n" if chunked else b"")


async def _lines(upstream: asyncio.StreamReader, *, chunked: bool) -> AsyncIterator[bytes]:
    rest = b""
    while True:
        if chunked:
            size = int(await upstream.readline(), 16)
            data = await upstream.readexactly(size)
            await upstream.readexactly(2)
        else:
            data = await upstream.read(65536)
        if not data:
            return
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line + b"\n"


def _fields(head: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in pairs}


@contextlib.asynccontextmanager
async def fault_proxy(server: KubeServer) -> AsyncIterator[FaultProxy]:
    """Run a gateway before *server*."""
    proxy = FaultProxy(server)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listener.close()
        proxy.cut_all()
        await listener.wait_closed()
