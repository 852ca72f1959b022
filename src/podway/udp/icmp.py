"""What a router answers when it cannot forward a packet (RFC 792, RFC 1812; RFC 4443). Pure.

In: the packet, our address, the reason. Out: the ICMP error as a packet, or None where none may be
sent: about an ICMP error, about a fragment that is not the first, to or from an address that is no
single host's (RFC 1812, 4.3.2.7; RFC 4443, 2.4 e). An error that answers errors would never end.
"""

from enum import Enum
from struct import Struct

from podway.udp.checksums import checksum, pseudo_sum, word_sum
from podway.udp.packets import (
    ICMP,
    ICMPV6,
    IPV4_BYTES,
    IPV6_BYTES,
    destination_of,
    is_unicast,
    source_of,
)

_IPV4 = Struct(">BBHHHBBH4s4s")
_IPV6 = Struct(">IHBB16s16s")
_HEADER = Struct(">BBHI")
_TTL = 64
# How much of the packet comes along: RFC 1812, 4.3.2.3 (576 bytes in all); RFC 4443, 3.1 (1280).
_IPV4_MAX, _IPV6_MAX = 576, 1280
# Echo request and reply, router and neighbour discovery, ...: what is no error (RFC 792).
_ICMP_ERRORS = (3, 4, 5, 11, 12)
_FIRST_ICMPV6_INFORMATION = 128


class Reason(Enum):
    """Why a packet is not forwarded: (ICMP type, code), (ICMPv6 type, code)."""

    UNREACHABLE = (3, 0), (1, 0)
    TIME_EXCEEDED = (11, 0), (3, 0)
    TOO_BIG = (3, 4), (2, 0)


def compose_error(
    packet: bytes, reason: Reason, sources: dict[int, bytes], mtu: int = 0
) -> bytes | None:
    """Return the error that tells the sender of *packet* why it is not forwarded.

    Args:
        packet: all of it; only its beginning goes along.
        reason: what is wrong.
        sources: our address by its length in bytes.
        mtu: with TOO_BIG, the largest packet that gets through, in bytes.

    Returns:
        A whole IP packet; None where the standards forbid one, or we have no address.
    """
    source = sources.get(4 if packet[0] >> 4 == 4 else 16)
    if source is None or not may_answer(packet):
        return None
    if len(source) == 4:
        return _compose_ipv4(packet, reason.value[0], source, mtu)
    return _compose_ipv6(packet, reason.value[1], source, mtu)


def may_answer(packet: bytes) -> bool:
    """Tell whether an ICMP error about *packet*, a whole one, may be sent."""
    buffer = bytearray(packet)
    if not (is_unicast(source_of(buffer, 0)) and is_unicast(destination_of(buffer, 0))):
        return False
    if packet[0] >> 4 == 6:
        protocol, at, first_error, errors = packet[6], IPV6_BYTES, 0, _FIRST_ICMPV6_INFORMATION
        is_error = protocol == ICMPV6 and (len(packet) <= at or first_error <= packet[at] < errors)
        return not is_error
    if (packet[6] & 0x1F) << 8 | packet[7]:
        return False
    at = (packet[0] & 0xF) << 2
    return packet[9] != ICMP or (len(packet) > at and packet[at] not in _ICMP_ERRORS)


def _compose_ipv4(packet: bytes, code: tuple[int, int], source: bytes, mtu: int) -> bytes:
    body = packet[: _IPV4_MAX - IPV4_BYTES - _HEADER.size]
    message = _HEADER.pack(*code, 0, mtu) + body
    message = _HEADER.pack(*code, checksum(word_sum(message)), mtu) + body
    fields = (0x45, 0xC0, IPV4_BYTES + len(message), 0, 0, _TTL, ICMP)
    header = _IPV4.pack(*fields, 0, source, packet[12:16])
    return _IPV4.pack(*fields, checksum(word_sum(header)), source, packet[12:16]) + message


def _compose_ipv6(packet: bytes, code: tuple[int, int], source: bytes, mtu: int) -> bytes:
    body = packet[: _IPV6_MAX - IPV6_BYTES - _HEADER.size]
    addresses = source + packet[8:24]
    message = _HEADER.pack(*code, 0, mtu) + body
    total = pseudo_sum(addresses, ICMPV6, len(message)) + word_sum(message)
    message = _HEADER.pack(*code, checksum(total), mtu) + body
    header = _IPV6.pack(6 << 28, len(message), ICMPV6, _TTL, source, packet[8:24])
    return header + message
