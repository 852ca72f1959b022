"""DHCP messages: bytes to frozen values and back.

In: the payload of a UDP datagram. Out: a `Message`. Pure. RFC 2131 section 2 (fields), RFC 2132
(options), RFC 3396 (an option in several pieces), RFC 2131 section 4.1 (options in ``file`` and
``sname``)::

    op htype hlen hops | xid | secs flags | ciaddr | yiaddr | siaddr | giaddr    28 bytes
    chaddr 16 | sname 64 | file 128 | 63 82 53 63 | options: code length value ... 255

Why not a library: docs/design/dependencies.md.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Final

from podway.dhcp.errors import PacketError

REQUEST: Final = 1
REPLY: Final = 2
ETHERNET: Final = 1
MAC_BYTES: Final = 6
NOWHERE: Final = IPv4Address(0)

_FIXED: Final = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_COOKIE: Final = b"\x63\x82\x53\x63"
_BROADCAST_FLAG: Final = 0x8000
# BOOTP's size, below which old relays drop a message: RFC 1542 section 2.1.
_LEAST_BYTES: Final = 300
_PAD: Final = 0
_END: Final = 255
_OVERLOAD: Final = 52
_PIECE_BYTES: Final = 255


class Kind(IntEnum):
    """Option 53, DHCP message type."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


@dataclass(frozen=True, slots=True)
class Message:
    """One DHCP message.

    Attributes:
        op: `REQUEST` from clients, `REPLY` from servers.
        kind: of message; stands in option 53, not in `options`.
        xid: by which an answer is known.
        mac: the client's, 6 bytes.
        secs: since the client began.
        broadcast: the client cannot take unicasts yet.
        ciaddr: the client's address, if it has one that it can be reached by.
        yiaddr: the address that the server gives.
        options: by number; values are as many bytes as they have.
    """

    op: int
    kind: Kind
    xid: int
    mac: bytes
    secs: int = 0
    broadcast: bool = False
    ciaddr: IPv4Address = NOWHERE
    yiaddr: IPv4Address = NOWHERE
    options: Mapping[int, bytes] = field(default_factory=dict)


def encode_message(message: Message) -> bytes:
    """Return the bytes of *message*."""
    fixed = _FIXED.pack(
        message.op,
        ETHERNET,
        MAC_BYTES,
        0,
        message.xid,
        message.secs,
        _BROADCAST_FLAG if message.broadcast else 0,
        message.ciaddr.packed,
        message.yiaddr.packed,
        NOWHERE.packed,
        NOWHERE.packed,
        message.mac,
        b"",
        b"",
        _COOKIE,
    )
    options = {53: bytes([message.kind]), **message.options}
    body = b"".join(_encode_option(code, value) for code, value in options.items())
    return (fixed + body + bytes([_END])).ljust(_LEAST_BYTES, b"\0")


def _encode_option(code: int, value: bytes) -> bytes:
    """Return an option; one of more than 255 bytes in pieces (RFC 3396)."""
    pieces = [value[at : at + _PIECE_BYTES] for at in range(0, len(value), _PIECE_BYTES)] or [b""]
    return b"".join(bytes([code, len(piece)]) + piece for piece in pieces)


def decode_message(data: bytes) -> Message:
    """Return the message in *data*.

    Raises:
        PacketError: it is none, or not one for Ethernet.
    """
    if len(data) < _FIXED.size:
        raise PacketError(f"{len(data)} bytes: a DHCP message has at least {_FIXED.size}")
    op, htype, hlen, _hops, xid, secs, flags, *rest = _FIXED.unpack_from(data)
    ciaddr, yiaddr, _siaddr, _giaddr, chaddr, sname, file, cookie = rest
    if cookie != _COOKIE:
        raise PacketError(f"begins its options with {cookie.hex()}: must be {_COOKIE.hex()}")
    if (htype, hlen) != (ETHERNET, MAC_BYTES):
        raise PacketError(f"is for hardware of type {htype} with {hlen} bytes: must be Ethernet")
    options = _decode_options(data[_FIXED.size :], file, sname)
    return Message(
        op=op,
        kind=_decode_kind(options.pop(53, b"")),
        xid=xid,
        mac=chaddr[:MAC_BYTES],
        secs=secs,
        broadcast=bool(flags & _BROADCAST_FLAG),
        ciaddr=IPv4Address(ciaddr),
        yiaddr=IPv4Address(yiaddr),
        options=options,
    )


def _decode_kind(value: bytes) -> Kind:
    try:
        (number,) = value
        return Kind(number)
    except ValueError:
        raise PacketError(f"has message type {value.hex() or 'none'}: must be 1 to 8") from None


def _decode_options(area: bytes, file: bytes, sname: bytes) -> dict[int, bytes]:
    """Return all options, those in *file* and *sname* if option 52 says that some are there."""
    options: dict[int, bytes] = {}
    _join(options, area)
    overload = options.pop(_OVERLOAD, b"\0")
    for bit, place in ((1, file), (2, sname)):
        if overload[0:1] and overload[0] & bit:
            _join(options, place)
    options.pop(_OVERLOAD, None)
    return options


def _join(options: dict[int, bytes], area: bytes) -> None:
    """Add the options in *area*; pieces of one option make one value (RFC 3396 section 7)."""
    for code, value in _split(area):
        options[code] = options.get(code, b"") + value


def _split(area: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield code and value of each option.

    Raises:
        PacketError: an option goes beyond the end.
    """
    at = 0
    while at < len(area) and area[at] != _END:
        code = area[at]
        at += 1
        if code == _PAD:
            continue
        end = at + 1 + area[at] if at < len(area) else len(area) + 1
        if end > len(area):
            raise PacketError(f"option {code} goes beyond the end of the message")
        yield code, area[at + 1 : end]
        at = end
