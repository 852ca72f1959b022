"""Devices of one namespace by index and by name: what routes and neighbours are written with.

The kernel speaks in indexes, podway in names, and names may be given anew at any moment. So nothing
is remembered: the kernel is asked each time, through two ioctls that take 2 us, wait for no lock
and may be used from any thread (net/core/dev_ioctl.c; netdevice(7)).
"""

import errno
from fcntl import ioctl
from struct import Struct
from typing import TYPE_CHECKING

from podway.netlink import NetlinkError, NetlinkSocket, get_link
from podway.netlink.constants import RTEXT_FILTER_SKIP_STATS

if TYPE_CHECKING:
    from podway.netlink.link_messages import LinkMessage

_SIOCGIFNAME = 0x8910
_SIOCGIFINDEX = 0x8933
_IFREQ = Struct("16si20x")
_IFNAMSIZ = 15


class Devices:
    """The names and indexes of a namespace's devices.

    Args:
        fd: a socket of any kind that lives in the namespace; stays the caller's.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def index(self, name: str) -> int:
        """Return the index of the device called *name*; 0 when there is none."""
        packed = name.encode()
        if len(packed) > _IFNAMSIZ:
            return 0
        answer = self._ask(_SIOCGIFINDEX, _IFREQ.pack(packed, 0))
        return 0 if answer is None else int(_IFREQ.unpack(answer)[1])

    def name(self, index: int) -> str:
        """Return the name of the device with *index*; "" when there is none."""
        answer = self._ask(_SIOCGIFNAME, _IFREQ.pack(b"", index))
        if answer is None:
            return ""
        packed: bytes = _IFREQ.unpack(answer)[0]
        return packed.split(b"\0", 1)[0].decode(errors="surrogateescape")

    def _ask(self, request: int, question: bytes) -> bytes | None:
        try:
            return ioctl(self._fd, request, question)
        except OSError as error:
            if error.errno in {errno.ENODEV, errno.ENXIO}:
                return None
            raise


def find_link(netlink: NetlinkSocket, name: str) -> "LinkMessage | None":
    """Return the device called *name* as the kernel describes it, None when there is none."""
    try:
        return netlink.request(get_link({"ifname": name, "ext_mask": RTEXT_FILTER_SKIP_STATS}))
    except NetlinkError as error:
        if error.is_not_found:
            return None
        raise
