"""Ctrl-C, SIGTERM and SIGHUP where they do no harm: between steps, not within one.

Python raises KeyboardInterrupt between any two instructions: also while this thread is in another
network namespace and has not yet noted how to come home, or between the start of a program or a
thread and the moment in which somebody knows of it. Such steps are wrapped in `uninterrupted`; a
signal that comes meanwhile is kept and takes effect right after. All of it concerns the main thread
alone, since no other one runs signal handlers.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Gate:
    """How deep in `uninterrupted` the main thread is, and whether a signal waits outside."""

    depth = 0
    pending = False


_gate = _Gate()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let every one of `SIGNALS` end the block by KeyboardInterrupt, so that it can clear away."""
    previous = {number: signal.signal(number, _on_signal) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep signals back until the block is over; only effective within `interruptible`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _gate.depth += 1
    try:
        yield
    finally:
        _gate.depth -= 1
        if _gate.pending and not _gate.depth:
            _gate.pending = False
            raise KeyboardInterrupt


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    if _gate.depth:
        _gate.pending = True
    else:
        raise KeyboardInterrupt
