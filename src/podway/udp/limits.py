"""How often something may be done: so many at once, so many a second from then on. Pure."""


class Allowance:
    """A token bucket.

    Args:
        burst: how many may come together.
        per_second: how many come back each second.
    """

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Tell whether one more may be done at *now* (seconds of a clock that goes forward)."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
