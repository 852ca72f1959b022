"""Ask an agent: one call over its operators' socket, as ``podway status`` and the lab make them.

A frame is a length of four bytes (big-endian) and that many bytes of JSON. The request is
``{"call": NAME, "arguments": {...}}``, the answer ``{"ok": true, "result": {...}}`` or
``{"ok": false, "error": TEXT}``. One call per connection. Blocking: the callers are commands.
"""

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podway.errors import PodwayError

MAX_ANSWER_BYTES = 64 << 20


class AgentError(PodwayError):
    """The agent answered that it cannot do what it was asked."""


class AgentAway(PodwayError):  # noqa: N818  (a state, not an accident)
    """No agent answers on the socket."""


class NobodyListens(AgentAway):
    """There is no such socket, or its agent has ended."""


def call_agent(
    path: Path, call: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float = 5.0
) -> dict[str, Any]:
    """Return the result of *call* from the agent that listens on the Unix socket *path*.

    Args:
        path: the agent's ``agent.sock``.
        call: ``status``, ``diff``, ``ipam.show``, ``ipam.check`` or ``ipam.release``.
        arguments: of the call.
        timeout_s: how long the whole call may take.

    Raises:
        NobodyListens: no agent runs there.
        AgentAway: the answer does not come (whole) in time.
        AgentError: the agent refused; the text is the agent's.
    """
    request = json.dumps({"call": call, "arguments": dict(arguments or {})}).encode()
    try:
        answer = _exchange(path, request, time.monotonic() + timeout_s)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        start = "start it with 'podway agent', or name its socket with --socket"
        raise NobodyListens(f"no agent listens on {path}: {start}") from error
    except OSError as error:
        raise AgentAway(_describe(path, error)) from error
    return _result_of(answer, path)


def _exchange(path: Path, request: bytes, deadline: float) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        connection.connect(str(path))
        connection.sendall(len(request).to_bytes(4, "big") + request)
        length = int.from_bytes(_receive(connection, 4, deadline), "big")
        if length > MAX_ANSWER_BYTES:
            raise ConnectionError(f"announces an answer of {length} bytes")
        return _receive(connection, length, deadline)


def _receive(connection: socket.socket, length: int, deadline: float) -> bytes:
    received = bytearray()
    while len(received) < length:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = connection.recv(min(length - len(received), 1 << 16))
        if not chunk:
            raise ConnectionError("closed the connection before it had answered")
        received += chunk
    return bytes(received)


def _describe(path: Path, error: OSError) -> str:
    match error:
        case PermissionError():
            return f"the socket {path} is root's alone: run this as root"
        case TimeoutError():
            return f"the agent on {path} does not answer: its log tells what it is doing"
        case _:
            return f"the agent on {path} {error.strerror or error}"


def _result_of(answer: bytes, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(answer)
        if document["ok"]:
            return dict(document["result"])
        reason = str(document["error"])
    except (ValueError, KeyError, TypeError) as error:
        raise AgentError(f"what listens on {path} does not speak as an agent does") from error
    raise AgentError(reason)
