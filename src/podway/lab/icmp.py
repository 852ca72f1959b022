"""ICMP echo requests and what comes back (RFC 792, RFC 4443), as bytes and values. Pure.

::

    0               8               16                              31
    +---------------+---------------+-------------------------------+
    |     type      |     code      |           checksum            |
    +---------------+---------------+-------------------------------+
    |          identifier           |        sequence number        |
    +---------------+---------------+-------------------------------+

An ICMP error carries the packet that caused it: its IP header and at least its first eight bytes,
which for an echo request are the ones above. So an error names its request just as a reply does.
"""

import struct

from msgspec import Struct

from podway.model.addresses import Family

_HEADER = struct.Struct("!BBHHH")
IPV6_HEADER_BYTES = 40

_REQUEST = {Family.IPV4: 8, Family.IPV6: 128}
_REPLY = {Family.IPV4: 0, Family.IPV6: 129}
# RFC 792 type 3 and 11; RFC 4443 types 1, 2 and 3.
_ERRORS_IPV4 = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 4): "packet too big",
    (3, 9): "refused (prohibited)",
    (3, 10): "refused (prohibited)",
    (3, 13): "refused (prohibited)",
    (11, 0): "time to live exceeded",
}
_ERRORS_IPV6 = {
    (1, 0): "no route",
    (1, 1): "refused (prohibited)",
    (1, 3): "host unreachable",
    (1, 4): "port unreachable",
    (1, 5): "refused (policy)",
    (1, 6): "refused (route)",
    (2, 0): "packet too big",
    (3, 0): "hop limit exceeded",
}
_ERROR_TYPES = {Family.IPV4: (3, 4, 5, 11, 12), Family.IPV6: (1, 2, 3, 4)}


class EchoAnswer(Struct, frozen=True):
    """What came back for one echo request.

    Attributes:
        identifier: of the request.
        sequence: of the request.
        reason: "" for a reply; else why somebody on the way refused the request.
    """

    identifier: int
    sequence: int
    reason: str = ""


def echo_request(family: Family, identifier: int, sequence: int, payload_bytes: int) -> bytes:
    """Return an echo request; the kernel fills in the checksum for IPv6 (RFC 3542 section 3.1)."""
    payload = bytes(index & 0xFF for index in range(payload_bytes))
    blank = _HEADER.pack(_REQUEST[family], 0, 0, identifier, sequence)
    if family is Family.IPV6:
        return blank + payload
    checksum = internet_checksum(blank + payload)
    return _HEADER.pack(_REQUEST[family], 0, checksum, identifier, sequence) + payload


def internet_checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[at : at + 2], "big") for at in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def parse_answer(family: Family, packet: bytes) -> EchoAnswer | None:
    """Return what *packet*, as a raw ICMP socket gave it, answers; None when it answers nothing.

    A raw socket gives the IP header first with IPv4, and none with IPv6.
    """
    message = packet[_ipv4_header_bytes(packet) :] if family is Family.IPV4 else packet
    if len(message) < _HEADER.size:
        return None
    kind, code, _, identifier, sequence = _HEADER.unpack_from(message)
    if kind == _REPLY[family]:
        return EchoAnswer(identifier, sequence)
    if kind in _ERROR_TYPES[family]:
        return _parse_error(family, kind, code, message[_HEADER.size :])
    return None


def _ipv4_header_bytes(packet: bytes) -> int:
    return (packet[0] & 0x0F) * 4 if packet else 0


def _parse_error(family: Family, kind: int, code: int, cause: bytes) -> EchoAnswer | None:
    skip = _ipv4_header_bytes(cause) if family is Family.IPV4 else IPV6_HEADER_BYTES
    request = cause[skip:]
    if len(request) < _HEADER.size or request[0] != _REQUEST[family]:
        return None
    _, _, _, identifier, sequence = _HEADER.unpack_from(request)
    known = _ERRORS_IPV4 if family is Family.IPV4 else _ERRORS_IPV6
    reason = known.get((kind, code), f"ICMP type {kind} code {code}")
    return EchoAnswer(identifier, sequence, reason)
