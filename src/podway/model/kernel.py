"""What a kernel should hold: links, addresses, routes, neighbours, tunnels, rules, sysctls, nft.

Every object is a frozen value with a `key`. Keys are what the *kernel* takes for identity (a second
route with the same table, prefix and metric replaces the first one), so that two states compare by
key and a difference is exactly what has to be written. Devices are named, not numbered: numbers
belong to one kernel at one moment and are looked up where the object is written (`podway.kernel`).

A field that is None is not ours to decide: it is neither written nor compared.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import TypeAlias

from msgspec import Struct

from podway.model.addresses import Family, IPAddress, IPInterface, IPNetwork, family_of
from podway.model.secret import Secret

# Marks every route and rule of ours (rtm_protocol, RTA_PROTOCOL). iproute2 names none of it.
ROUTE_PROTOCOL = 112
MAIN_TABLE = 254
# Marks every device of ours (IFLA_IFALIAS); the rest of the alias says what the device is for.
ALIAS_PREFIX = "podway:"
# Tells a device of a process of ours that is WireGuard from any other of a process.
WIREGUARD_ALIAS = f"{ALIAS_PREFIX}wireguard"
# What is read as the alias of a device of ours whose maker was killed before it was done. How much
# of it there is nobody can tell, so it is made anew.
UNFINISHED_ALIAS = f"{ALIAS_PREFIX}unfinished"


class Key(Struct, frozen=True, order=True):
    """What the kernel takes for the identity of one object."""

    kind: str
    parts: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"{self.kind} {' '.join(str(part) for part in self.parts if part != '')}"


class Bridge(Struct, frozen=True, tag=True):
    """A learning bridge, no spanning tree."""


class Vxlan(Struct, frozen=True, tag=True, kw_only=True):
    """A VXLAN tunnel end point (RFC 7348) with static neighbours and FDB entries.

    All fields but the MAC and MTU of its link are fixed at creation: the kernel refuses to change
    them, so a difference means that the device is made anew.
    """

    vni: int
    local: IPAddress
    underlay: str
    port: int
    gbp: bool = False
    learning: bool = False


class Ipip(Struct, frozen=True, tag=True, kw_only=True):
    """A tunnel of IPv4 in IPv4 (RFC 2003) without a far end.

    The next hop of each route is the outer destination.
    """

    local: IPv4Address


class Wireguard(Struct, frozen=True, tag=True):
    """A WireGuard device: the kernel's, or a process's where the kernel has none.

    What it is configured with are objects of their own (`WireguardDevice` and its kin).
    """


class Tun(Struct, frozen=True, tag=True):
    """A TUN device that stays, with a virtio-net header: what a user-space tunnel reads and writes.

    What is done with it are objects of their own (`UdpRelay`, `UdpPeer`).
    """


class PodSide(Struct, frozen=True, kw_only=True):
    """The end of a veth pair that lives in a pod: made together with its host end, never watched.

    Attributes:
        netns: path of the pod's network namespace.
        ifname: name of the interface inside the pod.
        mac: its address on the link.
        mtu: bytes.
        addresses: addresses with their prefix lengths.
        routes: routes inside the pod, in the order in which they must be written; `dev` is ifname.
        neighbours: static neighbours inside the pod.
    """

    netns: str
    ifname: str
    mac: str
    mtu: int
    addresses: tuple[IPInterface, ...]
    routes: "tuple[Route, ...]" = ()
    neighbours: "tuple[Neighbour, ...]" = ()


class Veth(Struct, frozen=True, tag=True):
    """The host end of a veth pair.

    `pod` says how to make the other end; it is None for a pair that was read from the kernel, and
    takes no part in comparisons.
    """

    pod: PodSide | None = None


LinkKind: TypeAlias = Bridge | Vxlan | Ipip | Wireguard | Tun | Veth


class Link(Struct, frozen=True, kw_only=True):
    """A network device. Key: its name.

    Attributes:
        name: at most 15 bytes.
        kind: what it is, with the parameters that are fixed at creation.
        mtu: bytes.
        mac: lower-case colon text.
        master: name of the bridge that it is a port of; "" for none.
        alias: starts with `ALIAS_PREFIX` for a device of ours.
        up: administratively up.
        hairpin: a bridge port may send a frame back where it came from.
    """

    name: str
    kind: LinkKind
    mtu: int | None = None
    mac: str | None = None
    master: str = ""
    alias: str = ALIAS_PREFIX
    up: bool = True
    hairpin: bool | None = None

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return link_key(self.name)

    @property
    def dev(self) -> str:
        """The device that must exist for this object to exist."""
        return self.name


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


class NextHop(Struct, frozen=True):
    """One way of a multipath route."""

    dev: str
    via: IPAddress | None = None
    weight: int = 1
    onlink: bool = False


class Route(Struct, frozen=True, kw_only=True):
    """A route. Key: family, table, prefix and metric, as in fib_trie and ip6_fib.

    Attributes:
        dst: destination prefix.
        dev: output device; "" with `nexthops` or for a blackhole.
        via: next hop, None for a directly connected prefix.
        onlink: take *via* as reachable on *dev* although no prefix says so.
        scope: "global" or "link" (IPv4 only; IPv6 has no scopes).
        kind: "unicast", "blackhole" or "unreachable".
        src: preferred source address.
        metric: priority; the kernel makes an IPv6 metric of 0 into 1024, so write 1024 there.
        mtu: bytes, for packets that take this route; 0 leaves it to the device.
        nexthops: two or more ways, instead of dev and via.
    """

    dst: IPNetwork
    dev: str = ""
    via: IPAddress | None = None
    onlink: bool = False
    scope: str = "global"
    kind: str = "unicast"
    src: IPAddress | None = None
    table: int = MAIN_TABLE
    metric: int = 0
    mtu: int = 0
    protocol: int = ROUTE_PROTOCOL
    nexthops: tuple[NextHop, ...] = ()

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("route", (int(family_of(self.dst)), self.table, str(self.dst), self.metric))


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


class Rule(Struct, frozen=True, kw_only=True):
    """A routing policy rule. Key: all of it, since the kernel allows many at one priority."""

    family: Family
    priority: int
    table: int
    src: IPNetwork | None = None
    dst: IPNetwork | None = None
    fwmark: int = 0
    fwmask: int = 0
    iif: str = ""
    protocol: int = ROUTE_PROTOCOL

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        parts = (int(self.family), self.priority, self.table, str(self.src or ""))
        return Key("rule", (*parts, str(self.dst or ""), self.fwmark, self.fwmask, self.iif))


class Sysctl(Struct, frozen=True):
    """One value under /proc/sys/net. Key: its path, slash-separated (``ipv4/ip_forward``).

    The path is kept as its components' text because a device name may hold dots.
    """

    path: str
    value: str
    dev: str = ""

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("sysctl", (self.path,))


class Offload(Struct, frozen=True):
    """Whether a device computes the checksums of what it sends. Key: device."""

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


KernelObject: TypeAlias = (
    Link
    | Address
    | Route
    | Neighbour
    | FdbEntry
    | WireguardDevice
    | WireguardPeer
    | AllowedIp
    | UdpRelay
    | UdpPeer
    | Rule
    | Sysctl
    | Offload
    | NftTable
)
KernelState: TypeAlias = Mapping[Key, KernelObject]


def link_key(name: str) -> Key:
    """Return the key of the device called *name*."""
    return Key("link", (name,))


def default_metric(family: Family) -> int:
    """Return the metric that the kernel gives a route that names none (net/ipv6: IP6_RT_PRIO_USER).

    Desired routes must name it, since it is part of a route's identity.
    """
    return 1024 if family is Family.IPV6 else 0


def by_key(*objects: KernelObject) -> dict[Key, KernelObject]:
    """Return *objects* as a state; the last one of a key wins."""
    return {item.key: item for item in objects}
