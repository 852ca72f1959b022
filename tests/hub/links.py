"""A wire between a client and the hub that a test can cut, mend and freeze."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path


class Link:
    """Forwards from a socket of its own to the hub's.

    Attributes:
        url: where the client connects.
    """

    def __init__(self, hub_url: str, path: Path) -> None:
        self.url = f"unix:{path}"
        self._path = path
        self._hub_path = hub_url.removeprefix("unix:")
        self._server: asyncio.AbstractServer | None = None
        self._carriers: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def mend(self) -> None:
        """Let clients connect."""
        self._server = await asyncio.start_unix_server(self._carry, self._path)

    async def cut(self) -> None:
        """End all connections and let nobody connect."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)
        for task in tuple(self._carriers):
            task.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)

    def freeze(self) -> None:
        """Carry nothing any more, and tell nobody: a cable pulled out."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Carry again."""
        self._flowing.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carriers.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            hub_reader, hub_writer = await asyncio.open_unix_connection(self._hub_path)
            try:
                ways = ((reader, hub_writer), (hub_reader, writer))
                pumps = [asyncio.create_task(self._pump(*way)) for way in ways]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                hub_writer.close()
        writer.close()
        self._carriers.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def linked(hub_url: str, directory: Path) -> AsyncIterator[Link]:
    """Return a link to the hub at *hub_url*, mended."""
    link = Link(hub_url, directory / "link.sock")
    await link.mend()
    try:
        yield link
    finally:
        await link.cut()
