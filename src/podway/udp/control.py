"""How the agent and the relay talk: one JSON object a line, over a Unix socket, in turn.

::

    {"op": "state"}                        {"config": {...}, "peers": [...]}
    {"op": "set", "peers": [...]}          {}    or, as to any other, {"error": "..."}
    {"op": "delete", "prefixes": [...]}    {}
    {"op": "counters"}                     {"counters": {...}}
    {"op": "stop"}                         {}

A peer is ``[prefix, [address, port], segments]``.
The relay keeps no file: what it knows it was told, and it tells it again to the next agent.
"""

import json
import select
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from podway.errors import PodwayError
from podway.udp.peers import Peer

ANSWER_S = 5.0
_CHUNK = 1 << 16
LINE_MAX = 8 << 20


class ControlError(PodwayError):
    """The other side said something that is no message, or refused one."""


class RelayConfig(NamedTuple):
    """What a relay is told once, when it starts.

    Attributes:
        dev: the TUN device.
        port: UDP port, here and at peers.
        addresses: of this node on the underlay, one per family at most.
        subnets: this node's prefixes.
    """

    dev: str
    port: int
    addresses: tuple[str, ...]
    subnets: tuple[str, ...]


def encode(message: dict[str, Any]) -> bytes:
    """Return *message* as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the message that *line* is. Raises `ControlError` when it is none."""
    try:
        message = json.loads(line)
    except ValueError as error:
        raise ControlError(f"{line[:60]!r} is no JSON: {error}") from error
    if not isinstance(message, dict):
        raise ControlError(f"{line[:60]!r} is no JSON object")
    return message


def decode_config(fields: object) -> RelayConfig:
    """Return the configuration that *fields*, a JSON object, say. Raises `ControlError`."""
    match fields:
        case {
            "dev": str(dev),
            "port": int(port),
            "addresses": list(addresses),
            "subnets": list(subnets),
        } if all(isinstance(text, str) for text in (*addresses, *subnets)):
            return RelayConfig(dev, port, tuple(addresses), tuple(subnets))
        case _:
            raise ControlError(f"{fields!r} is no configuration of a relay")


def decode_peers(rows: object) -> list[Peer]:
    """Return the peers that *rows*, a JSON array, say. Raises `ControlError`."""
    if not isinstance(rows, list):
        raise ControlError(f"{rows!r} is no list of peers")
    return [_decode_peer(row) for row in rows]


def _decode_peer(row: object) -> Peer:
    match row:
        case [str(prefix), [str(address), int(port)], bool(segments)] if 0 < port < 65536:
            return Peer(prefix, (address, port), segments)
        case _:
            raise ControlError(f"{row!r} is no peer")


class RelayClient:
    """The agent's end of a connection to a relay.

    Args:
        path: of its control socket.
        timeout_s: how long to wait for an answer.

    Raises:
        OSError: nobody listens at *path*.
    """

    def __init__(self, path: str, timeout_s: float = ANSWER_S) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._rest = b""
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return a descriptor that is readable when the relay has ended."""
        return self._socket.fileno()

    def has_ended(self) -> bool:
        """Tell whether the relay has closed the connection; between requests it says nothing."""
        asking = select.poll()
        asking.register(self._socket, select.POLLIN)
        return bool(asking.poll(0))

    def close(self) -> None:
        """Close the connection; the relay goes on."""
        self._socket.close()

    def state(self) -> tuple[RelayConfig, list[Peer]]:
        """Return what the relay was told."""
        answer = self.ask({"op": "state"})
        return decode_config(answer.get("config")), decode_peers(answer.get("peers"))

    def set(self, peers: Sequence[Peer]) -> None:
        """Add *peers*, or replace those with their prefixes. Raises `ControlError`."""
        self.ask({"op": "set", "peers": [list(peer) for peer in peers]})

    def delete(self, prefixes: Sequence[str]) -> None:
        """Remove the peers with *prefixes*."""
        self.ask({"op": "delete", "prefixes": list(prefixes)})

    def counters(self) -> dict[str, int]:
        """Return what the relay has counted since its start."""
        counted = self.ask({"op": "counters"}).get("counters")
        if not isinstance(counted, dict):
            raise ControlError(f"{counted!r} is no set of counters")
        return counted

    def stop(self) -> None:
        """End the relay; it is gone when this returns."""
        self.ask({"op": "stop"})
        while self._socket.recv(_CHUNK):
            pass

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to *request*.

        Raises:
            ControlError: the relay refuses it.
            OSError: it does not answer; TimeoutError, ConnectionError.
        """
        self._socket.sendall(encode(request))
        answer = decode(self._read_line())
        if "error" in answer:
            raise ControlError(str(answer["error"]))
        return answer

    def _read_line(self) -> bytes:
        while b"\n" not in self._rest:
            piece = self._socket.recv(_CHUNK)
            if not piece:
                raise ConnectionResetError("the relay has ended")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line
