"""D-Bus in small: method calls with strings to a service of the system bus.

In: a method and its arguments. Out: what it returns. For firewalld, which has no other interface.
A library would cost more to import than all else that a plugin does: what is needed is one
handshake and one kind of message, little endian::

    byte 'l', type 1 (method call), flags 2 (do not start the service), version 1,
    uint32 length of the body, uint32 serial,
    array of (byte code, variant): 1 path, 2 interface, 3 member, 6 destination, 8 signature,
    padding to a multiple of 8; body: strings, each uint32 length, bytes, zero byte

Sources: D-Bus Specification 0.42, "Authentication Protocol", "Message Protocol".
"""

import posix
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET
from _socket import socket as Socket  # noqa: N812 - a class
from _struct import Struct

from podway.errors import PodwayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Self, TypeAlias

    Value: TypeAlias = str | int | bool | list[str] | None

_USUAL_SOCKET: "Final" = "/run/dbus/system_bus_socket"
_ADDRESS_VARIABLE: "Final" = b"DBUS_SYSTEM_BUS_ADDRESS"
_ANSWER_WITHIN_S: "Final" = 25
_SO_RCVTIMEO: "Final" = 20
_TIMEVAL: "Final" = Struct("@ll")
_FIXED: "Final" = Struct("<cBBBII")
_U32: "Final" = Struct("<I")
_METHOD_RETURN: "Final" = 2
_ERROR: "Final" = 3
_NO_AUTO_START: "Final" = 2
# The specification's limit of a message.
_MAX_BYTES: "Final" = 128 << 20
_BUS: "Final" = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


class DbusError(PodwayError):
    """A call failed.

    Attributes:
        name: of the error (``org.fedoraproject.FirewallD1.Exception``), "" if the bus is at fault.
        text: what the service says.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}" if name else text)
        self.name = name
        self.text = text


class SystemBus:
    """A connection to the system bus; blocking.

    Raises:
        OSError: there is no bus, or it does not answer.
        DbusError: it speaks otherwise.
    """

    def __init__(self) -> None:
        self._serial = 0
        self._socket = Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        try:
            self._socket.setsockopt(SOL_SOCKET, _SO_RCVTIMEO, _TIMEVAL.pack(_ANSWER_WITHIN_S, 0))
            self._socket.connect(_socket_path())
            self._authenticate()
            self.call(*_BUS, "Hello")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def has_owner(self, name: str) -> bool:
        """Tell whether somebody offers service *name*."""
        return bool(self.call(*_BUS, "NameHasOwner", name))

    def call(
        self, destination: str, path: str, interface: str, member: str, *arguments: str
    ) -> "Value":
        """Call a method with strings, and return the first value of its answer.

        Raises:
            DbusError: the service refuses, or answers nonsense.
            OSError: the bus is gone, or nothing comes back.
        """
        self._serial += 1
        header = (destination, path, interface, member)
        self._socket.sendall(encode_call(self._serial, header, arguments))
        while True:
            kind, fields, body = self._read_message()
            if fields.get(5) != self._serial:
                continue  # a signal, which nobody asked for
            value = decode_value(str(fields.get(8, "")), body)
            if kind == _ERROR:
                raise DbusError(str(fields.get(4, "")), str(value or ""))
            if kind == _METHOD_RETURN:
                return value

    def _authenticate(self) -> None:
        identity = str(posix.geteuid()).encode().hex().encode()
        self._socket.sendall(b"\0AUTH EXTERNAL " + identity + b"\r\n")
        answer = b""
        while not answer.endswith(b"\r\n"):
            # Byte by byte: what follows is no longer lines.
            answer += self._receive(1)
        if not answer.startswith(b"OK "):
            raise DbusError("", f"the system bus refuses to authenticate: {answer!r}")
        self._socket.sendall(b"BEGIN\r\n")

    def _read_message(self) -> "tuple[int, dict[int, Value], bytes]":
        fixed = self._receive(16)
        order, kind, _, _, body_bytes, _ = _FIXED.unpack(fixed[:12])
        fields_bytes = _U32.unpack(fixed[12:])[0]
        if order != b"l" or body_bytes + fields_bytes > _MAX_BYTES:
            raise DbusError("", "the system bus sends what is no message of this machine")
        fields = decode_fields(self._receive(fields_bytes + -fields_bytes % 8)[:fields_bytes])
        return kind, fields, self._receive(body_bytes)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            if not chunk:
                raise DbusError("", "the system bus closed the connection")
            data += chunk
        return data


def encode_call(
    serial: int, header: "tuple[str, str, str, str]", arguments: "tuple[str, ...]"
) -> bytes:
    """Return a method call.

    Args:
        serial: number by which the answer refers to it.
        header: destination, path, interface, member.
        arguments: strings.
    """
    destination, path, interface, member = header
    fields = b""
    for code, kind, value in (
        (1, "o", path),
        (2, "s", interface),
        (3, "s", member),
        (6, "s", destination),
    ):
        fields += bytes(-len(fields) % 8)
        fields += bytes((code, 1, ord(kind), 0)) + _string(value)
    if arguments:
        signature = b"s" * len(arguments)
        fields += bytes(-len(fields) % 8)
        fields += bytes((8, 1, ord("g"), 0, len(signature))) + signature + b"\0"
    body = b""
    for argument in arguments:
        body += bytes(-len(body) % 4) + _string(argument)
    fixed = _FIXED.pack(b"l", 1, _NO_AUTO_START, 1, len(body), serial)
    return b"".join((fixed, _U32.pack(len(fields)), fields, bytes(-len(fields) % 8), body))


def decode_fields(data: bytes) -> "dict[int, Value]":
    """Return the header fields in *data* by their codes."""
    fields: dict[int, Value] = {}
    position = 0
    while position < len(data):
        code, size = data[position], data[position + 1]
        signature = data[position + 2 : position + 2 + size].decode()
        position += size + 3
        fields[code], position = _decode_at(signature, data, position)
        position += -position % 8
    return fields


def decode_value(signature: str, body: bytes) -> "Value":
    """Return the first value of a body; None for none, or of a type that nobody here needs."""
    return _decode_at(signature, body, 0)[0] if signature else None


def _decode_at(signature: str, data: bytes, position: int) -> "tuple[Value, int]":
    kind = signature[0]
    if kind == "g":
        end = position + 1 + data[position]
        return data[position + 1 : end].decode(), end + 1
    if kind not in "sobu" and signature[:2] != "as":
        return None, len(data)
    position += -position % 4
    number = _U32.unpack_from(data, position)[0]
    position += 4
    if kind == "u":
        return number, position
    if kind == "b":
        return bool(number), position
    end = position + number
    if kind in "so":
        return data[position:end].decode(errors="replace"), end + 1
    texts: list[str] = []
    while position < end:
        text, position = _decode_at("s", data, position)
        texts.append(str(text))
    return texts, end


def _string(text: str) -> bytes:
    data = text.encode()
    return _U32.pack(len(data)) + data + b"\0"


def _socket_path() -> str:
    """Return the first socket of the bus's address (``unix:path=...;...``)."""
    address = posix.environ.get(_ADDRESS_VARIABLE, b"").decode(errors="surrogateescape")
    for each in address.split(";"):
        transport, _, keys = each.partition(":")
        for pair in keys.split(",") if transport == "unix" else ():
            key, _, value = pair.partition("=")
            if key == "path":
                return value
            if key == "abstract":
                return f"\0{value}"
    return _USUAL_SOCKET
