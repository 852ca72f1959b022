"""All that one node's kernel should hold, source by source.

The desired state is a union of parts, one per source: the node itself, each peer, each endpoint. A
part depends on its source and on the node's own `Place` and nothing else, so the work for one
change is the work for one part, whatever the size of the cluster.
"""

from msgspec import Struct
from msgspec.structs import replace

from podway.compute import endpoints, forwarding, mtu
from podway.compute.backends import backend_of, extension, udp
from podway.compute.plans import PeerPlan
from podway.model.addresses import Family, IPNetwork, prefix_contains
from podway.model.endpoints import Endpoint
from podway.model.kernel import KernelObject
from podway.model.networks import ExtensionConfig, Network, UdpConfig
from podway.model.nodes import Lease, Node, Uplink
from podway.model.programs import Program


class Place(Struct, frozen=True, kw_only=True):
    """Where this node stands: everything that all parts depend on.

    Attributes:
        network: the cluster's network.
        me: this node as its peers see it.
        uplink: the interface by which it reaches them.
        bridge: pods of this node use the bridge.
        foreign_pods: pods are attached by others, who have a bridge of their own, or none.
        refuse_unassigned: packets for addresses that no pod has are refused even so.
        forward: forwarded packets of the network are accepted.
        bridge_mtu: of the pods that are on the bridge already, in bytes, where that is another one
            than the way out has now; 0 where it is not.
    """

    network: Network
    me: Node
    uplink: Uplink
    bridge: bool
    foreign_pods: bool = False
    refuse_unassigned: bool = False
    forward: bool = True
    bridge_mtu: int = 0

    @property
    def subnets(self) -> dict[Family, IPNetwork]:
        """This node's subnet per family."""
        return {lease.family: lease.subnet for lease in self.me.leases}

    @property
    def mtus(self) -> dict[Family, int]:
        """The largest packet per family that reaches other nodes' pods, in bytes."""
        return mtu.path_mtus(self.network, self.uplink, backend_of(self.network).overhead)


def compute_own(place: Place) -> tuple[KernelObject, ...]:
    """Return what the node holds whatever its peers and pods are."""
    backend = backend_of(place.network)
    return (
        *backend.compute_node(place.network, place.me, place.uplink),
        *_compute_local(place),
        *forwarding.compute_forwarding(place.network, place.me, forward=place.forward),
    )


def _compute_local(place: Place) -> tuple[KernelObject, ...]:
    """Return what the node's own pods stand on, or what answers in their place."""
    if place.bridge:
        size = place.bridge_mtu or mtu.interface_mtu(place.mtus)
        return endpoints.compute_bridge(place.subnets, size, ipv6=place.uplink.ipv6)
    if place.foreign_pods and not place.refuse_unassigned:
        return ()
    return endpoints.compute_unassigned(place.subnets)


def compute_node_program(place: Place) -> Program | None:
    """Return what the operator's own programs do for the node itself."""
    if isinstance(place.network.backend, ExtensionConfig):
        return extension.compute_node_program(place.network, place.me)
    return None


def compute_peer(place: Place, peer: Node) -> PeerPlan:
    """Return what the node holds because of *peer*.

    A lease that cannot be true is skipped: a route to this node's own pods would be replaced, or
    packets taken away that are no pod's (a spoilt key may name the nodes' own prefix, or all).
    """
    if peer.backend != place.network.backend_name:
        ours = place.network.backend_name
        reason = f'{peer.name} uses backend "{peer.backend}", this network "{ours}"'
        return PeerPlan(skipped=(reason,))
    faults = {lease: _fault(place, peer, lease) for lease in peer.leases}
    sound = replace(peer, leases=tuple(lease for lease in peer.leases if not faults[lease]))
    plan = backend_of(place.network).compute_peer(place.network, place.me, place.uplink, sound)
    skipped = (*(text for text in faults.values() if text), *plan.skipped)
    return replace(plan, skipped=skipped)


def _fault(place: Place, peer: Node, lease: Lease) -> str:
    """Return why *lease* of *peer* cannot be true where this node stands; "" where it can."""
    own, prefixes = place.me.lease(lease.family), place.network.prefixes(lease.family)
    if own is None:
        return ""
    if not any(prefix_contains(prefix, lease.subnet) for prefix in prefixes):
        listed = ", ".join(map(str, prefixes))
        return f"{lease.subnet} of {peer.name} lies outside of the network {listed}"
    if prefix_contains(own.subnet, lease.subnet) or prefix_contains(lease.subnet, own.subnet):
        return f"{lease.subnet} of {peer.name} overlaps this node's own {own.subnet}"
    if lease.public_ip == own.public_ip:
        return f"{peer.name} claims this node's own address {own.public_ip}"
    if (
        lease.public_ip.is_multicast
        or lease.public_ip.is_unspecified
        or lease.public_ip.is_loopback
    ):
        return f"{peer.name} is at {lease.public_ip}, which is no address of one other machine"
    return ""


def compute_endpoint(place: Place, endpoint: Endpoint) -> tuple[KernelObject, ...]:
    """Return what the node holds because of *endpoint*."""
    is_udp = isinstance(place.network.backend, UdpConfig)
    gso_max_size = udp.pod_gso_max_size(place.mtus) if is_udp else None
    return endpoints.compute_endpoint(endpoint, place.subnets, place.mtus, gso_max_size)
