"""What is replaced as a whole: sysctls, offloads, tables of nftables."""

from msgspec import Struct

from podway.model.kernel.keys import Key


class Sysctl(Struct, frozen=True):
    """One value under /proc/sys/net. Key: its path, slash-separated (``ipv4/ip_forward``).

    The path is kept as its components' text because a device name may hold dots.

    Attributes:
        path: below /proc/sys/net.
        value: text as it is read, without the line's end.
        dev: the device that must exist for it to be there; "" without one.
    """

    path: str
    value: str
    dev: str = ""

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("sysctl", (self.path,))


class Offload(Struct, frozen=True):
    """Whether a device computes the checksums of what it sends. Key: device.

    Attributes:
        dev: the device.
        tx_checksum: it does; False leaves them to the CPU (``ethtool -K DEV tx off``).
    """

    dev: str
    tx_checksum: bool

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("offload", (self.dev,))


class NftTable(Struct, frozen=True):
    """A whole nftables table of ours, replaced in one transaction. Key: family and name.

    Attributes:
        family: "inet", "ip", "ip6", "netdev" or "bridge".
        name: the table's name.
        body: what stands between the table's braces, in nft's language.
    """

    family: str
    name: str
    body: str

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("nft", (self.family, self.name))
