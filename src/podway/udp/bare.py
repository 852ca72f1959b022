"""flannel's wire format, a datagram per bare packet: cut for it by hand, and joined from it.

A flanneld takes whole packets only, so a large packet from TUN is cut here as a network card would
(segments of TCP, of UDP), each with its own lengths, numbers and checksums. What a flanneld sends
arrives packet by packet; consecutive segments of one TCP flow are joined, as a network card would
(RFC 9293 says which belong together, net/ipv4/tcp_offload.c which may be joined), after their
checksums have been looked at: whoever joins vouches for them.
"""

from collections.abc import Iterator
from struct import Struct

from podway.udp.checksums import Bytes, checksum, pseudo_sum, word_sum
from podway.udp.packets import IPV4_BYTES, IPV6_BYTES, TCP

_WORD = Struct(">H")
_DOUBLE = Struct(">I")
_FIN_PSH = 0x09
_PSH = 0x08
_CWR = 0x80
_ACK = 0x10


def finish_checksum(buffer: bytearray, start: int, end: int, first: int, at: int) -> None:
    """Complete a checksum that was left to the network card (CHECKSUM_PARTIAL), in place.

    The field holds the pseudo header's sum already.

    Args:
        buffer: where the packet lies.
        start: of the packet.
        end: of the packet.
        first: where the checksum begins, from the packet's start (csum_start).
        at: where its field is, from there (csum_offset).
    """
    begin = start + first
    if begin + at + 2 > end:
        return
    value = checksum(word_sum(memoryview(buffer)[begin:end]))
    # UDP takes a checksum of 0 for none at all; both are zero to it.
    _WORD.pack_into(buffer, begin + at, value or 0xFFFF)


def cut(packet: Bytes, segment_bytes: int, first: int, header: int) -> Iterator[bytes]:
    """Yield the segments of a large packet, each a whole packet.

    Args:
        packet: all of it.
        segment_bytes: payload of each segment but the last one.
        first: length of the IP header with all that belongs to it.
        header: length of IP and TCP or UDP headers.
    """
    template = bytearray(packet[:header])
    payload_bytes = len(packet) - header
    is_tcp = header - first >= 20
    for number, offset in enumerate(range(0, payload_bytes, segment_bytes)):
        payload = packet[header + offset : header + offset + segment_bytes]
        headers = bytearray(template)
        _set_ip_length(headers, header + len(payload), number)
        if is_tcp:
            is_end = offset + segment_bytes >= payload_bytes
            _set_tcp(headers, first, offset, is_end=is_end)
        else:
            _WORD.pack_into(headers, first + 4, header - first + len(payload))
        _set_checksum(headers, payload, first, TCP if is_tcp else 17)
        yield bytes(headers) + bytes(payload)


def _set_ip_length(headers: bytearray, length: int, number: int) -> None:
    if headers[0] >> 4 == 6:
        _WORD.pack_into(headers, 4, length - IPV6_BYTES)
        return
    _WORD.pack_into(headers, 2, length)
    identification = _WORD.unpack_from(headers, 4)[0] + number
    _WORD.pack_into(headers, 4, identification & 0xFFFF)
    headers[10] = headers[11] = 0
    ip_bytes = (headers[0] & 0xF) << 2
    _WORD.pack_into(headers, 10, checksum(word_sum(headers[:ip_bytes])))


def _set_tcp(headers: bytearray, at: int, offset: int, *, is_end: bool) -> None:
    sequence = _DOUBLE.unpack_from(headers, at + 4)[0] + offset
    _DOUBLE.pack_into(headers, at + 4, sequence & 0xFFFFFFFF)
    if offset:
        headers[at + 13] &= ~_CWR
    if not is_end:
        headers[at + 13] &= ~_FIN_PSH


def _set_checksum(headers: bytearray, payload: Bytes, first: int, protocol: int) -> None:
    at = first + (16 if protocol == TCP else 6)
    headers[at] = headers[at + 1] = 0
    length = len(headers) - first + len(payload)
    total = pseudo_sum(_addresses(headers), protocol, length)
    value = checksum(total + word_sum(headers[first:]) + word_sum(payload))
    _WORD.pack_into(headers, at, value or 0xFFFF if protocol != TCP else value)


def _addresses(packet: Bytes) -> Bytes:
    return packet[8:40] if packet[0] >> 4 == 6 else packet[12:20]


def joinable_bytes(packet: Bytes, header: int) -> int:
    """Return the payload's length if *packet* can be joined with its neighbours, else 0.

    Args:
        packet: with a plain IP header and nothing behind it.
        header: length of IP and TCP headers; 0: there are none.
    """
    if not header or header >= len(packet):
        return 0
    is_ipv6 = packet[0] >> 4 == 6
    ip_bytes = IPV6_BYTES if is_ipv6 else IPV4_BYTES
    if packet[6 if is_ipv6 else 9] != TCP or packet[ip_bytes + 13] & ~_PSH != _ACK:
        return 0
    length = len(packet) - ip_bytes
    if (pseudo_sum(_addresses(packet), TCP, length) + word_sum(packet[ip_bytes:])) % 65535:
        return 0
    if not is_ipv6 and word_sum(packet[:IPV4_BYTES]):
        return 0
    return len(packet) - header


def follows(first: Bytes, offset: int, packet: Bytes, header: int) -> bool:
    """Tell whether *packet* goes on where a run that began with *first* stands.

    Args:
        first: the run's first packet.
        offset: payload of the run so far, in bytes.
        packet: the candidate; both can be joined.
        header: length of the headers of both.
    """
    is_ipv6 = packet[0] >> 4 == 6
    at = IPV6_BYTES if is_ipv6 else IPV4_BYTES
    # All that differs in a run is the numbers, the checksums, the last one's PSH and length.
    alike = ((0, 4), (6, at)) if is_ipv6 else ((0, 2), (6, 10), (12, at))
    if any(first[low:high] != packet[low:high] for low, high in alike):
        return False
    if (
        first[at : at + 4] != packet[at : at + 4]
        or first[at + 8 : at + 13] != packet[at + 8 : at + 13]
    ):
        return False
    if first[at + 14 : at + 16] != packet[at + 14 : at + 16]:
        return False
    if first[at + 18 : header] != packet[at + 18 : header] or len(packet) <= header:
        return False
    expected = _DOUBLE.unpack_from(first, at + 4)[0] + offset
    return bool(_DOUBLE.unpack_from(packet, at + 4)[0] == expected & 0xFFFFFFFF)


def ends_run(packet: Bytes, header: int) -> bool:
    """Tell whether *packet* must be the last one of a run: PSH, or nothing to go on from."""
    at = IPV6_BYTES if packet[0] >> 4 == 6 else IPV4_BYTES
    return bool(packet[at + 13] & _PSH) or len(packet) <= header


def open_run(buffer: Bytes, first: int, last: int, header: int) -> bytearray:
    """Return the headers of a run for `heads.rebuild`: the first one's, with the last one's PSH.

    Args:
        buffer: where the run lies.
        first: its first packet.
        last: its last packet.
        header: length of the headers of each.
    """
    template = bytearray(buffer[first : first + header])
    is_ipv6 = template[0] >> 4 == 6
    at = IPV6_BYTES if is_ipv6 else IPV4_BYTES
    template[at + 13] |= buffer[last + at + 13] & _PSH
    length_at = 4 if is_ipv6 else 2
    template[length_at] = template[length_at + 1] = 0
    return template
