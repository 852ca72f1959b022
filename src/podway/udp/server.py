"""The relay's end of control connections: reads requests, changes the table, answers.

In: bytes from the agent. Out: changed peers, answers, the end of the relay. A request that is none
is answered with an error and changes nothing.
"""

import socket
from collections.abc import Callable

from podway.udp.control import (
    LINE_MAX,
    ControlError,
    RelayConfig,
    decode,
    decode_peers,
    encode,
)
from podway.udp.relay import Relay

_CHUNK = 1 << 16
# An agent that does not read for so long is disconnected; packets wait meanwhile.
_PATIENCE_S = 1.0


class ControlServer:
    """Answers agents.

    Args:
        listener: a listening Unix socket.
        config: what the relay was started with.
        relay: what is asked about and changed.
    """

    def __init__(self, listener: socket.socket, config: RelayConfig, relay: Relay) -> None:
        self._listener = listener
        self._config = config
        self._relay = relay
        listener.setblocking(False)  # noqa: FBT003  (the socket module's own signature)
        relay.watch(listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.settimeout(_PATIENCE_S)
        _Connection(connection, self._config, self._relay)


class _Connection:
    """One agent; lives as long as the relay watches its socket."""

    def __init__(self, connection: socket.socket, config: RelayConfig, relay: Relay) -> None:
        self._socket = connection
        self._config = config
        self._relay = relay
        self._rest = b""
        relay.watch(connection.fileno(), self._read)

    def _read(self) -> None:
        try:
            piece = self._socket.recv(_CHUNK)
            self._rest += piece
            *lines, self._rest = self._rest.split(b"\n")
            for line in lines:
                self._socket.sendall(encode(self._answer(line)))
        except OSError:
            piece = b""
        if not piece or len(self._rest) > LINE_MAX:
            self._relay.unwatch(self._socket.fileno())
            self._socket.close()

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = decode(line)
            answer = _OPERATIONS.get(str(request.get("op")), _refuse)
            return answer(self._relay, self._config, request)
        except (ControlError, ValueError) as error:
            return {"error": str(error)}


def _state(relay: Relay, config: RelayConfig, _request: dict[str, object]) -> dict[str, object]:
    return {"config": config._asdict(), "peers": [list(peer) for peer in relay.peers.all()]}


def _set(relay: Relay, _config: RelayConfig, request: dict[str, object]) -> dict[str, object]:
    for peer in decode_peers(request.get("peers")):
        relay.peers.set(peer)
    return {}


def _delete(relay: Relay, _config: RelayConfig, request: dict[str, object]) -> dict[str, object]:
    prefixes = request.get("prefixes")
    if not isinstance(prefixes, list):
        raise ControlError(f"{prefixes!r} is no list of prefixes")
    for prefix in prefixes:
        relay.peers.delete(str(prefix))
    return {}


def _counters(relay: Relay, _config: RelayConfig, _request: dict[str, object]) -> dict[str, object]:
    return {"counters": dict(relay.counters)}


def _stop(relay: Relay, _config: RelayConfig, _request: dict[str, object]) -> dict[str, object]:
    relay.stop()
    return {}


def _refuse(_relay: Relay, _config: RelayConfig, request: dict[str, object]) -> dict[str, object]:
    raise ControlError(f"unknown operation {request.get('op')!r}")


_OPERATIONS: dict[str, Callable[[Relay, RelayConfig, dict[str, object]], dict[str, object]]] = {
    "state": _state,
    "set": _set,
    "delete": _delete,
    "counters": _counters,
    "stop": _stop,
}
