"""The HTTP end point: right answers, and bounds that hold against clients that mean harm."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from hub.hub_process import run_scenario
from podway.kernel.http import HttpEndpoint, HttpLimits, Response

ROUTES = {
    "/healthz": lambda: Response(b"ok\n"),
    "/readyz": lambda: Response(b"not yet\n", 503),
    "/metrics": lambda: Response(b"x 1\n", content_type="text/plain; version=0.0.4"),
}


@asynccontextmanager
async def endpoint(limits: HttpLimits | None = None) -> AsyncIterator[tuple[str, int]]:
    served = HttpEndpoint(ROUTES, limits)
    await served.start("127.0.0.1", 0)
    try:
        yield served.address
    finally:
        await served.close()


async def exchange(address: tuple[str, int], data: bytes) -> bytes:
    """Send *data*, return everything until the server closes."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return answer


CLOSE = b"Host: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\n", 200, b"ok\n", id="GET"),
        pytest.param(b"GET /healthz?probe=1 HTTP/1.1\r\n", 200, b"ok\n", id="query"),
        pytest.param(b"HEAD /healthz HTTP/1.1\r\n", 200, b"", id="HEAD"),
        pytest.param(b"GET /readyz HTTP/1.1\r\n", 503, b"not yet\n", id="503"),
        pytest.param(b"GET / HTTP/1.1\r\n", 404, None, id="no such page"),
        pytest.param(b"GET /../etc/passwd HTTP/1.1\r\n", 404, None, id="a path is but a name"),
        pytest.param(b"POST /healthz HTTP/1.1\r\n", 405, None, id="POST"),
        pytest.param(b"POST /healthz HTTP/1.1\r\nContent-Length: 5\r\n", 413, None, id="body"),
        pytest.param(b"GET  /x HTTP/1.1\r\n", 400, None, id="no HTTP"),
    ],
)
def test_answers(request_: bytes, status: int, body: bytes | None) -> None:
    async def scenario() -> None:
        async with endpoint() as address:
            answer = await exchange(address, request_ + CLOSE + b"12345")
            head, _, found = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            if body is not None:
                assert found == body
            if status == 405:
                assert b"Allow: GET, HEAD" in head

    run_scenario(scenario)


def test_a_header_without_end() -> None:
    async def scenario() -> None:
        async with endpoint() as address:
            answer = await exchange(address, b"GET /x HTTP/1.1\r\nHuge: " + b"x" * 9000)
            assert answer.startswith(b"HTTP/1.1 431 ")

    run_scenario(scenario)


def test_a_connection_serves_one_request_after_the_other() -> None:
    async def scenario() -> None:
        async with endpoint() as address:
            get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
            answer = await exchange(address, get * 3 + b"GET /metrics HTTP/1.1\r\n" + CLOSE)
            assert answer.count(b"HTTP/1.1 200") == 4
            assert answer.endswith(b"x 1\n")

    run_scenario(scenario)


@pytest.mark.parametrize("data", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost:"])
def test_who_sends_no_whole_request_is_cut_off(data: bytes) -> None:
    async def scenario() -> None:
        async with endpoint(HttpLimits(request_s=0.2)) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(data)
            async with asyncio.timeout(20):
                with pytest.raises((ConnectionResetError, EOFError)):
                    await reader.readexactly(1)
            writer.close()

    run_scenario(scenario)


def test_a_byte_now_and_then_does_not_help() -> None:
    async def scenario() -> None:
        async with endpoint(HttpLimits(request_s=0.3)) as address:
            reader, writer = await asyncio.open_connection(*address)
            async with asyncio.timeout(20):
                while not reader.at_eof() and reader.exception() is None:
                    writer.write(b"G")
                    await asyncio.sleep(0.02)
            writer.close()

    run_scenario(scenario)


def test_only_so_many_at_once() -> None:
    async def scenario() -> None:
        async with endpoint(HttpLimits(connections=2)) as address:
            first = [await asyncio.open_connection(*address) for _ in range(2)]
            get = b"GET /healthz HTTP/1.1\r\n" + CLOSE
            with suppress(ConnectionResetError):
                assert await exchange(address, get) == b""
            for reader, writer in first:
                writer.write(get)
                assert (await reader.read()).startswith(b"HTTP/1.1 200")
                writer.close()
            assert (await exchange(address, get)).startswith(b"HTTP/1.1 200")

    run_scenario(scenario)


def test_closing_ends_what_is_open() -> None:
    async def scenario() -> None:
        async with endpoint() as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"ok\n")
        with pytest.raises((ConnectionResetError, EOFError)):
            await reader.readexactly(1)
        writer.close()

    run_scenario(scenario)
