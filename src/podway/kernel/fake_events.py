"""What the kernel in memory tells: which changes by others are news, and where they wait.

In: the value of a key before and after somebody wrote it. Out: `KernelEvent` values, as the real
kernel's notifications are understood: of our objects and of keys that we have seen, of devices that
went up or down, of addresses of devices that are not ours; and nothing at all where the kernel is
silent. Several changes of one key are one event, with what is there in the end.
"""

import os
from collections.abc import Callable, Collection
from contextlib import suppress

from podway.kernel.known import Known
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


class News:
    """What others changed and nobody asked for yet, and a descriptor that says so."""

    def __init__(self) -> None:
        self._keys: dict[Key, None] = {}
        self._flipped: dict[str, None] = {}
        self._uplinks: dict[str, None] = {}
        self._lost = False
        self._ready = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """Return the descriptor; -1 once closed."""
        return self._ready

    def changed(self, key: Key) -> None:
        """Note that somebody wrote or removed what has *key*."""
        self._keys[key] = None
        self._wake()

    def flipped(self, dev: str) -> None:
        """Note that device *dev* went up or down."""
        self._flipped[dev] = None
        self._wake()

    def uplink_changed(self, dev: str) -> None:
        """Note that a device of others, or its addresses, changed."""
        self._uplinks[dev] = None
        self._wake()

    def lose(self) -> None:
        """Forget everything, and that it was forgotten."""
        self._keys, self._flipped, self._uplinks = {}, {}, {}
        self._lost = True
        self._wake()

    def take(self, known: Known, find: Callable[[Key], KernelObject | None]) -> list[KernelEvent]:
        """Return what is news; *find* gives what there is, *known* what we believe."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._ready)
        events: list[KernelEvent] = [Overrun()] if self._lost else []
        for key in self._keys:
            found = find(key)
            if not known.agrees(key, found):
                known.put(key, found)
                events.append(Seen(key, found))
        events += [DeviceChanged(dev) for dev in self._flipped]
        events += [UplinkChanged(dev) for dev in self._uplinks]
        self._keys, self._flipped, self._uplinks, self._lost = {}, {}, {}, False
        return events

    def close(self) -> None:
        """Close the descriptor; may be called twice."""
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1

    def _wake(self) -> None:
        if self._ready >= 0:
            os.eventfd_write(self._ready, 1)


def is_notified(item: KernelObject) -> bool:
    """Tell whether the kernel sends word when *item* comes, changes or goes by itself."""
    if isinstance(item, Sysctl):
        return item.path.rsplit("/", 1)[-1] in _NOTIFIED_LEAVES
    return not (isinstance(item, Neighbour) and item.proxy)


def tell(  # noqa: PLR0917  # a change, and who looks at it
    news: News,
    key: Key,
    before: KernelObject | None,
    after: KernelObject | None,
    known: Known,
    our_devices: Collection[str],
) -> None:
    """Note in *news* what the kernel tells of one change by somebody else.

    Args:
        news: takes it in.
        key: what changed.
        before: what was there.
        after: what is there.
        known: keys that we wrote or read.
        our_devices: names of the devices that were ours before or are now.
    """
    item = after or before
    if before == after or item is None or not is_notified(item):
        return
    values = [value for value in (before, after) if value is not None]
    if key in known or any(is_ours(value, our_devices) for value in values):
        news.changed(key)
    dev = getattr(item, "dev", "")
    if isinstance(item, Link) and _is_up(before) != _is_up(after):
        news.flipped(dev)
    if key.kind in {"link", "address"} and dev not in our_devices:
        news.uplink_changed(dev)


def devices_that_are_ours(*links: KernelObject | None) -> set[str]:
    """Return the names of those of *links* that bear our mark."""
    return {link.name for link in links if isinstance(link, Link) and is_our_link(link)}


def _is_up(link: KernelObject | None) -> bool:
    return isinstance(link, Link) and link.up
