"""Backend ``udp``: packets ride in UDP datagrams, carried by a process of podway's own through TUN.

    +----------+-----+------------------+
    | outer IP | UDP | the pod's packet |     flannel's wire format: nothing else
    +----------+-----+------------------+

It works wherever nodes exchange UDP and needs no tunnel in the kernel. One route leads each prefix
of the network into the device ``podway0``; behind it a relay (`podway.udp`) decides by its own
table to which node a packet goes. So a peer costs no kernel object, but one entry of that table:

    10.244.0.0/16 dev podway0 scope link                    (route, for all peers)
    10.244.2.0/24 at 192.0.2.12:8285 segments               (the relay's entry)

A podway node publishes that it also takes packets of up to 64 KiB in segments, which is what makes
the tunnel fast (docs/design/udp.md). A flanneld publishes nothing, passes over what others publish,
and gets bare packets. IPv4 pods travel over IPv4 and IPv6 pods over IPv6; flannel has IPv4 only.
"""

from collections.abc import Mapping

from podway.compute.mtu import path_mtus
from podway.compute.plans import PeerPlan
from podway.model.addresses import Family, IPNetwork, family_of, host_interface
from podway.model.backends import UdpConfig
from podway.model.kernel import (
    ALIAS_PREFIX,
    Address,
    KernelObject,
    Link,
    Route,
    Sysctl,
    Tun,
    UdpPeer,
    UdpRelay,
    default_metric,
)
from podway.model.networks import Network
from podway.model.nodes import BackendData, Identity, Lease, Node, UdpData, Uplink
from podway.udp.cutting import SEND_BYTES_MAX

DEVICE = "podway0"
# The name of the format in `podway.udp.segments`; another one gets another name.
SEGMENTS = "segments"
# TCP's header with timestamps, which stands in each segment beside that of IP.
_TCP_BYTES = 32
_IP_BYTES = {Family.IPV4: 20, Family.IPV6: 40}
# include/linux/netdevice.h, GSO_LEGACY_MAX_SIZE: what a device has.
_GSO_MAX_SIZE = 65536


def overhead(family: Family) -> int:
    """Return 28 for IPv4 and 48 for IPv6: outer IP and UDP headers."""
    return 28 if family is Family.IPV4 else 48


def publish(_network: Network, _identity: Identity, _family: Family) -> BackendData | None:
    """Return which format this node takes beside bare packets; the port is everybody's."""
    return UdpData(formats=(SEGMENTS,))


def pod_gso_max_size(mtus: Mapping[Family, int]) -> int | None:
    """Return the largest packet that a pod may make in one go; None where any will do.

    The relay sends what it reads in one go if all its segments, each with its headers, are no more
    than `SEND_BYTES_MAX`, else in two. With an MTU of 1500 the kernel's 65536 bytes are one segment
    too many; so pods make packets that are below that.

    Args:
        mtus: the largest packet per family that reaches other nodes.
    """
    sizes = [
        (SEND_BYTES_MAX // mtu + 1) * (mtu - _IP_BYTES[family] - _TCP_BYTES)
        for family, mtu in mtus.items()
    ]
    size = min(sizes)
    return size if size < _GSO_MAX_SIZE else None


def compute_node(network: Network, me: Node, uplink: Uplink) -> tuple[KernelObject, ...]:
    """Return the device, its addresses, the route into it, and the relay behind it."""
    mtus = path_mtus(network, uplink, overhead)
    largest = max(mtus.values())
    link = Link(name=DEVICE, kind=Tun(), mtu=largest, alias=f"{ALIAS_PREFIX}udp")
    relay = UdpRelay(
        dev=DEVICE,
        port=_config(network).port,
        addresses=tuple(lease.public_ip for lease in me.leases),
        subnets=tuple(lease.subnet for lease in me.leases),
    )
    addresses = [
        Address(DEVICE, host_interface(lease.subnet.network_address)) for lease in me.leases
    ]
    routes = [
        _route(prefix, mtus[lease.family], largest)
        for lease in me.leases
        for prefix in network.prefixes(lease.family)
    ]
    return (link, relay, *addresses, *routes, *_sysctls(uplink))


def compute_peer(network: Network, me: Node, _uplink: Uplink, peer: Node) -> PeerPlan:
    """Return one entry of the relay's table for each family in which both nodes have a lease."""
    leases = [lease for lease in peer.leases if me.lease(lease.family) is not None]
    return PeerPlan(tuple(_peer(network, lease) for lease in leases))


def _config(network: Network) -> UdpConfig:
    assert isinstance(network.backend, UdpConfig)
    return network.backend


def _peer(network: Network, lease: Lease) -> UdpPeer:
    data = lease.data if isinstance(lease.data, UdpData) else UdpData()
    return UdpPeer(
        dev=DEVICE,
        prefix=lease.subnet,
        public_ip=lease.public_ip,
        port=data.port or _config(network).port,
        segments=SEGMENTS in data.formats,
    )


def _route(prefix: IPNetwork, mtu: int, largest: int) -> Route:
    """Return the route for all of *prefix*; the smaller family's carries its own MTU."""
    family = family_of(prefix)
    return Route(
        dst=prefix,
        dev=DEVICE,
        scope="link" if family is Family.IPV4 else "global",
        metric=default_metric(family),
        mtu=mtu if mtu < largest else 0,
    )


def _sysctls(uplink: Uplink) -> tuple[Sysctl, ...]:
    """Return what lets the relay's own ICMP errors in: they come from this node's address.

    (flannel's never arrive: the kernel takes them for forged.)
    """
    ours = Sysctl(f"ipv4/conf/{DEVICE}/accept_local", "1", DEVICE)
    if not uplink.ipv6:
        return (ours,)
    return (ours, Sysctl(f"ipv6/conf/{DEVICE}/accept_ra", "0", DEVICE))
