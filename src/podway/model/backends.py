"""How pods of different nodes reach each other, as the operator configures it: one value per kind.

Names, keys and defaults are flannel's; `backend_keys` reads and writes them. What each kind does
with its values stands in `podway.compute.backends`, one file each.
"""

from typing import Literal, TypeAlias, get_args

from msgspec import Struct

from podway.model.programs import Command
from podway.model.secret import Secret

# drivers/net/vxlan: what the kernel takes when IFLA_VXLAN_PORT is absent, and so flannel's port.
KERNEL_VXLAN_PORT = 8472

WireguardMode: TypeAlias = Literal["separate", "auto", "ipv4", "ipv6"]


class VxlanConfig(Struct, frozen=True, kw_only=True, tag="vxlan", tag_field="Type"):
    """Backend ``vxlan``: an overlay that needs nothing of the network but UDP between nodes.

    Attributes:
        vni: VXLAN network identifier, 1 to 2^24-1.
        port: UDP port of every VTEP.
        mtu: of the underlay in bytes; 0 takes the uplink's.
        gbp: carry group policy marks (VXLAN-GBP).
        learning: let the kernel learn FDB entries; podway writes them all, so this stays off.
        direct_routing: plain routes, without the tunnel, to peers on the node's own subnet.
        checksum_offload: leave the checksums of the pods' packets to the network card; None
            leaves the device as the kernel makes it.
    """

    vni: int = 1
    port: int = KERNEL_VXLAN_PORT
    mtu: int = 0
    gbp: bool = False
    learning: bool = False
    direct_routing: bool = False
    checksum_offload: bool | None = None


class HostGwConfig(Struct, frozen=True, kw_only=True, tag="host-gw", tag_field="Type"):
    """Backend ``host-gw``: each node is the gateway of its pods; all nodes share one subnet."""


class UdpConfig(Struct, frozen=True, kw_only=True, tag="udp", tag_field="Type"):
    """Backend ``udp``: packets ride in UDP, carried by a process of podway's own through TUN.

    Attributes:
        port: UDP port of every node.
        mtu: of the underlay in bytes; 0 takes the uplink's.
    """

    port: int = 8285
    mtu: int = 0


class IpipConfig(Struct, frozen=True, kw_only=True, tag="ipip", tag_field="Type"):
    """Backend ``ipip``: IPv4 in IPv4 (RFC 2003), the smallest of the tunnels.

    Attributes:
        direct_routing: plain routes, without the tunnel, to peers on the node's own subnet.
        mtu: of the underlay in bytes; 0 takes the uplink's.
    """

    direct_routing: bool = False
    mtu: int = 0


class WireguardConfig(Struct, frozen=True, kw_only=True, tag="wireguard", tag_field="Type"):
    """Backend ``wireguard``: an encrypted overlay.

    Attributes:
        psk: secret that all nodes share beside their own keys, 32 bytes in base64; empty: none.
        listen_port: UDP port, of the IPv4 device where there are two.
        listen_port_v6: UDP port of the IPv6 device where there are two.
        mtu: of the underlay in bytes; 0 takes the uplink's.
        mode: "separate" has a device per family and carries each over itself; the others have one
            device and carry both over IPv4 ("ipv4"), IPv6 ("ipv6") or what fits each peer ("auto").
        keepalive_s: seconds between packets that keep a NAT's mapping; 0: none.
    """

    psk: Secret = Secret("")
    listen_port: int = 51820
    listen_port_v6: int = 51821
    mtu: int = 0
    mode: WireguardMode = "separate"
    keepalive_s: int = 0


class ExtensionConfig(Struct, frozen=True, kw_only=True, tag="extension", tag_field="Type"):
    """Backend ``extension``: the operator's own programs make peers reachable.

    Attributes:
        pre_startup: run before the lease is claimed; what it prints is what peers are told.
        post_startup: run once the lease is there.
        subnet_add: run for each peer that comes.
        subnet_remove: run for each peer that goes.
        shutdown: run when the node leaves the network.
    """

    pre_startup: Command = ()
    post_startup: Command = ()
    subnet_add: Command = ()
    subnet_remove: Command = ()
    shutdown: Command = ()


class AllocConfig(Struct, frozen=True, kw_only=True, tag="alloc", tag_field="Type"):
    """Backend ``alloc``: subnets are leased, and how packets get there is somebody else's."""


BackendConfig: TypeAlias = (
    VxlanConfig
    | HostGwConfig
    | UdpConfig
    | IpipConfig
    | WireguardConfig
    | ExtensionConfig
    | AllocConfig
)
BackendName: TypeAlias = Literal[
    "vxlan", "host-gw", "udp", "ipip", "wireguard", "extension", "alloc"
]
BACKEND_NAMES: tuple[BackendName, ...] = get_args(BackendName)
