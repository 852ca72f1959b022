"""Datagrams of podway's format (`segments`) to runs: which of one receive are one large packet's.

In: the buffer of one receive. Out: how many datagrams go together, their headers and payloads.
Called by `incoming`. Pure.
"""

from podway.udp.segments import END, END_BIT, PART, offset_at, part_of, unmark
from podway.udp.slices import Slices, offsets


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
            kinds.count(first) == count - 1 and kinds[-1] == first + END_BIT
        ):
            return False
        at = offset_at(first)
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
