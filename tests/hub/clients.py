"""Clients for tests of the hub: claims in short, events with a deadline, bytes on a bare socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from typing import TypeVar

from podway.model.addresses import Family, IPNetwork
from podway.model.nodes import Claim, Wish
from podway.store.address import TcpAddress, UnixAddress, parse_hub_address
from podway.store.frames import (
    ClientFrame,
    Goodbye,
    Hello,
    HubFrame,
    Ping,
    Welcome,
)
from podway.store.protocol import Away, Back, StoreAway, StoreEvent
from podway.store.wire import (
    ANSWER_MAX_BYTES,
    HEADER_BYTES,
    decode_hub_frame,
    encode_frame,
)

T = TypeVar("T")
# Long enough for a busy machine: a test that passes never waits for it.
PATIENCE_S = 30.0


def claim(name: str, number: int, *, ttl_s: int = 3600, subnet: IPNetwork | None = None) -> Claim:
    """Return the claim of node *name*, whose public address is number *number* of 198.18.0.0/15."""
    address = ip_address(0xC6120000 + number)
    wish = Wish(family=Family.IPV4, public_ip=address, subnet=subnet)
    return Claim(name=name, backend="host-gw", wishes=(wish,), ttl_s=ttl_s)


async def next_event(events: AsyncIterator[StoreEvent], kind: type[T]) -> T:
    """Return the next event, which must be a *kind*; further reasons to be away do not count."""
    async with asyncio.timeout(PATIENCE_S):
        event = await anext(events)
        while isinstance(event, Away) and kind is Back:
            event = await anext(events)
    assert isinstance(event, kind), event
    return event


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat *call* until the hub is there."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await call()
            except StoreAway:
                await asyncio.sleep(0.01)


async def until(condition: Callable[[], bool]) -> None:
    """Return when *condition* holds."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


class RawClient:
    """A client that sends whatever bytes a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, url: str, *, hello: bool = True) -> "RawClient":
        """Connect, and greet unless told otherwise."""
        address = parse_hub_address("test", url)
        match address:
            case UnixAddress():
                streams = await asyncio.open_unix_connection(address.path, limit=1024)
            case TcpAddress():
                streams = await asyncio.open_connection(address.host, address.port, limit=1024)
        client = cls(*streams)
        if hello:
            client.send(Hello(1, name="raw"))
            assert isinstance(await client.receive(), Welcome)
        return client

    def send(self, frame: ClientFrame) -> None:
        """Send a frame."""
        self.send_bytes(encode_frame(frame))

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        self._writer.write(data)

    async def receive(self) -> HubFrame:
        """Return the next frame that is no ping."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                header = await self._reader.readexactly(HEADER_BYTES)
                length = int.from_bytes(header, "big")
                assert length <= ANSWER_MAX_BYTES
                frame = decode_hub_frame(await self._reader.readexactly(length))
                if not isinstance(frame, Ping):
                    return frame

    async def receive_goodbye(self) -> Goodbye:
        """Read on until the hub's last word."""
        while True:
            frame = await self.receive()
            if isinstance(frame, Goodbye):
                return frame

    async def receive_end(self) -> None:
        """Wait until the hub has closed the connection."""
        async with asyncio.timeout(PATIENCE_S):
            while await self._reader.read(65536):
                pass

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
