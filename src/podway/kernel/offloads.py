"""Whether a device computes the checksums of what it sends: read and written by ioctl.

In: a socket of the right namespace, a device's name. Out: whether TCP and UDP checksums are left
to the device (ethtool calls it tx-checksumming), None where there is no such device. With them go
segmentation offloads, which cannot do without: the kernel switches those as well.

Sources: include/uapi/linux/ethtool.h, net/ethtool/ioctl.c (ethtool_get_one_feature).
"""

import errno
from array import array
from fcntl import ioctl
from struct import Struct

_SIOCETHTOOL = 0x8946
_ETHTOOL_GTXCSUM = 0x16
_ETHTOOL_STXCSUM = 0x17
# struct ifreq: the name, a pointer to struct ethtool_value, and what other ioctls need.
_IFREQ = Struct("16sP16x")


def read_tx_checksum(fd: int, dev: str) -> bool | None:
    """Return whether *dev* computes checksums; None when there is no such device.

    Raises:
        OSError: as the kernel gives it; EOPNOTSUPP for a device that knows no such thing.
    """
    try:
        return bool(_ask(fd, dev, _ETHTOOL_GTXCSUM))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def write_tx_checksum(fd: int, dev: str, *, on: bool) -> None:
    """Have *dev* compute checksums, or have the kernel do so. Raises `OSError`."""
    _ask(fd, dev, _ETHTOOL_STXCSUM, int(on))


def _ask(fd: int, dev: str, command: int, data: int = 0) -> int:
    value = array("I", (command, data))
    ioctl(fd, _SIOCETHTOOL, _IFREQ.pack(dev.encode(), value.buffer_info()[0]))
    return value[1]
