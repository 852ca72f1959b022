"""What we believe the kernel to hold, so that a notification can be told from an echo.

In: what was written, read, or reported by somebody else's change. Out: whether a notification says
anything new. Port ids cannot tell: the kernel signs few of its notifications with the port of the
request that caused them (those of links, IPv6 addresses and FDB entries bear a 0), and signs others
that the caller did not ask for (an address' secondaries). So what counts is the value.
"""

from collections import defaultdict
from collections.abc import Mapping

from podway.diff.compare import Difference, compare
from podway.model.kernel import (
    Address,
    AllowedIp,
    FdbEntry,
    KernelObject,
    Key,
    Link,
    Neighbour,
    Offload,
    Route,
    Sysctl,
    UdpPeer,
    UdpRelay,
    WireguardDevice,
    WireguardPeer,
)


class Known:
    """Objects by key, and by the devices without which they cannot be."""

    def __init__(self) -> None:
        self._objects: dict[Key, KernelObject] = {}
        self._by_device: defaultdict[str, set[Key]] = defaultdict(set)

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    def get(self, key: Key) -> KernelObject | None:
        """Return what we believe to be at *key*."""
        return self._objects.get(key)

    def put(self, key: Key, found: KernelObject | None) -> None:
        """Believe that *found* is at *key*; None: nothing is."""
        old = self._objects.pop(key, None)
        if old is not None:
            for dev in devices_of(old):
                self._by_device[dev].discard(key)
                if not self._by_device[dev]:
                    del self._by_device[dev]
        if found is not None:
            self._objects[key] = found
            for dev in devices_of(found):
                self._by_device[dev].add(key)

    def put_all(self, state: Mapping[Key, KernelObject]) -> None:
        """Believe that there is *state* and nothing else."""
        self._objects.clear()
        self._by_device.clear()
        for key, item in state.items():
            self.put(key, item)

    def on_device(self, dev: str) -> set[Key]:
        """Return the keys of what we believe to be on device *dev*."""
        return set(self._by_device.get(dev, ()))

    def put_device(self, dev: str, state: Mapping[Key, KernelObject]) -> None:
        """Believe that on device *dev* there is *state* and nothing else."""
        for key in self.on_device(dev) - state.keys():
            self.put(key, None)
        for key, item in state.items():
            self.put(key, item)

    def agrees(self, key: Key, found: KernelObject | None) -> bool:
        """Tell whether *found* at *key* is what we believe, as far as we said what shall be."""
        known = self._objects.get(key)
        if known is None or found is None:
            return known is found
        return compare(known, found) is Difference.NONE


def devices_of(item: KernelObject) -> tuple[str, ...]:
    """Return the devices without which *item* cannot be; a link is its own."""
    match item:
        case Route(nexthops=hops) if hops:
            return tuple(hop.dev for hop in hops)
        case Link() | Address() | Route() | Neighbour() | FdbEntry() | Sysctl() | Offload():
            return (item.dev,) if item.dev else ()
        case WireguardDevice() | WireguardPeer() | AllowedIp() | UdpRelay() | UdpPeer():
            return (item.dev,)
        case _:
            return ()
