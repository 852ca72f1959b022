"""What is in a namespace's stack in memory, looked up in the ways in which the kernel looks it up.

In: keys, devices, addresses. Out: objects. Called by `fake_refusals`, which says what may not be
written beside them, and by `fake_stack`, which writes.
"""

import errno as errnos
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address

from podway.kernel.fake_sysctls import FakeSysctls, Refused
from podway.kernel.known import devices_of
from podway.model.addresses import IPAddress
from podway.model.kernel import Address, KernelObject, Key, Link, Offload, Route, link_key


class FakeObjects:
    """The state of one namespace.

    Attributes:
        objects: everything there is but sysctls and offloads, by key.
        sysctls: the values under /proc/sys/net.
        offloads: whether a device computes checksums, where somebody said so.
    """

    def __init__(self, sysctls: Mapping[str, str] | None = None) -> None:
        self.objects: dict[Key, KernelObject] = {}
        self.sysctls = FakeSysctls(sysctls or {}, lambda: (link.name for link in self.links()))
        self.offloads: dict[str, bool] = {}

    def find(self, key: Key) -> KernelObject | None:
        """Return what has *key*."""
        if key.kind == "sysctl":
            return self.sysctls.read(str(key.parts[0]))
        if key.kind == "offload":
            return self._offload(str(key.parts[0]))
        return self.objects.get(key)

    def _offload(self, dev: str) -> Offload | None:
        """Return what *dev* does; the kinds that are made here begin with all they can."""
        if link_key(dev) not in self.objects:
            return None
        return Offload(dev, self.offloads.get(dev, True))

    def links(self) -> Iterator[Link]:
        """Yield every device."""
        return (item for item in list(self.objects.values()) if isinstance(item, Link))

    def link(self, name: str) -> Link:
        """Return the device called *name*; ENODEV without one."""
        link = self.objects.get(link_key(name))
        if not isinstance(link, Link):
            raise Refused(errnos.ENODEV, f"there is no device {name}")
        return link

    def is_up(self, dev: str) -> bool:
        """Tell whether there is a device *dev*, and up."""
        link = self.objects.get(link_key(dev))
        return isinstance(link, Link) and link.up

    def on(self, dev: str) -> list[KernelObject]:
        """Return what stands on device *dev*, without its link."""
        return [
            item
            for item in self.objects.values()
            if not isinstance(item, Link) and dev in devices_of(item)
        ]

    def addresses(self, dev: str = "") -> list[Address]:
        """Return the addresses of *dev*, or all."""
        return [
            item
            for item in self.objects.values()
            if isinstance(item, Address) and dev in {"", item.dev}
        ]

    def is_local(self, address: IPAddress) -> bool:
        """Tell whether some device has *address*."""
        return any(other.address.ip == address for other in self.addresses())

    def is_on_link(self, via: IPAddress, dev: str) -> bool:
        """Tell whether some prefix says that *via* is a neighbour on *dev*."""
        if isinstance(via, IPv6Address) and via.is_link_local:
            return True
        return any(via in item.address.network for item in self.addresses(dev)) or any(
            isinstance(item, Route) and item.via is None and via in item.dst
            for item in self.on(dev)
        )
