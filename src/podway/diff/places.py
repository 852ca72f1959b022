"""Which keys stand on which device, and which devices are whose ports: found without a search.

In: objects that come to and leave a key. Out: the keys of one device. Called by
`podway.diff.tracker`, for the kernel takes along what stands on a device that goes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable

from podway.diff.order import device_of
from podway.model.kernel import KernelObject, Key, Link


class Places:
    """Keys by the devices on which their objects stand, wanted or seen."""

    def __init__(self) -> None:
        self._by_device: defaultdict[str, set[Key]] = defaultdict(set)
        self._ports: defaultdict[str, set[Key]] = defaultdict(set)

    def add(self, key: Key, item: KernelObject) -> None:
        """Remember where *item*, which is now at *key* for somebody, stands."""
        if device_of(item):
            self._by_device[device_of(item)].add(key)
        if master_of(item):
            self._ports[master_of(item)].add(key)

    def leave(
        self, key: Key, old: KernelObject | None, left: Iterable[KernelObject | None]
    ) -> None:
        """Forget that *key* stands where *old* stood, unless something *left* at it still does."""
        there = list(left)
        if device_of(old) not in {device_of(item) for item in there}:
            _discard(self._by_device, device_of(old), key)
        if master_of(old) not in {master_of(item) for item in there}:
            _discard(self._ports, master_of(old), key)

    def on(self, dev: str) -> Collection[Key]:
        """Return the keys of what stands on device *dev*, its link among them."""
        return self._by_device.get(dev, set())

    def ports_of(self, dev: str) -> Collection[Key]:
        """Return the keys of the links that are ports of bridge *dev*."""
        return self._ports.get(dev, set())


def master_of(item: KernelObject | None) -> str:
    """Return the bridge that *item* is a port of, or ""."""
    return item.master if isinstance(item, Link) else ""


def _discard(index: defaultdict[str, set[Key]], name: str, key: Key) -> None:
    keys = index.get(name)
    if keys is not None:
        keys.discard(key)
        if not keys:
            del index[name]
