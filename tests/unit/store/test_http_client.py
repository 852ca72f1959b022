"""What keeps a request from being made at all: the store is away, and no secret is told."""

import asyncio
import ssl
import traceback

import pytest

from podway.store.http_client import HttpClient, HttpRequest, HttpServer
from podway.store.protocol import StoreAway


def test_nothing_is_asked_from_an_address_that_was_just_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It went while the connection was being made: nobody could have ended it yet."""
    monkeypatch.setattr("podway.store.http_client.is_stranded", lambda _: True)

    async def scenario() -> None:
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                data = await reader.read(1)
            except ConnectionError:
                data = b""
            writer.transport.abort()
            heard.set_result(data)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(StoreAway, match="lost the address"):
            await HttpClient(HttpServer("127.0.0.1", port)).call(
                HttpRequest(method="GET", target="/")
            )
        assert await heard == b""
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["a..b", ".x", "x" * 70])
def test_no_name_of_a_host(host: str) -> None:
    async def scenario() -> None:
        for tls in (None, ssl.create_default_context()):
            client = HttpClient(HttpServer(host, 1, tls))
            with pytest.raises(StoreAway, match="no name of a host"):
                await client.call(HttpRequest(method="GET", target="/"))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("target", "token"),
    [
        pytest.param("/a b", "s3cret", id="target with a space"),
        pytest.param("/ä", "s3cret", id="target not ASCII"),
        pytest.param("/", "s3cret\n", id="header of two lines"),
        pytest.param("/", "s3crät", id="header not ASCII"),
    ],
)
def test_what_http_cannot_say(target: str, token: str) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(lambda _, w: w.transport.abort(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        request = HttpRequest(method="GET", target=target, headers={"Authorization": token})
        with pytest.raises(StoreAway) as failure:
            await HttpClient(HttpServer("127.0.0.1", port)).call(request)
        told = "".join(traceback.format_exception(failure.value))
        assert "s3cr" not in told
        assert "characters" in str(failure.value)
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)

    asyncio.run(scenario())
