"""What the kernel in memory tells: which changes by others are news, and the queue they wait in.

In: the value of a key before and after somebody wrote it. Out: `KernelEvent` values, as the real
kernel's notifications decode: of our objects and of keys that we have seen, of devices that went up
or down, of addresses of devices that are not ours; and nothing at all where the kernel is silent.
"""

import os
from collections import deque
from collections.abc import Collection

from podway.kernel.ownership import is_our_link, is_ours
from podway.kernel.protocol import (
    DeviceChanged,
    KernelEvent,
    Overrun,
    Seen,
    UplinkChanged,
)
from podway.model.kernel import KernelObject, Key, Link, Neighbour, Sysctl

# Sysctls that RTNLGRP_*_NETCONF speaks of; the others change without a word.
_NOTIFIED_LEAVES = frozenset({"ip_forward", "forwarding", "rp_filter", "proxy_arp", "proxy_ndp"})


class EventQueue:
    """Events that wait, and a descriptor that is readable while some do."""

    def __init__(self) -> None:
        self._events: deque[KernelEvent] = deque()
        self._ready = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """Return the descriptor; -1 once closed."""
        return self._ready

    def put(self, event: KernelEvent) -> None:
        """Add *event*."""
        self._events.append(event)
        if self._ready >= 0:
            os.eventfd_write(self._ready, 1)

    def take(self) -> list[KernelEvent]:
        """Return and forget what waits."""
        try:
            os.eventfd_read(self._ready)
        except BlockingIOError:
            return []
        return [self._events.popleft() for _ in range(len(self._events))]

    def overrun(self) -> None:
        """Forget what waits and say so."""
        self._events.clear()
        self.put(Overrun())

    def close(self) -> None:
        """Close the descriptor; may be called twice."""
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1


def is_notified(item: KernelObject) -> bool:
    """Tell whether the kernel sends word when *item* comes, changes or goes by itself."""
    if isinstance(item, Sysctl):
        return item.path.rsplit("/", 1)[-1] in _NOTIFIED_LEAVES
    return not (isinstance(item, Neighbour) and item.proxy)


def news_of(
    key: Key,
    before: KernelObject | None,
    after: KernelObject | None,
    known: Collection[Key],
    our_devices: Collection[str],
) -> list[KernelEvent]:
    """Return the events of one change by somebody else.

    Args:
        key: what changed.
        before: what was there.
        after: what is there.
        known: keys that we wrote or read.
        our_devices: names of the devices that were ours before or are now.
    """
    item = after or before
    if before == after or item is None or not is_notified(item):
        return []
    events: list[KernelEvent] = []
    is_our_matter = key in known or any(
        value is not None and is_ours(value, our_devices) for value in (before, after)
    )
    if is_our_matter:
        events.append(Seen(key, after))
    dev = getattr(item, "dev", "")
    if isinstance(item, Link) and _is_up(before) != _is_up(after):
        events.append(DeviceChanged(dev))
    if key.kind in {"link", "address"} and dev not in our_devices:
        events.append(UplinkChanged(dev))
    return events


def devices_that_are_ours(*links: KernelObject | None) -> set[str]:
    """Return the names of those of *links* that bear our mark."""
    return {link.name for link in links if isinstance(link, Link) and is_our_link(link)}


def _is_up(link: KernelObject | None) -> bool | None:
    """Return whether *link* is up, None when there is none."""
    return link.up if isinstance(link, Link) else None
