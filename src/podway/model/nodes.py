"""What nodes tell each other through the store: names, leases, tunnel end points."""

from typing import TypeAlias

from msgspec import Struct

from podway.model.addresses import Family, IPAddress, IPInterface, IPNetwork, family_of


class VtepData(Struct, frozen=True, kw_only=True, tag="vxlan"):
    """What a peer must know of a VXLAN tunnel end point beside its address."""

    vni: int
    mac: str


class WireguardData(Struct, frozen=True, kw_only=True, tag="wireguard"):
    """What a peer must know of a WireGuard device beside its address.

    Attributes:
        public_key: 32 bytes in base64.
        port: on which it listens; 0: the reader's own port, as flannel has it.
    """

    public_key: str
    port: int = 0


class UdpData(Struct, frozen=True, kw_only=True, tag="udp"):
    """What a node can do beyond flannel's wire format; a flanneld publishes nothing.

    Attributes:
        formats: names of the wire formats that it takes beside bare IPv4 packets.
        port: on which it listens; 0: the reader's own port.
    """

    formats: tuple[str, ...] = ()
    port: int = 0


class ExtensionData(Struct, frozen=True, kw_only=True, tag="extension"):
    """What the operator's own program printed before the lease was claimed."""

    text: str


BackendData: TypeAlias = VtepData | WireguardData | UdpData | ExtensionData


class Identity(Struct, frozen=True, kw_only=True):
    """What only this node knows of itself and a backend publishes for it.

    Attributes:
        name: the node's name.
        wireguard_key: its public key, "" while there is none.
        extension: what the operator's program printed, None while it has not run.
        macs: of its VTEPs, where peers know them already (family, MAC).
    """

    name: str
    wireguard_key: str = ""
    extension: str | None = None
    macs: tuple[tuple[Family, str], ...] = ()


class Lease(Struct, frozen=True, kw_only=True):
    """One family of a node: the subnet that it leases and where it can be reached.

    Attributes:
        subnet: every pod address of the node in this family lies in it.
        public_ip: address of the node on the underlay, same family.
        data: what the backend publishes; None where the address says it all (host-gw).
    """

    subnet: IPNetwork
    public_ip: IPAddress
    data: BackendData | None = None

    @property
    def family(self) -> Family:
        """Family of the lease."""
        return family_of(self.subnet)


class Node(Struct, frozen=True, kw_only=True):
    """A node of the cluster as every other node sees it.

    Renewing a lease does not change the value: when it expires is the store's own knowledge, so
    that a renewal is no event for the peers.
    """

    name: str
    backend: str
    leases: tuple[Lease, ...]

    def lease(self, family: Family) -> Lease | None:
        """Return the lease of *family*, or None where the node has none."""
        return next((lease for lease in self.leases if lease.family is family), None)


class Wish(Struct, frozen=True, kw_only=True):
    """One family of a claim: where the node is, and the subnet that it would like to have.

    Attributes:
        family: of all of it.
        public_ip: address of the node on the underlay.
        data: what the backend publishes.
        subnet: that it had, or would like to have.
        leave: it has that subnet, in a prefix that is being drained, and no pod in it: another
            will do.
    """

    family: Family
    public_ip: IPAddress
    data: BackendData | None = None
    subnet: IPNetwork | None = None
    leave: bool = False


class Claim(Struct, frozen=True, kw_only=True):
    """A node asks for its subnets, all families or none.

    Attributes:
        name: the node's name, the identity of its lease.
        backend: name of its backend.
        wishes: one for each family of the network.
        ttl_s: seconds until the lease ends unless renewed; 0 reserves it for good.
    """

    name: str
    backend: str
    wishes: tuple[Wish, ...]
    ttl_s: int = 86400


class Uplink(Struct, frozen=True, kw_only=True):
    """The interface by which this node reaches its peers, as the kernel has it now.

    Attributes:
        dev: its name.
        mtu: bytes.
        addresses: its addresses with their prefix lengths, in the kernel's order.
        ipv6: the node's kernel has IPv6 at all (it may be started without).
        ipv6_by: the interface for IPv6, where that is another one than this.
    """

    dev: str
    mtu: int
    addresses: tuple[IPInterface, ...] = ()
    ipv6: bool = True
    ipv6_by: "Uplink | None" = None

    def of(self, family: Family) -> "Uplink":
        """Return the interface by which peers are reached in *family*."""
        return self.ipv6_by if family is Family.IPV6 and self.ipv6_by is not None else self

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the one or two interfaces."""
        return (self.dev,) if self.ipv6_by is None else (self.dev, self.ipv6_by.dev)


class UplinkChoice(Struct, frozen=True, kw_only=True):
    """Which interface leads to the peers, in flannel's order: the first rule that finds one counts.

    Attributes:
        names: devices, or addresses that a device has.
        patterns: regular expressions for an address, or else for a device's name.
        reach: the device by which this address is reached.
    """

    names: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    reach: IPAddress | None = None

    def __bool__(self) -> bool:
        return bool(self.names or self.patterns or self.reach)

    def __str__(self) -> str:
        words = [f"device {' or '.join(self.names)}"] if self.names else []
        words += [f"interface that matches {pattern}" for pattern in self.patterns]
        words += [f"way to {self.reach}"] if self.reach else []
        return ", no ".join(words) or "default route"
