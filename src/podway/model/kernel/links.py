"""Network devices: their kinds, and the end of a veth pair that lives in a pod."""

from ipaddress import IPv4Address
from typing import TypeAlias

from msgspec import Struct

from podway.model.addresses import IPAddress, IPInterface
from podway.model.kernel.addresses import Neighbour
from podway.model.kernel.keys import Key
from podway.model.kernel.routes import Route

# Marks every device of ours (IFLA_IFALIAS); the rest of the alias says what the device is for.
ALIAS_PREFIX = "podway:"
# Tells a device of a process of ours that is WireGuard from any other of a process.
WIREGUARD_ALIAS = f"{ALIAS_PREFIX}wireguard"
# What is read as the alias of a device of ours whose maker was killed before it was done. How much
# of it there is nobody can tell, so it is made anew.
UNFINISHED_ALIAS = f"{ALIAS_PREFIX}unfinished"


class Bridge(Struct, frozen=True, tag=True):
    """A learning bridge, no spanning tree."""


class Vxlan(Struct, frozen=True, tag=True, kw_only=True):
    """A VXLAN tunnel end point (RFC 7348) with static neighbours and FDB entries.

    All fields but the MAC and MTU of its link are fixed at creation: the kernel refuses to change
    them, so a difference means that the device is made anew.

    Attributes:
        vni: 24 bits.
        local: outer source address.
        underlay: name of the device that the outer packets leave by.
        port: UDP port.
        gbp: packets carry a group policy (draft-smith-vxlan-group-policy).
        learning: the device learns from packets at which end point a MAC is.
    """

    vni: int
    local: IPAddress
    underlay: str
    port: int
    gbp: bool = False
    learning: bool = False


class Ipip(Struct, frozen=True, tag=True, kw_only=True):
    """A tunnel of IPv4 in IPv4 (RFC 2003) without a far end.

    The next hop of each route is the outer destination, `local` the outer source.
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
        gso_max_size: the largest packet, in bytes, that the pod makes in one go and others cut;
            None leaves it to the kernel.
    """

    netns: str
    ifname: str
    mac: str
    mtu: int
    addresses: tuple[IPInterface, ...]
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    gso_max_size: int | None = None


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


def link_key(name: str) -> Key:
    """Return the key of the device called *name*."""
    return Key("link", (name,))
