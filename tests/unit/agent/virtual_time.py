"""An event loop whose clock jumps to the next timer as soon as nothing else is left to do.

Hours pass in microseconds, and always the same way. For code that waits by the loop's clock
(`asyncio.sleep`, `call_later`, `loop.time`) and does no real I/O.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

# What one turn of the loop takes: a clock that stands still is none, and code that compares two
# moments may wait for ever for the next one. (Many hours are known to a float no finer than this.)
_TURN_S = 1e-6


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: says instead how long it was asked to."""

    slept_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and no timer is set"
            self.slept_s += timeout
        self.slept_s += _TURN_S
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return how many seconds were waited for, all in all."""
        return self._jumping.slept_s


def run_virtually(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run *scenario* in such a loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())
