"""Large packets to datagrams of podway's format (`segments`): which go into which send, in pieces.

In: the buffer that TUN was read into. Out: what `sendmsg` takes. Called by `outgoing`. Pure.
"""

from collections.abc import Iterator

from podway.udp.packets import IPV6_BYTES
from podway.udp.segments import END_BIT, PART, mark, offset_at
from podway.udp.slices import Slices, offsets

# include/linux/udp.h, UDP_MAX_SEGMENTS of kernels before 6.9; and what one send may hold.
SEGMENTS_MAX = 64
SEND_BYTES_MAX = 65000


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
        offset = offset_at(kind)
        high, low = offsets(first * segment_bytes, segment_bytes, count)
        headers[offset:whole:header] = high
        headers[offset + 1 : whole : header] = low
        if is_end:
            headers[whole - header] = kind + END_BIT
