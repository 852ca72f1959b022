"""The interface that a lease is for: found in its namespace, whenever it is needed.

In: the path of a namespace, or a descriptor that came with a call. Out: the interface's MAC address
and index; the interface up or down. Called by `client`. Why it is hard: the daemon must not keep a
namespace alive that its runtime has given up, so it keeps the path and not a descriptor; and later
the path may lead to another namespace, so it also keeps what distinguishes namespaces.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENODEV
from typing import Final

from podway.dhcp.errors import InterfaceError
from podway.dhcp.packets import MAC_BYTES
from podway.netlink import NetlinkError, NetlinkSocket, NetnsError, change_link, get_link, netns

# linux/if_arp.h and linux/if.h.
_ARPHRD_ETHER: Final = 1
_IFF_UP: Final = 1


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as it is now."""

    index: int
    mac: bytes
    is_up: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where an interface is.

    Attributes:
        path: of the namespace, as the daemon sees it.
        identity: device and inode of the namespace.
        ifname: of the interface.
    """

    path: str
    identity: tuple[int, int]
    ifname: str


class PlaceHolder:
    """Opens the namespace of a place; holds it open only where its path does not lead there.

    Args:
        place: where.
        descriptor: of the namespace, that came with a call; borrowed, not kept.
    """

    def __init__(self, place: Place, descriptor: int | None = None) -> None:
        self.place = place
        self._held = -1
        if descriptor is not None and not self._leads_there():
            self._held = os.dup(descriptor)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Give a descriptor of the namespace.

        Raises:
            InterfaceError: it is gone.
        """
        if self._held >= 0:
            yield self._held
            return
        descriptor = self._open()
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of what is held."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def _leads_there(self) -> bool:
        try:
            os.close(self._open())
        except InterfaceError:
            return False
        return True

    def _open(self) -> int:
        place = self.place
        try:
            descriptor = netns.open_netns(place.path)
        except NetnsError as error:
            raise InterfaceError(f"network namespace is gone: {error}", is_gone=True) from error
        if netns.identity(descriptor) != place.identity:
            os.close(descriptor)
            raise InterfaceError(f"at {place.path} is another network namespace", is_gone=True)
        return descriptor


def read_link(descriptor: int, ifname: str) -> Link:
    """Return interface *ifname* of the namespace at *descriptor*.

    Raises:
        InterfaceError: it is gone, or no Ethernet interface.
    """
    try:
        with NetlinkSocket(netns_fd=descriptor) as netlink:
            found = netlink.request(get_link({"ifname": ifname}))
    except NetlinkError as error:
        raise InterfaceError(str(error), is_gone=error.errno == ENODEV) from error
    except OSError as error:
        raise InterfaceError(f"interface {ifname} cannot be read: {error}") from error
    assert found is not None
    mac = bytes.fromhex(found.get("address", "").replace(":", ""))
    if found["type"] != _ARPHRD_ETHER or len(mac) != MAC_BYTES:
        raise InterfaceError(f"interface {ifname} is not Ethernet, which is what DHCP here knows")
    return Link(index=found["index"], mac=mac, is_up=bool(found["flags"] & _IFF_UP))


def set_link(descriptor: int, ifname: str, *, is_up: bool) -> None:
    """Bring interface *ifname* up or down.

    Raises:
        InterfaceError: the kernel refuses, or it is gone.
    """
    link = read_link(descriptor, ifname)
    if link.is_up == is_up:
        return
    flags = _IFF_UP if is_up else 0
    try:
        with NetlinkSocket(netns_fd=descriptor) as netlink:
            netlink.request(change_link({"index": link.index, "flags": flags, "change": _IFF_UP}))
    except (NetlinkError, OSError) as error:
        raise InterfaceError(f"interface {ifname} stays as it is: {error}") from error
