"""Backend ``ipip``: a packet rides in another IPv4 packet, and nothing else is added (RFC 2003).

    +---------------+------------------+
    | outer IP (20) | the pod's packet |
    |  me -> peer   |                  |
    +---------------+------------------+

One device, ``podway.ipip``, that has no far end of its own: the kernel takes the next hop of the
route for the outer destination, so a peer is one route and nothing else:

    10.244.2.0/24 via 192.0.2.12 dev podway.ipip onlink

The smallest header of all tunnels, and the network between the nodes must let IP protocol 4 pass:
many clouds' filters know TCP, UDP and ICMP only. Nothing is encrypted.

IPv4 alone. IPv6's own such tunnel (RFC 2473) would need the same route, and the kernel refuses an
IPv6 next hop that another device's prefix covers, be it declared on link or not
(net/ipv6/route.c, ip6_route_check_nh_onlink): every peer on the node's own subnet.
"""

from ipaddress import IPv4Address

from podway.compute.mtu import underlay_mtu
from podway.compute.onlink import is_on_link
from podway.compute.plans import PeerPlan
from podway.compute.uplinks import local_address
from podway.model.addresses import Family, host_interface
from podway.model.kernel import (
    ALIAS_PREFIX,
    Address,
    Ipip,
    KernelObject,
    Link,
    Route,
)
from podway.model.networks import IpipConfig, Network
from podway.model.nodes import BackendData, Identity, Lease, Node, Uplink

DEVICE = "podway.ipip"
_OUTER_BYTES = 20


def overhead(_family: Family) -> int:
    """Return 20: the outer header."""
    return _OUTER_BYTES


def publish(_network: Network, _identity: Identity, _family: Family) -> BackendData | None:
    """Return None: the public address says everything."""
    return None


def compute_node(network: Network, me: Node, uplink: Uplink) -> tuple[KernelObject, ...]:
    """Return the tunnel with its address; nothing here depends on peers."""
    lease = me.lease(Family.IPV4)
    if lease is None:
        return ()
    local = local_address(uplink, lease.public_ip)
    assert isinstance(local, IPv4Address)
    link = Link(
        name=DEVICE,
        kind=Ipip(local=local),
        mtu=underlay_mtu(network, uplink, Family.IPV4) - _OUTER_BYTES,
        alias=f"{ALIAS_PREFIX}ipip",
    )
    return (link, Address(DEVICE, host_interface(lease.subnet.network_address)))


def compute_peer(network: Network, me: Node, uplink: Uplink, peer: Node) -> PeerPlan:
    """Return one route; nothing where one of the nodes has no lease in IPv4."""
    lease = peer.lease(Family.IPV4)
    if lease is None or me.lease(Family.IPV4) is None:
        return PeerPlan()
    return PeerPlan((_route(network, lease, uplink),))


def _route(network: Network, lease: Lease, uplink: Uplink) -> Route:
    assert isinstance(network.backend, IpipConfig)
    direct = network.backend.direct_routing and is_on_link(uplink, lease.public_ip)
    return Route(
        dst=lease.subnet,
        dev=uplink.dev if direct else DEVICE,
        via=lease.public_ip,
        onlink=not direct,
    )
