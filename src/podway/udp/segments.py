"""podway's own wire format: what one TUN read gave, cut into datagrams that one send carries.

A large packet from TUN is up to 64 KiB of one TCP or UDP flow behind one header, with the size of
its segments beside it. Each datagram is that header, the same in all of them but for the offset,
and one segment; so the kernel can cut one send into datagrams (UDP_SEGMENT) and join datagrams into
one receive (UDP_GRO), and nobody computes headers or checksums for each. Where the two lengths and
the IPv4 checksum stand, which the receiver knows anyway, the header has room for what it does not:

    IPv4                                        IPv6
     0  kind 8 or 9, IHL 5 | TOS | offset        0  kind 10 or 11, class, flow label
     4  identification | flags                   4  offset | next header | hop limit
     8  TTL | protocol | zero                    8  source, destination
    12  source, destination                     40  TCP or UDP header
    20  TCP or UDP header

Kind: 8 and 10 say that more of the same large packet follows, 9 and 11 that this is its end. No
version of IP has these numbers, so a datagram tells by itself whether it is one of ours or a bare
packet. The offset is the segment's place in the large packet, in bytes. The TCP or UDP checksum is
not there: the outer UDP checksum protects the datagram on its way, as Ethernet's would a frame
whose checksum a network card computes, and the receiving kernel takes it from there.

A datagram is never longer than the packet that it stands for, so the MTU is flannel's. One that is
lost takes along nothing but itself.
"""

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct

from podway.udp.checksums import Bytes, checksum, pseudo_sum, word_sum
from podway.udp.packets import IPV4_BYTES, IPV6_BYTES, TCP
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

KIND_IPV4, KIND_IPV4_END, KIND_IPV6, KIND_IPV6_END = 8, 9, 10, 11
_END = 0x10  # what tells KIND_x_END from KIND_x in the first byte
_TO_KIND = {4: (KIND_IPV4 - 4) << 4, 6: (KIND_IPV6 - 6) << 4}

_IPV6_KINDS = (6, KIND_IPV6, KIND_IPV6_END)

_WORD = Struct(">H")
_DOUBLE = Struct(">I")
_UDP_BYTES = 8
_FIN_PSH = 0x09
_CWR = 0x80


def is_segment(first_byte: int) -> bool:
    """Tell whether a datagram that begins with *first_byte* is in this format."""
    return KIND_IPV4 <= first_byte >> 4 <= KIND_IPV6_END


def header_bytes(buffer: Bytes, start: int, end: int) -> int:
    """Return the length of the IP and TCP or UDP headers at *start*; 0: there are no whole ones.

    The IP header is a plain one (`packets.has_plain_header`), a packet's or a segment's.
    """
    if end - start < IPV4_BYTES + _UDP_BYTES:
        return 0
    ip_bytes, protocol = _ip_header(buffer, start)
    at = start + ip_bytes
    if protocol != TCP:
        length = ip_bytes + _UDP_BYTES
    elif end - at < 20 or buffer[at + 12] < 0x50:
        return 0
    else:
        length = ip_bytes + (buffer[at + 12] >> 4 << 2)
    return length if length <= end - start else 0


def _ip_header(buffer: Bytes, start: int) -> tuple[int, int]:
    """Return the length of the IP header, a plain one, and the protocol of what follows."""
    if buffer[start] >> 4 in _IPV6_KINDS:
        return IPV6_BYTES, buffer[start + 6]
    return IPV4_BYTES, buffer[start + 9]


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

    def single(self, end: int) -> list[memoryview]:
        """Return the packet, whose checksum is not there, as the only segment of its kind."""
        start = self._start
        self._buffer[start] += _TO_KIND[self._buffer[start] >> 4] + _END
        _WORD.pack_into(self._buffer, start + _offset_at(self._buffer[start]), 0)
        return [self._view[start:end]]

    def pieces(
        self, end: int, segment_bytes: int, header: int
    ) -> Iterator[tuple[list[memoryview], int]]:
        """Yield, for each send, what to send and the size of its datagrams.

        Args:
            end: of the packet, whose TTL has been seen to.
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
        kind = template[0] + _TO_KIND[template[0] >> 4]
        headers[0:whole:header] = bytes((kind,)) * count
        offset = _offset_at(kind)
        high, low = offsets(first * segment_bytes, segment_bytes, count)
        headers[offset:whole:header] = high
        headers[offset + 1 : whole : header] = low
        if is_end:
            headers[whole - header] = kind + _END


def _offset_at(first_byte: int) -> int:
    """Return where the offset stands, by the first byte of a packet or a segment."""
    return 4 if first_byte >> 4 in _IPV6_KINDS else 2


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
        most = -(-(end - start) // size)
        if end - start - (most - 1) * size < header:
            most -= 1
        if self._is_run(start, most, size, header):
            return most
        # Somebody else's packets, or a hole where some were lost: rare, and seen to one by one.
        count = 1
        while count < most and self._is_run(start, count + 1, size, header):
            count += 1
        return count

    def _is_run(self, start: int, count: int, size: int, header: int) -> bool:
        """Tell whether the *count* segments from *start* on are one run; any one alone is."""
        buffer, end = self._buffer, start + (count - 1) * size + 1
        kinds, first = buffer[start:end:size], buffer[start]
        if kinds.count(first) != count and not (
            kinds.count(first) == count - 1 and kinds[-1] == first + _END
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
    template[0] = (6 if kind >> 4 >= KIND_IPV6 else 4) << 4 | kind & 0xF
    return template, bool(kind & _END)


def rebuild(
    template: bytearray, count: int, segment_bytes: int, payload_bytes: int, *, is_end: bool
) -> bytes:
    """Return all that stands before the payloads of a run when it is written into TUN.

    One hop is taken from its TTL, which is above 0.

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
        template[8] -= 1
        template[10] = template[11] = 0
        _WORD.pack_into(template, 10, checksum(word_sum(template[:IPV4_BYTES])))
        total = pseudo_sum(template[12:20], protocol, length)
    else:
        _WORD.pack_into(template, at, length)
        template[7] -= 1
        total = pseudo_sum(template[8:40], protocol, length)
    if protocol == TCP:
        _mend_tcp(template, ip_bytes, offset, is_end=is_end)
        checksum_at, gso_type = 16, GSO_TCPV4 if ip_bytes == IPV4_BYTES else GSO_TCPV6
    else:
        _WORD.pack_into(template, ip_bytes + 4, length)
        checksum_at, gso_type = 6, GSO_UDP_L4
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
