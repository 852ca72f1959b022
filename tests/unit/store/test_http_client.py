"""Connections that are of no use before anything was asked over them."""

import asyncio

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
