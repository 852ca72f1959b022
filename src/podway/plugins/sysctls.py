"""Kernel parameters of the namespace that the calling thread is in: read and write.

In: a path below /proc/sys with slashes (``net/ipv6/conf/eth0/accept_dad``), because names of
devices have dots. Whoever means a container's parameters enters its namespace first
(`podway.netlink.netns.entered`).
"""

import posix
from errno import ENOENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_ROOT = "/proc/sys/"
# For IPv6 true.
FORWARDING: "Final" = {False: "net/ipv4/ip_forward", True: "net/ipv6/conf/all/forwarding"}
# Of an interface: neighbours hear at once of who has an address, in place of whom they remember.
ARP_NOTIFY: "Final" = "net/ipv4/conf/{}/arp_notify"
NDISC_NOTIFY: "Final" = "net/ipv6/conf/{}/ndisc_notify"


def read_sysctl(path: str) -> str:
    """Return a parameter, without the closing line feed.

    Raises:
        OSError: ENOENT, this kernel (or device) has none of that name.
    """
    descriptor = posix.open(_ROOT + _checked(path), posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(descriptor, 1 << 16).decode(errors="replace").strip()
    finally:
        posix.close(descriptor)


def write_sysctl(path: str, value: str) -> None:
    """Set a parameter.

    Raises:
        OSError: ENOENT, this kernel (or device) has none of that name; EINVAL, it takes no such
            value.
    """
    descriptor = posix.open(_ROOT + _checked(path), posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        # To write nothing at all would change nothing; a line without words empties a list.
        posix.write(descriptor, value.encode() or b"\n")
    finally:
        posix.close(descriptor)


def write_sysctl_if_any(path: str, value: str) -> bool:
    """Set a parameter that some kernels lack (IPv6 switched off); tell whether it is there."""
    try:
        write_sysctl(path, value)
    except OSError as error:
        if error.errno != ENOENT:
            raise
        return False
    return True


def is_forwarding(cidr: str) -> bool:
    """Tell whether the thread's namespace forwards packets of the family of *cidr*."""
    return read_sysctl(FORWARDING[":" in cidr]) == "1"


def _checked(path: str) -> str:
    """Refuse a *path* that leaves /proc/sys: names of devices are part of it."""
    parts = path.split("/")
    if "\0" in path or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(f"{path!r} is no path of a kernel parameter")
    return path
