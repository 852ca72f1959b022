"""What tunnels are configured with beside their links: WireGuard's devices and the UDP relay's.

WireGuard's is in the kernel, or in a process where the kernel has none; the relay is a process of
podway's own. Both are compared and written as all else is: an object for each peer, one for each
prefix.
"""

from msgspec import Struct

from podway.model.addresses import IPAddress, IPNetwork
from podway.model.kernel.keys import Key
from podway.model.secret import Secret


class WireguardDevice(Struct, frozen=True, kw_only=True):
    """What a WireGuard device is on its own. Key: device.

    Attributes:
        dev: its name.
        public_key: says which private key it has; that one never leaves the node's kernel layer.
        listen_port: UDP port.
    """

    dev: str
    public_key: str
    listen_port: int

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("wireguard", (self.dev,))


class WireguardPeer(Struct, frozen=True, kw_only=True):
    """One peer of a WireGuard device. Key: device and public key.

    Attributes:
        dev: the device.
        public_key: 32 bytes in base64.
        endpoint: where it is. A peer that is heard from elsewhere is there, and counts as here.
        port: its UDP port.
        psk: what both know beside their keys.
        keepalive_s: seconds between packets that keep a NAT's mapping; 0: none.
    """

    dev: str
    public_key: str
    endpoint: IPAddress
    port: int
    psk: Secret = Secret("")
    keepalive_s: int = 0

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("wgpeer", (self.dev, self.public_key))


class AllowedIp(Struct, frozen=True):
    """Which peer of a WireGuard device has the addresses of a prefix. Key: device and prefix.

    It is the device's own routing table, both ways: packets to *prefix* go to the peer, and from
    nobody else may packets come with such a source.
    """

    dev: str
    prefix: IPNetwork
    public_key: str

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("allowedip", (self.dev, str(self.prefix)))


class UdpRelay(Struct, frozen=True, kw_only=True):
    """The process that carries packets between a TUN device and UDP. Key: device.

    Attributes:
        dev: the device.
        port: UDP port.
        addresses: of this node on the underlay, one per family at most.
        subnets: this node's own; what comes from a peer for anything else is refused.
    """

    dev: str
    port: int
    addresses: tuple[IPAddress, ...]
    subnets: tuple[IPNetwork, ...]

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("relay", (self.dev,))


class UdpPeer(Struct, frozen=True, kw_only=True):
    """To which node a relay sends the packets for a prefix. Key: device and prefix.

    Attributes:
        dev: the relay's device.
        prefix: pods there.
        public_ip: of the node.
        port: UDP port of its relay.
        segments: it takes podway's own format beside bare packets.
    """

    dev: str
    prefix: IPNetwork
    public_ip: IPAddress
    port: int
    segments: bool

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("udppeer", (self.dev, str(self.prefix)))
