"""An agent's two sockets, served in this process while the agent itself does nothing.

What the sockets' users send is judged before anything is asked of the agent, and an agent that has
just started is a good one to ask: it answers everything at once, mostly with a refusal.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

from agent.nodes import Node, new_kernel, running
from podway.agent.cni_server import CniServer
from podway.agent.operators import Operators
from podway.agent.settings import Settings
from podway.store.protocol import Store


@contextlib.asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Node]:
    """Serve ``cni.sock`` and ``agent.sock`` in *directory*."""
    settings = Settings(node="a", store="unix:/none", state_dir=directory, run_dir=directory)
    node = Node(directory, settings, new_kernel(), cast("Store", None))
    cni = CniServer(directory / "cni.sock", node.attachments, node.metrics)
    operators = Operators(directory / "agent.sock", node.agent, node.attachments)
    try:
        async with running(cni.run(), operators.run()):
            await asyncio.sleep(0)
            yield node
    finally:
        node.ledger.close()


async def converse(path: Path, *chunks: bytes) -> bytes:
    """Send *chunks*, then no more; return everything that comes back until the other side ends."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(0)
            writer.write_eof()
        answer = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while chunk := await reader.read(1 << 16):
                answer += chunk
        return bytes(answer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextlib.contextmanager
def null_descriptor() -> Iterator[int]:
    """Open something to pass on where a namespace belongs."""
    fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload
