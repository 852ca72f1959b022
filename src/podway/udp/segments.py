"""podway's own wire format: what one read from TUN gave, in datagrams that one send carries.

A datagram is a packet whose version number is another one. No version of IP is above 7, so it tells
by itself that it is no bare packet, and which of four things it is:

    8  12  part      one segment of a large packet, of which more follow
    9  13  end       its last segment
    10 14  unsummed  a packet whose TCP or UDP checksum is left to the receiving kernel
    11 15  whole     a packet with everything in it
    |  +-- IPv6
    +----- IPv4

A large packet is up to 64 KiB of one TCP or UDP flow behind one header; TUN says of what size its
segments are to be. Each datagram is that header, the same in all of them but for the offset, and
one segment; so the kernel can cut one send into datagrams (UDP_SEGMENT) and join datagrams into one
receive (UDP_GRO), and nobody computes headers or checksums for each. The offset, the segment's
place in the large packet in bytes, stands where the IP header has its length, which the receiver
knows anyway.

    IPv4                                        IPv6
     0  kind, IHL 5 | TOS | offset               0  kind, class, flow label
     4  identification | flags                   4  offset | next header | hop limit
     8  TTL | protocol | unused                  8  source, destination
    12  source, destination                     40  TCP or UDP header
    20  TCP or UDP header

The inner TCP or UDP checksum is missing; the outer UDP checksum protects the datagram on its way,
as a frame's would whose checksum a network card computes. No TTL is touched: between podway nodes
the tunnel is a link like any other (flannel's is two routers), and each kernel takes its hop.

A datagram is never longer than the packet that it stands for, so the MTU is flannel's. One that is
lost takes along nothing but itself.
"""

import sys
from collections.abc import Iterator
from functools import lru_cache
from struct import Struct

from podway.udp.checksums import Bytes, checksum, pseudo_sum, word_sum
from podway.udp.packets import CHECKSUM_AT, IPV4_BYTES, IPV6_BYTES, TCP, UDP
from podway.udp.tun import (
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    NEEDS_CSUM,
    VNET,
)

# include/linux/udp.h, UDP_MAX_SEGMENTS of kernels before 6.9; and what one send may hold.
SEGMENTS_MAX = 64
SEND_BYTES_MAX = 65000

PART, END, UNSUMMED, WHOLE = 0, 1, 2, 3
_END_BIT = END << 4
_IS_KIND = 0x80
_IS_IPV6 = 0x40
_IPV4, _IPV6 = _IS_KIND, _IS_KIND | _IS_IPV6
_SMALL = _IS_KIND | UNSUMMED << 4

_WORD = Struct(">H")
_DOUBLE = Struct(">I")
_UDP_BYTES = 8
_FIN_PSH = 0x09
_CWR = 0x80


def mark(first_byte: int, part: int) -> int:
    """Return the first byte of a datagram for a packet that has *first_byte*.

    What is of another version than IPv6 counts as IPv4; the receiver will see.
    """
    return first_byte & 0xF | (_IPV6 if first_byte >> 4 == 6 else _IPV4) | part << 4


def unmark(kind_byte: int) -> int:
    """Return the first byte of the packet in a datagram that begins with *kind_byte*."""
    return (0x60 if kind_byte & _IS_IPV6 else 0x40) | kind_byte & 0xF


def part_of(kind_byte: int) -> int:
    """Return what a datagram that begins with *kind_byte*, one of this format, is."""
    return kind_byte >> 4 & 3


def is_small(first_byte: int) -> bool:
    """Tell whether a datagram that begins with *first_byte* is of a kind that stands for itself."""
    return first_byte & _SMALL == _SMALL


def is_ours(first_byte: int) -> bool:
    """Tell whether a datagram that begins with *first_byte* is in this format."""
    return first_byte >= _IS_KIND


def header_bytes(buffer: Bytes, start: int, end: int) -> int:
    """Return the length of the IP and TCP or UDP headers at *start*; 0: there are no whole ones.

    The IP header is a plain one (`packets.has_plain_header`), a packet's or a segment's.
    """
    if end - start < IPV4_BYTES + _UDP_BYTES:
        return 0
    ip_bytes, protocol = _ip_header(buffer, start)
    at = start + ip_bytes
    if protocol == UDP:
        length = ip_bytes + _UDP_BYTES
    elif protocol != TCP or end - at < 20 or buffer[at + 12] < 0x50:
        return 0
    else:
        length = ip_bytes + (buffer[at + 12] >> 4 << 2)
    return length if length <= end - start else 0


def _ip_header(buffer: Bytes, start: int) -> tuple[int, int]:
    """Return the length of the IP header, a plain one, and the protocol of what follows."""
    if _offset_at(buffer[start]) == 4:
        return IPV6_BYTES, buffer[start + 6]
    return IPV4_BYTES, buffer[start + 9]


def _offset_at(first_byte: int) -> int:
    """Return where the offset stands, by the first byte of a packet or of a datagram."""
    is_ipv6 = first_byte & _IS_IPV6 if first_byte & _IS_KIND else first_byte >> 4 == 6
    return 4 if is_ipv6 else 2


