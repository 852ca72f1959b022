"""What is made once and used for packet after packet: slices of a buffer, offsets of segments.

Making them costs as much as using them, and the flows of a moment need the same again and again.
"""

from functools import lru_cache


@lru_cache(maxsize=1024)
def offsets(first: int, step: int, count: int) -> tuple[bytes, bytes]:
    """Return the high and the low bytes of *count* offsets, from *first* on in *step*s."""
    numbers = [first + step * n for n in range(count)]
    return bytes(n >> 8 & 0xFF for n in numbers), bytes(n & 0xFF for n in numbers)


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
