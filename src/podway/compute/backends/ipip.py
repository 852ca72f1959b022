"""Backend ``ipip``: a packet rides in another packet of its own family (RFC 2003, RFC 2473).

    +-------------------+------------------+
    | outer IP (20, 40) | the pod's packet |
    |  me -> peer       |                  |
    +-------------------+------------------+

One device per family, ``podway.ipip``, has no far end of its own: the kernel takes the next hop of
the route for the outer destination, so a peer is one route and nothing else:

    10.244.2.0/24 via 192.0.2.12 dev podway.ipip onlink

The smallest header of all tunnels, and the network between the nodes must let IP protocol 4 (or 41
for IPv6) pass: many clouds' filters know TCP, UDP and ICMP only. Nothing is encrypted.
"""

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
    default_metric,
)
from podway.model.networks import IpipConfig, Network
from podway.model.nodes import BackendData, Identity, Lease, Node, Uplink


def overhead(family: Family) -> int:
    """Return 20 for IPv4 and 40 for IPv6: the outer header."""
    return 20 if family is Family.IPV4 else 40


def device_name(family: Family) -> str:
    """Return the tunnel's name."""
    return "podway.ipip" if family is Family.IPV4 else "podway-v6.ipip"


def publish(_network: Network, _identity: Identity, _family: Family) -> BackendData | None:
    """Return None: the public address says everything."""
    return None


def compute_node(network: Network, me: Node, uplink: Uplink) -> tuple[KernelObject, ...]:
    """Return the tunnel of each family with its address; nothing here depends on peers."""
    return tuple(item for lease in me.leases for item in _tunnel(network, lease, uplink))


def compute_peer(network: Network, me: Node, uplink: Uplink, peer: Node) -> PeerPlan:
    """Return one route for each family in which both nodes have a lease."""
    return PeerPlan(
        tuple(
            _route(network, lease, uplink)
            for lease in peer.leases
            if me.lease(lease.family) is not None
        )
    )


def _tunnel(network: Network, lease: Lease, uplink: Uplink) -> tuple[KernelObject, ...]:
    dev = device_name(lease.family)
    link = Link(
        name=dev,
        kind=Ipip(local=local_address(uplink, lease.public_ip)),
        mtu=underlay_mtu(network, uplink) - overhead(lease.family),
        alias=f"{ALIAS_PREFIX}ipip",
    )
    return (link, Address(dev, host_interface(lease.subnet.network_address)))


def _route(network: Network, lease: Lease, uplink: Uplink) -> Route:
    assert isinstance(network.backend, IpipConfig)
    direct = network.backend.direct_routing and is_on_link(uplink, lease.public_ip)
    return Route(
        dst=lease.subnet,
        dev=uplink.dev if direct else device_name(lease.family),
        via=lease.public_ip,
        onlink=not direct,
        metric=default_metric(lease.family),
    )
