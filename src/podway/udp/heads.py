"""What stands before a packet that is written into TUN: a virtio-net header, and its own headers.

In: what is known of a packet, or of a run of segments. Out: the bytes that tell the kernel where a
checksum is to go and of what size the segments are to be. Called by `incoming`; `outgoing` asks
whether a packet's checksum is left out where this would say it is. Pure.
"""

import sys
from struct import Struct

from podway.udp.checksums import checksum, pseudo_sum, word_sum
from podway.udp.packets import CHECKSUM_AT, IPV4_BYTES, IPV6_BYTES, TCP
from podway.udp.segments import ip_header, offset_at
from podway.udp.tun import GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, VNET

_WORD = Struct(">H")
_DOUBLE = Struct(">I")
_FIN_PSH = 0x09
_CWR = 0x80

# What stands before a packet that is no large one, for TUN: by IP header's length and protocol.
_LEFT_OUT = {
    (ip_bytes, protocol): VNET.pack(NEEDS_CSUM, GSO_NONE, ip_bytes + 8, 0, ip_bytes, at)
    for ip_bytes in (IPV4_BYTES, IPV6_BYTES)
    for protocol, at in CHECKSUM_AT.items()
}
# The same as numbers: csum_start and csum_offset as they lie in the header, by protocol.
_PLACES = {
    ip_bytes: {
        protocol: int.from_bytes(head[6:10], sys.byteorder)
        for (bytes_, protocol), head in _LEFT_OUT.items()
        if bytes_ == ip_bytes
    }
    for ip_bytes in (IPV4_BYTES, IPV6_BYTES)
}


def is_unsummed(buffer: bytearray, start: int, place: int) -> bool:
    """Tell whether `unsummed_head` would say *place* of the packet at *start*.

    *place* is csum_start and csum_offset of a virtio-net header, read as one number.
    """
    if buffer[start] == 0x45:
        return _PLACES[IPV4_BYTES].get(buffer[start + 9]) == place
    return buffer[start] >> 4 == 6 and _PLACES[IPV6_BYTES].get(buffer[start + 6]) == place


def unsummed_head(buffer: bytearray, start: int) -> bytes | None:
    """Return what tells TUN where the checksum of the packet at *start* is to go.

    None: it has none, be it as another protocol or for a header with options.
    """
    if buffer[start] == 0x45:
        return _LEFT_OUT.get((IPV4_BYTES, buffer[start + 9]))
    return _LEFT_OUT.get((IPV6_BYTES, buffer[start + 6])) if buffer[start] >> 4 == 6 else None


def rebuild(
    template: bytearray, count: int, segment_bytes: int, payload_bytes: int, *, is_end: bool
) -> bytes:
    """Return all that stands before the payloads of a run when it is written into TUN.

    Args:
        template: the headers of its first segment, with the offset for a length. Changed.
        count: how many segments the run has.
        segment_bytes: payload of each but the last one.
        payload_bytes: of all of them.
        is_end: no more of the same large packet follows.
    """
    ip_bytes, protocol = ip_header(template, 0)
    length = len(template) - ip_bytes + payload_bytes
    at = offset_at(template[0])
    offset = template[at] << 8 | template[at + 1]
    if ip_bytes == IPV4_BYTES:
        _WORD.pack_into(template, at, ip_bytes + length)
        template[10] = template[11] = 0
        _WORD.pack_into(template, 10, checksum(word_sum(template[:IPV4_BYTES])))
        total = pseudo_sum(template[12:20], protocol, length)
    else:
        _WORD.pack_into(template, at, length)
        total = pseudo_sum(template[8:40], protocol, length)
    if protocol == TCP:
        _mend_tcp(template, ip_bytes, offset, is_end=is_end)
        gso_type = GSO_TCPV4 if ip_bytes == IPV4_BYTES else GSO_TCPV6
    else:
        _WORD.pack_into(template, ip_bytes + 4, length)
        gso_type = GSO_UDP_L4
    checksum_at = CHECKSUM_AT[protocol]
    _WORD.pack_into(template, ip_bytes + checksum_at, total % 65535)
    if count == 1:
        gso_type = segment_bytes = GSO_NONE
    vnet = VNET.pack(NEEDS_CSUM, gso_type, len(template), segment_bytes, ip_bytes, checksum_at)
    return vnet + template


def _mend_tcp(template: bytearray, at: int, offset: int, *, is_end: bool) -> None:
    """Make the TCP header at *at* right for a run that begins at *offset* (RFC 9293, 3.1).

    FIN and PSH belong to the last segment of the large packet, CWR to the first one.
    """
    if offset:
        sequence = _DOUBLE.unpack_from(template, at + 4)[0] + offset
        _DOUBLE.pack_into(template, at + 4, sequence & 0xFFFFFFFF)
        template[at + 13] &= ~_CWR
    if not is_end:
        template[at + 13] &= ~_FIN_PSH
