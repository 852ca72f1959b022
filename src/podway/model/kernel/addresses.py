"""Addresses: a device's own, and those beyond it that are known beforehand.

An `Address` is the device's own. A `Neighbour` says which MAC has an IP address on the same link, a
`FdbEntry` behind which tunnel end point a MAC is.
"""

from msgspec import Struct

from podway.model.addresses import IPAddress, IPInterface
from podway.model.kernel.keys import Key


class Address(Struct, frozen=True):
    """An address on a device. Key: device, address and prefix length.

    Attributes:
        dev: the device.
        address: address and prefix length.
        scope: "global", or "host" for one that no packet is sent from unless its sender asks for it
            (IPv4 only; IPv6 tells scopes by the address).
    """

    dev: str
    address: IPInterface
    scope: str = "global"

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("address", (self.dev, str(self.address)))


class Neighbour(Struct, frozen=True):
    """A permanent neighbour (ARP or NDP) entry. Key: device and address.

    `proxy` entries answer for the address instead of resolving it and carry no MAC ("").
    """

    dev: str
    address: IPAddress
    mac: str = ""
    proxy: bool = False

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("proxy" if self.proxy else "neighbour", (self.dev, str(self.address)))


class FdbEntry(Struct, frozen=True):
    """A permanent entry of a VXLAN device: frames for *mac* go to *dst*. Key: device, MAC."""

    dev: str
    mac: str
    dst: IPAddress

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("fdb", (self.dev, self.mac))
