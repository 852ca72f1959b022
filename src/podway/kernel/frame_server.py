"""A Unix socket on which executables call a daemon: one frame with descriptors in, one frame out.

In: connections (`podway.cni.frames` says in what frames). Out: for each a payload and its
descriptors, given to a function whose answer goes back. Called by daemons. Root only: the peer's
uid is asked of the kernel. A client that sends garbage, too much, too slowly, or too many
descriptors costs one bounded connection and is answered, where it can still be. Descriptors are
closed on every way out.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from podway.cni.documents import encode
from podway.cni.errors import IO_FAILURE, CniError, error_document
from podway.cni.frames import MAX_REQUEST_BYTES, FrameBuffer, FrameError, encode_response
from podway.cni.versions import NEWEST
from podway.errors import ConfigError
from podway.kernel.logs import Log

# Payload and descriptors of a request to the frame that answers it; raises FrameError.
Answer = Callable[[bytes, list[int]], Awaitable[bytes]]

MAX_CLIENTS: Final = 512
REQUEST_S: Final = 5.0
# How long calls under way may take once the daemon is told to end.
FINISH_S: Final = 2.0
_ACCEPT_PAUSE_S: Final = 0.1
_MAX_DESCRIPTORS: Final = 4
_BACKLOG: Final = 1024
_UCRED: Final = struct.Struct("3i")


class FrameServer:
    """Serves requests of executables.

    Args:
        listener: listening socket; stays the caller's.
        answer: what carries requests out; may take its time.
        log: of the daemon.
    """

    def __init__(self, listener: socket.socket, answer: Answer, log: Log) -> None:
        self._listener = listener
        self._answer = answer
        self._log = log
        self._clients: set[asyncio.Task[None]] = set()

    async def run(self, on_end: Callable[[], None] = lambda: None) -> None:
        """Serve until cancelled; then let the calls under way come to their end.

        Args:
            on_end: called when no more clients are taken, before those calls end.
        """
        try:
            while True:
                await self._next_client()
        finally:
            on_end()
            await self._finish()

    async def _next_client(self) -> None:
        try:
            client, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        except OSError as error:
            # Out of descriptors or memory: the client waits in the queue until there are some.
            self._log.error("client not accepted", reason=str(error))
            await asyncio.sleep(_ACCEPT_PAUSE_S)
        else:
            self._accept(client)

    async def _finish(self) -> None:
        if self._clients:
            _, late = await asyncio.wait(self._clients, timeout=FINISH_S)
            for client in late:
                client.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _accept(self, client: socket.socket) -> None:
        if len(self._clients) >= MAX_CLIENTS or not is_trusted(client):
            self._log.warning("client refused", clients=len(self._clients))
            client.close()
            return
        client.setblocking(False)  # noqa: FBT003
        task = asyncio.create_task(self._serve(client))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, client: socket.socket) -> None:
        descriptors: list[int] = []
        with client:
            try:
                async with asyncio.timeout(REQUEST_S):
                    payload = await receive_frame(client, descriptors)
                if payload is None:
                    return
                answer = await self._answer(payload, descriptors)
                async with asyncio.timeout(REQUEST_S):
                    await asyncio.get_running_loop().sock_sendall(client, answer)
            except FrameError as error:
                self._log.warning("bad request", reason=str(error))
                with suppress(OSError):
                    client.send(encode_failure(CniError(IO_FAILURE, str(error)), NEWEST))
            except TimeoutError:
                self._log.warning("client too slow", limit_s=REQUEST_S)
            except OSError as error:
                self._log.warning("client lost", reason=str(error))
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)


def encode_failure(error: CniError, version: str) -> bytes:
    """Return the frame that tells an executable of *error*, in *version* of the protocol."""
    return encode_response(1, encode(error_document(error, version)))


def listen(path: Path, option: str) -> socket.socket:
    """Return a listening Unix socket at *path*, for root alone; an old one there is replaced.

    Raises:
        ConfigError: it cannot be there; names *option*, with which the daemon was told so.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        before = os.umask(0o177)
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
        except OSError as error:
            rule = f"must be in a directory for sockets, and have at most 107 bytes: {error}"
            raise ConfigError(option, str(path), rule) from error
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003
    except BaseException:
        listener.close()
        raise
    return listener


def is_trusted(client: socket.socket) -> bool:
    """Tell whether the peer runs as root or as ourselves (SO_PEERCRED, unix(7))."""
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, uid, _ = _UCRED.unpack(credentials)
    return uid in (0, os.geteuid())


async def receive_frame(client: socket.socket, descriptors: list[int]) -> bytes | None:
    """Return the payload of one frame, its descriptors in *descriptors*; None for a silent end.

    Raises:
        FrameError: the peer does not speak as it should.
        OSError: it is lost.
    """
    buffer = FrameBuffer(MAX_REQUEST_BYTES)
    while True:
        data, received = await _receive_some(client, buffer.wanted_bytes)
        descriptors += received
        if len(descriptors) > _MAX_DESCRIPTORS:
            raise FrameError("descriptors", f"{len(descriptors)} descriptors: one is all that fits")
        if not data:
            if buffer.empty:
                return None
            raise FrameError("size", "the client closed the connection in the middle of a frame")
        payload = buffer.feed(data)
        if payload is not None:
            return payload


async def _receive_some(client: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """Return what has come, at most *size* bytes, with its descriptors; waits for something."""
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(
                client, size, _MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            await _readable(client)
        else:
            return data, descriptors


async def _readable(client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(client, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(client)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
