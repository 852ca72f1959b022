"""TUN devices: made to stay, and opened with offloads.

In: a name. Out: a device in the calling thread's namespace, or a descriptor on which each packet
has a `struct virtio_net_hdr` in front. rtnetlink makes no TUN device (``tun_validate`` refuses), so
it is ``/dev/net/tun`` and its ioctls.

With offloads on, one read returns up to 64 KiB of one TCP flow and says of what size the segments
are to be, and one write may hand over as much; checksums are left to whoever comes last. Without
them the kernel would cut, add up and hand over packets one by one.

Sources: include/uapi/linux/if_tun.h, include/uapi/linux/virtio_net.h, drivers/net/tun.c;
net/core/link_watch.c for when a device that was opened begins to send.
"""

import errno
import os
import socket
import time
from array import array
from fcntl import ioctl
from struct import Struct

TUN_PATH = "/dev/net/tun"

# struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, host order.
VNET = Struct("=BBHHHH")
VNET_BYTES = VNET.size
NEEDS_CSUM = 1
GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4 = 0, 1, 4, 5
# What one read can return: a packet of any size, and the header before it.
READ_BYTES = VNET_BYTES + 65535

_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFF_TUN_EXCL = 0x8000
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_TUNSETOFFLOAD = 0x400454D0
_IFREQ = Struct("=16sH22x")
_IFREQ_DATA = Struct("@16sP16x")
_SIOCGIFFLAGS = 0x8913
_SIOCETHTOOL = 0x8946
_ETHTOOL_GLINK = 0x0A
_IFF_UP, _IFF_RUNNING = 0x01, 0x40
_LINK_S = 1.0
_PAUSE_S = 0.001

_CSUM, _TSO4, _TSO6, _USO4, _USO6 = 0x01, 0x02, 0x04, 0x20, 0x40
# From the most to the least: segmentation of UDP came with Linux 6.2.
_OFFLOADS = (_CSUM | _TSO4 | _TSO6 | _USO4 | _USO6, _CSUM | _TSO4 | _TSO6)


def create_tun(name: str) -> int:
    """Make the TUN device *name*; return the descriptor with which it goes unless it is kept.

    Raises:
        OSError: EBUSY when there is a device of that name; else as the kernel says.
    """
    return _attach(name, _IFF_TUN_EXCL)


def keep_tun(fd: int) -> None:
    """Let the device of *fd* stay when nobody has it open."""
    ioctl(fd, _TUNSETPERSIST, 1)


def open_tun(name: str) -> int:
    """Return a descriptor, non-blocking, of the TUN device *name*, with every offload there is.

    Raises:
        OSError: ENODEV without such a device; EBUSY while somebody else has it open.
    """
    # TUNSETIFF makes what is not there; a device that nobody asked for would stay unnoticed.
    if name not in (known for _, known in socket.if_nameindex()):
        raise OSError(errno.ENODEV, f"there is no device {name}")
    fd = _attach(name)
    try:
        _set_offloads(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def await_link(name: str) -> None:
    """Wait until what is sent into the device *name*, which is open, can be read from it.

    A device whose carrier comes, as it does when it is opened, drops all that it gets until some
    work of the kernel has given it its queue (linkwatch_do_dev). From Linux 6.8 on that work is
    done for whoever asks for the carrier by ethtool (linkwatch_sync_dev); before, one can but look
    whether it is done. A device that is down has nothing to wait for; one that takes longer than a
    second, on a machine that is busy beyond measure, begins when it does.

    Raises:
        OSError: the device is gone.
    """
    end_s = time.monotonic() + _LINK_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        _ask_for_carrier(asking, name)
        while _flags(asking, name) & (_IFF_UP | _IFF_RUNNING) == _IFF_UP:
            if time.monotonic() > end_s:
                return
            time.sleep(_PAUSE_S)
        # The work sets the flag first and the queue then, under the lock that this waits for.
        _ask_for_carrier(asking, name)


def _ask_for_carrier(asking: socket.socket, name: str) -> None:
    answer = array("I", (_ETHTOOL_GLINK, 0))
    ioctl(asking, _SIOCETHTOOL, _IFREQ_DATA.pack(name.encode(), answer.buffer_info()[0]))


def _flags(asking: socket.socket, name: str) -> int:
    flags: int = _IFREQ.unpack(ioctl(asking, _SIOCGIFFLAGS, _IFREQ.pack(name.encode(), 0)))[1]
    return flags


def _set_offloads(fd: int) -> None:
    *better, last = _OFFLOADS
    for offloads in better:
        try:
            ioctl(fd, _TUNSETOFFLOAD, offloads)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            return
    ioctl(fd, _TUNSETOFFLOAD, last)


def _attach(name: str, flags: int = 0) -> int:
    fd = os.open(TUN_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR | flags
        ioctl(fd, _TUNSETIFF, _IFREQ.pack(name.encode(), mode))
    except OSError:
        os.close(fd)
        raise
    return fd
