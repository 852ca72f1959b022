"""The socket that the CNI executable calls: one frame in, with the pod's namespace; one frame out.

Root only (mode 0600, and the peer's uid is asked of the kernel). A client that sends garbage, too
much, too slowly, or too many descriptors costs one bounded connection and is answered, where it can
still be, with a CNI error. Descriptors are closed on every way out.
"""

import asyncio
import os
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

from podway.agent.attachments import Attachments
from podway.agent.metrics import Metrics
from podway.cni.documents import encode
from podway.cni.errors import INTERNAL, IO_FAILURE, CniError, error_document
from podway.cni.frames import (
    MAX_REQUEST_BYTES,
    FrameBuffer,
    FrameError,
    check_descriptors,
    decode_request,
    encode_response,
)
from podway.cni.requests import parse_request
from podway.cni.results import render_result
from podway.cni.versions import NEWEST, PODWAY_VERSIONS
from podway.errors import ConfigError
from podway.kernel.logs import get_log

MAX_CLIENTS = 512
REQUEST_S = 5.0
# How long calls under way may take once the agent is told to end.
FINISH_S = 2.0
_ACCEPT_PAUSE_S = 0.1
_MAX_DESCRIPTORS = 4
_UCRED = struct.Struct("3i")


class CniServer:
    """Serves CNI requests on a Unix socket.

    Args:
        path: of the socket; an old one there is replaced.
        attachments: what carries requests out.
    """

    def __init__(self, path: Path, attachments: Attachments, metrics: Metrics) -> None:
        self._path = path
        self._attachments = attachments
        self._metrics = metrics
        self._clients: set[asyncio.Task[None]] = set()
        self._log = get_log("podway.agent.cni")

    async def run(self) -> None:
        """Listen until cancelled; then let the calls under way come to their end."""
        try:
            with listen(self._path) as listener:
                try:
                    while True:
                        await self._next_client(listener)
                finally:
                    self._path.unlink(missing_ok=True)
        finally:
            await self._finish()

    async def _next_client(self, listener: socket.socket) -> None:
        try:
            client, _ = await asyncio.get_running_loop().sock_accept(listener)
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
        loop = asyncio.get_running_loop()
        descriptors: list[int] = []
        with client:
            try:
                async with asyncio.timeout(REQUEST_S):
                    payload = await _receive(client, descriptors)
                if payload is None:
                    return
                answer = await self._answer(payload, descriptors)
                async with asyncio.timeout(REQUEST_S):
                    await loop.sock_sendall(client, answer)
            except FrameError as error:
                self._log.warning("bad request", reason=str(error))
                with suppress(OSError):
                    client.send(_failure(CniError(IO_FAILURE, str(error)), NEWEST))
            except TimeoutError:
                self._log.warning("client too slow", limit_s=REQUEST_S)
            except OSError as error:
                self._log.warning("client lost", reason=str(error))
            finally:
                for fd in descriptors:
                    os.close(fd)

    async def _answer(self, payload: bytes, descriptors: list[int]) -> bytes:
        """Return the response frame for the request in *payload*."""
        started = time.monotonic()
        environment, stdin = decode_request(payload)
        command = environment.get("CNI_COMMAND", "")
        version = NEWEST
        try:
            request = parse_request(environment, stdin, PODWAY_VERSIONS)
            version = request.config.cni_version
            check_descriptors(command, len(descriptors))
            fd = descriptors[0] if descriptors else None
            result = await self._attachments.serve(request, fd)
            text = render_result(result, version) if result is not None else ""
            answer, outcome = encode_response(0, text), "ok"
        except CniError as error:
            self._log.warning("refused", command=command, code=error.code, reason=str(error))
            answer, outcome = _failure(error, version), str(error.code)
        except FrameError:
            raise
        except Exception as error:  # noqa: BLE001  (the runtime must get an answer)
            self._log.exception("fault", command=command)
            answer, outcome = _failure(CniError(INTERNAL, repr(error)), version), str(INTERNAL)
        known = command if command in ("ADD", "DEL", "CHECK", "GC", "STATUS") else "other"
        self._metrics.cni(known, outcome, time.monotonic() - started)
        return answer


def listen(path: Path) -> socket.socket:
    """Return a listening Unix socket at *path*, for root alone; an old one there is replaced."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            rule = f"must be a directory for sockets of at most 107 bytes: {error}"
            raise ConfigError("--run-dir", str(path.parent), rule) from error
        finally:
            os.umask(before)
        listener.listen(1024)
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


def _failure(error: CniError, version: str) -> bytes:
    return encode_response(1, encode(error_document(error, version)))


async def _receive(client: socket.socket, descriptors: list[int]) -> bytes | None:
    """Return the payload of one frame, its descriptors in *descriptors*; None for a silent end."""
    buffer = FrameBuffer(MAX_REQUEST_BYTES)
    while True:
        data, fds = await _receive_some(client, buffer.wanted_bytes)
        descriptors += fds
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
            data, fds, _, _ = socket.recv_fds(
                client, size, _MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            await _readable(client)
        else:
            return data, fds


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
