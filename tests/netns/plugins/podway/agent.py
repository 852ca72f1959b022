"""An agent that misbehaves as told, and what it is asked: for tests of the ``podway`` plugin."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from podway.cni.frames import MAX_REQUEST_BYTES, FrameBuffer, encode_response

Behaviour = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Seen:
    """One request that the agent got: its payload, and the inodes of its descriptors."""

    payload: bytes
    inodes: tuple[int, ...]


@dataclass
class Agent:
    """A Unix server in a thread; each connection is handed to the behaviour of the moment."""

    path: Path
    seen: list[Seen] = field(default_factory=list)
    behaviour: Behaviour | None = None

    def answer(self, client: socket.socket) -> None:
        """Record the request, and say that all is well."""
        self.seen.append(receive(client))
        client.sendall(encode_response(0, '{"cniVersion":"1.1.0"}'))

    def serve(self, listener: socket.socket) -> None:
        """Serve until the listener is shut down."""
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, suppress(OSError):
                    (self.behaviour or self.answer)(client)


def receive(client: socket.socket) -> Seen:
    """Return the request on *client*."""
    buffer, descriptors = FrameBuffer(MAX_REQUEST_BYTES), []
    payload = None
    while payload is None:
        data, received, _, _ = socket.recv_fds(client, buffer.wanted_bytes, 8)
        descriptors += received
        assert data, "the plugin closed in the middle of its request"
        payload = buffer.feed(data)
    inodes = tuple(os.fstat(descriptor).st_ino for descriptor in descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    return Seen(payload, inodes)


def say(data: bytes) -> Behaviour:
    """Return a behaviour that answers *data*."""

    def behaviour(client: socket.socket) -> None:
        client.recv(1 << 16)
        client.sendall(data)

    return behaviour
