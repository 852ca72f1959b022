"""Pods for plugins to attach: empty namespaces, and calls for many of them at a time."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from bench.namespaces import namespace
from podway.netlink import entered

WORKERS = 8


@contextmanager
def empty_pods(count: int) -> Iterator[list[str]]:
    """Make *count* empty namespaces; give their names."""
    with ExitStack() as stack:
        yield [stack.enter_context(namespace("benchpod")) for _ in range(count)]


def time_at_once(call: Callable[[str], float], names: Sequence[str]) -> float:
    """Return the seconds that *call* takes for all pods *names*, `WORKERS` at a time.

    All calls are made in the network namespace of whoever asks.
    """
    fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:

        def call_here(name: str) -> float:
            with entered(fd):
                return call(name)

        with ThreadPoolExecutor(WORKERS) as threads:
            started = time.perf_counter()
            list(threads.map(call_here, names))
            return time.perf_counter() - started
    finally:
        os.close(fd)
