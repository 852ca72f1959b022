"""The values under /proc/sys/net in memory, as far as podway has to do with them.

In: `Sysctl` values to write. Out: what a read would give, or `Refused`. What the kernel adds:
forwarding for all devices is one switch that writes through to every device (inet_forward_change,
addrconf_fixup_forwarding), and a device's values come and go with it.
"""

import errno as errnos
import re
from collections.abc import Callable, Iterable, Mapping

from podway.kernel.sysctls import checked_path, device_of_path
from podway.model.kernel import Sysctl

# What a new namespace has; "*" stands for all, default, and each device.
_DEFAULTS = {
    "ipv4/ip_forward": "0",
    "ipv4/conf/*/accept_local": "0",
    "ipv4/conf/*/arp_announce": "0",
    "ipv4/conf/*/arp_ignore": "0",
    "ipv4/conf/*/arp_notify": "0",
    "ipv4/conf/*/forwarding": "0",
    "ipv4/conf/*/proxy_arp": "0",
    "ipv4/conf/*/promote_secondaries": "0",
    "ipv4/conf/*/route_localnet": "0",
    "ipv4/conf/*/rp_filter": "0",
    "ipv4/neigh/*/proxy_delay": "80",
    "ipv4/neigh/*/gc_stale_time": "60",
    "ipv6/conf/*/accept_dad": "1",
    "ipv6/conf/*/accept_ra": "1",
    "ipv6/conf/*/disable_ipv6": "0",
    "ipv6/conf/*/forwarding": "0",
    "ipv6/conf/*/keep_addr_on_down": "0",
    "ipv6/conf/*/proxy_ndp": "0",
    "ipv6/neigh/*/gc_stale_time": "60",
    "ipv6/neigh/*/proxy_delay": "80",
}
_ALIASES = {"ipv4/ip_forward": "ipv4/conf/all/forwarding"}
_FORWARD_TO_ALL = frozenset({"ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"})


_INTEGER = re.compile(r"[+-]?\d+")


class Refused(Exception):  # noqa: N818  (reads as what the kernel did)
    """The kernel says no: its errno, and why."""

    def __init__(self, errno: int, reason: str) -> None:
        super().__init__(reason)
        self.errno = errno
        self.reason = reason


class FakeSysctls:
    """Values by path.

    Args:
        values: what differs from a new namespace, by path; a "*" path adds one to every device.
        devices: returns the names of the devices there are.
    """

    def __init__(self, values: Mapping[str, str], devices: Callable[[], Iterable[str]]) -> None:
        self._defaults = {**_DEFAULTS, **values}
        self._values: dict[str, str] = {}
        self._devices = devices

    def value(self, path: str) -> str | None:
        """Return the value at *path*, or None where there is no such file.

        Raises:
            KernelError: EINVAL when *path* could leave /proc/sys/net.
        """
        checked_path(path)
        path = _ALIASES.get(path, path)
        if path in self._values:
            return self._values[path]
        if path in self._defaults:
            return self._defaults[path]
        family, noun, dev, leaf = _split(path)
        if dev not in {"all", "default", *self._devices()}:
            return None
        default = self._defaults.get(f"{family}/{noun}/*/{leaf}")
        if default is None or dev in {"all", "default"}:
            return default
        return self.value(f"{family}/{noun}/default/{leaf}")

    def read(self, path: str) -> Sysctl | None:
        """Return what is at *path*, or None where there is no such file."""
        value = self.value(path)
        return None if value is None else Sysctl(path, value, device_of_path(path))

    def write(self, item: Sysctl) -> None:
        """Set a value.

        Raises:
            Refused: ENOENT for a path that is not there, EINVAL for a value that is no integer.
        """
        if self.value(item.path) is None:
            raise Refused(errnos.ENOENT, f"/proc/sys/net/{item.path} does not exist")
        if not _INTEGER.fullmatch(item.value):
            raise Refused(errnos.EINVAL, f"{item.value!r} is no integer")
        path = _ALIASES.get(item.path, item.path)
        if path in _FORWARD_TO_ALL:
            self._forward_to_all(path, item.value)
        self._values[path] = item.value

    def forget(self, dev: str) -> None:
        """Drop the values of a device that is gone."""
        gone = [path for path in self._values if _split(path)[2] == dev]
        for path in gone:
            del self._values[path]

    def _forward_to_all(self, path: str, value: str) -> None:
        family = path.split("/", maxsplit=1)[0]
        for dev in ("default", *self._devices()):
            self._values[f"{family}/conf/{dev}/forwarding"] = value


def _split(path: str) -> tuple[str, str, str, str]:
    """Return family, noun, device and leaf of a device's path; empty text for any other."""
    parts = path.split("/")
    return (parts[0], parts[1], parts[2], parts[3]) if len(parts) == 4 else ("", "", "", "")