def cut(payload_bytes: int, segment_bytes: int, header: int) -> list[tuple[int, int]]:
    """Return which segments go into which send: the first one's number and how many.

    Sends are about equally long: a short one costs nearly as much as a long one.
    """
    count = max(1, -(-payload_bytes // segment_bytes))
    most = max(1, min(SEGMENTS_MAX, SEND_BYTES_MAX // (header + segment_bytes)))
    sends = -(-count // most)
    each = -(-count // sends)
    return [(first, min(each, count - first)) for first in range(0, count, each)]


class Cutter:
    """Cuts the large packets of one buffer: lists of pieces for `sendmsg`, nothing copied.

    Args:
        buffer: where packets lie, each at the same *start*.
    """

    def __init__(self, buffer: bytearray, start: int) -> None:
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._start = start
        self._headers = bytearray(SEGMENTS_MAX * (IPV6_BYTES + 60))
        self._header_view = memoryview(self._headers)
        self._slices = Slices()
        self._header_slices = Slices()

    def pieces(
        self, end: int, segment_bytes: int, header: int
    ) -> Iterator[tuple[list[memoryview], int]]:
        """Yield, for each send, what to send and the size of its datagrams.

        Args:
            end: of the packet.
            segment_bytes: payload of each segment but the last one.
            header: length of its headers, IP and TCP or UDP.
        """
        first_payload = self._start + header
        payload_bytes = end - first_payload
        template = bytes(self._buffer[self._start : first_payload])
        for first, count in cut(payload_bytes, segment_bytes, header):
            is_end = (first + count) * segment_bytes >= payload_bytes
            self._write_headers(template, first, count, segment_bytes, is_end=is_end)
            pieces: list[memoryview] = [self._view] * (2 * count)
            pieces[0::2] = self._header_slices.get(self._header_view, 0, header, header, count)
            payloads = self._slices.get(
                self._view, first_payload, segment_bytes, segment_bytes, first + count
            )
            pieces[1::2] = payloads[first:] if first else payloads
            if is_end:
                last = first_payload + (first + count - 1) * segment_bytes
                pieces[-1] = self._view[last:end]
            yield pieces, header + segment_bytes

    def _write_headers(
        self, template: bytes, first: int, count: int, segment_bytes: int, *, is_end: bool
    ) -> None:
        """Write *count* headers one after the other: they differ in offset and in the last kind."""
        header, headers = len(template), self._headers
        whole = header * count
        headers[:whole] = template * count
        kind = mark(template[0], PART)
        headers[0:whole:header] = bytes((kind,)) * count
        offset = _offset_at(kind)
        high, low = offsets(first * segment_bytes, segment_bytes, count)
        headers[offset:whole:header] = high
        headers[offset + 1 : whole : header] = low
        if is_end:
            headers[whole - header] = kind + _END_BIT


@lru_cache(maxsize=1024)
def offsets(first: int, step: int, count: int) -> tuple[bytes, bytes]:
    """Return the high and the low bytes of *count* offsets, from *first* on in *step*s."""
    numbers = [first + step * n for n in range(count)]
    return bytes(n >> 8 & 0xFF for n in numbers), bytes(n & 0xFF for n in numbers)


class Joiner:
    """Finds what belongs together in one receive: datagrams side by side in one buffer.

    Args:
        buffer: where datagrams lie, each of the same size but the last one, which may be shorter.
    """

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._slices = Slices()

    def run_length(self, start: int, end: int, size: int, header: int) -> int:
        """Return how many datagrams from *start* on are consecutive segments of one large packet.

        Args:
            start: of the first one, a segment with whole headers.
            end: of the last one.
            size: of each datagram.
            header: length of the first one's headers, which is below *size*.
        """
        if part_of(self._buffer[start]) != PART:
            return 1
        most = -(-(end - start) // size)
        if end - start - (most - 1) * size < header:
            most -= 1
        if self._is_run(start, most, size, header):
            return most
        # Somebody else's packets, or a hole where some were lost. Each part of a run is one, too.
        low, high = 1, most
        while high - low > 1:
            middle = (low + high) // 2
            if self._is_run(start, middle, size, header):
                low = middle
            else:
                high = middle
        return low

    def _is_run(self, start: int, count: int, size: int, header: int) -> bool:
        """Tell whether the *count* segments from *start* on are one run; any one alone is."""
        buffer, end = self._buffer, start + (count - 1) * size + 1
        kinds, first = buffer[start:end:size], buffer[start]
        if kinds.count(first) != count and not (
            kinds.count(first) == count - 1 and kinds[-1] == first + _END_BIT
        ):
            return False
        at = _offset_at(first)
        place = buffer[start + at] << 8 | buffer[start + at + 1]
        high, low = offsets(place, size - header, count)
        if buffer[start + at : end + at : size] != high:
            return False
        if buffer[start + at + 1 : end + at + 1 : size] != low:
            return False
        before = self._slices.get(self._view, start + 1, size, at - 1, count)
        after = self._slices.get(self._view, start + at + 2, size, header - at - 2, count)
        return before.count(before[0]) == count and after.count(after[0]) == count

    def payloads(
        self, start: int, end: int, size: int, header: int, count: int
    ) -> list[memoryview]:
        """Return the payloads of a run of *count* segments from *start* on."""
        pieces = self._slices.get(self._view, start + header, size, size - header, count)
        last = start + (count - 1) * size
        if end < last + size:
            pieces[-1] = self._view[last + header : end]
        return pieces


class Slices:
    """Slices of one buffer, made once: making one costs as much as using it.

    Keeps as many as the flows of a moment need, and starts anew beyond that.
    """

    _MOST = 20_000

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int], list[memoryview]] = {}
        self._count = 0

    def get(
        self, view: memoryview, first: int, step: int, length: int, count: int
    ) -> list[memoryview]:
        """Return *count* slices of *length* bytes of *view*, from *first* on in *step*s."""
        known = self._known.get((first, step, length))
        if known is None or len(known) < count:
            if self._count > self._MOST:
                self._known.clear()
                self._count = 0
            known = [view[at : at + length] for at in range(first, first + count * step, step)]
            self._known[first, step, length] = known
            self._count += count
        return known[:count]


def open_run(buffer: bytearray, first: int, last: int, header: int) -> tuple[bytearray, bool]:
    """Return the headers of a run with their version back, and whether it reaches the end.

    Args:
        buffer: where the run lies.
        first: its first segment.
        last: its last segment.
        header: length of the headers.
    """
    kind = buffer[last]
    template = bytearray(buffer[first : first + header])
    template[0] = unmark(kind)
    return template, part_of(kind) == END


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
    ip_bytes, protocol = _ip_header(template, 0)
    length = len(template) - ip_bytes + payload_bytes
    at = _offset_at(template[0])
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
