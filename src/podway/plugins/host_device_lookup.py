"""Finds the device that a ``host-device`` configuration means.

In: `HostDeviceConf`, a netlink socket of the host. Out: the device as the kernel has it. What names
hardware leads through sysfs: a device's directory has a directory ``net`` with the names of its
network devices; a virtio device on the PCI bus has it one level further down.
"""

import posix
from errno import ENOENT, ENOTDIR

from podway.cni.errors import INVALID_CONFIG, CniError, broken_rule
from podway.netlink.links import dump_links
from podway.plugins.interfaces import find_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.socket import NetlinkSocket
    from podway.plugins.host_device_conf import HostDeviceConf

PCI_DEVICES: "Final" = "/sys/bus/pci/devices"
AUXILIARY_DEVICES: "Final" = "/sys/bus/auxiliary/devices"
# With these a device belongs to a program, which drives it without the kernel (DPDK).
USERSPACE_DRIVERS: "Final" = ("vfio-pci", "uio_pci_generic", "igb_uio")


def find_device(host: "NetlinkSocket", conf: "HostDeviceConf") -> "LinkMessage":
    """Return the device of the host that *conf* means.

    Raises:
        CniError: INVALID_CONFIG, there is none.
    """
    if conf.device:
        return _by_name(host, "device", conf.device, conf.device)
    if conf.mac:
        return _by_mac(host, conf.mac)
    if conf.kernel_path:
        name = _first_name(f"{conf.kernel_path}/net")
        return _by_name(host, "kernelpath", conf.kernel_path, name)
    return _by_name(host, conf.hardware_key, conf.hardware_id, _name_on_bus(conf.hardware_id))


def is_driven_by_program(conf: "HostDeviceConf") -> bool:
    """Tell whether the hardware has no network device because a program drives it.

    Raises:
        CniError: INVALID_CONFIG, there is no such hardware.
    """
    if not conf.hardware_id:
        return False
    path = f"{PCI_DEVICES}/{conf.hardware_id}"
    if not _exists(path):
        if _exists(f"{AUXILIARY_DEVICES}/{conf.hardware_id}"):
            return False
        rule = f"must be in {PCI_DEVICES} or {AUXILIARY_DEVICES}"
        raise broken_rule(conf.hardware_key, conf.hardware_id, rule)
    return driver_of(path) in USERSPACE_DRIVERS


def driver_of(path: str) -> str:
    """Return the name of the driver of the hardware at *path*, "" without one."""
    try:
        return posix.readlink(f"{path}/driver").rpartition("/")[2]
    except OSError as error:
        if error.errno == ENOENT:
            return ""
        raise


def is_on_pci(hardware_id: str) -> bool:
    """Tell whether hardware of that name is on the PCI bus."""
    return bool(hardware_id) and _exists(f"{PCI_DEVICES}/{hardware_id}")


def _by_name(host: "NetlinkSocket", field: str, value: str, name: str) -> "LinkMessage":
    link = find_link(host, name) if name else None
    if link is None:
        raise broken_rule(field, value, "must be a network device of the host that is there")
    return link


def _by_mac(host: "NetlinkSocket", mac: str) -> "LinkMessage":
    """Return the first device with that address, as the reference plugin does.

    VLANs share the address of their master, which is older and so comes first.
    """
    for link in host.dump(dump_links()):
        if link.get("address") == mac:
            return link
    raise CniError(INVALID_CONFIG, f"hwaddr = {mac!r}: must be the address of a device of the host")


def _name_on_bus(hardware_id: str) -> str:
    """Return the name of the network device that is the hardware, "" if it has none."""
    path = f"{PCI_DEVICES}/{hardware_id}"
    if not _exists(path):
        return _first_name(f"{AUXILIARY_DEVICES}/{hardware_id}/net")
    name = _first_name(f"{path}/net")
    if name:
        return name
    virtio = [each for each in _names(path) if each.startswith("virtio")]
    return _first_name(f"{path}/{virtio[0]}/net") if virtio else ""


def _first_name(directory: str) -> str:
    names = _names(directory)
    return names[0] if names else ""


def _names(directory: str) -> list[str]:
    """Return what is in a directory, sorted; nothing if it is not there."""
    try:
        return sorted(posix.listdir(directory))
    except OSError as error:
        if error.errno in {ENOENT, ENOTDIR}:
            return []
        raise


def _exists(path: str) -> bool:
    return posix.access(path, posix.F_OK)
