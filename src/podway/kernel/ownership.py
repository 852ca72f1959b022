"""What in a kernel is ours: the marks that survive a crash of everything but the kernel."""

from collections.abc import Collection

from podway.model.instances import PODWAY, Marks
from podway.model.kernel import (
    Address,
    AllowedIp,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    NftTable,
    Route,
    Rule,
    UdpPeer,
    UdpRelay,
    WireguardDevice,
    WireguardPeer,
)


def is_our_link(link: Link, marks: Marks = PODWAY) -> bool:
    """Tell whether *link* bears our mark."""
    return link.alias.startswith(marks.alias)


def is_ours(item: KernelObject, our_devices: Collection[str], marks: Marks = PODWAY) -> bool:
    """Tell whether *item* is ours, given the names of the devices that are.

    Sysctls belong to nobody; what the kernel makes by itself must be left out before.
    """
    match item:
        case Link():
            return is_our_link(item, marks)
        case Address() | Neighbour() | FdbEntry():
            return item.dev in our_devices
        case WireguardDevice() | WireguardPeer() | AllowedIp() | UdpRelay() | UdpPeer():
            return item.dev in our_devices
        case Route() | Rule():
            return item.protocol == marks.protocol
        case NftTable():
            return item.name == marks.table
        case _:
            return False
