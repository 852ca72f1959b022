"""Backend ``host-gw``: no tunnel at all; each node is the gateway ("next hop") of its own pods.

    10.244.2.0/24 via 192.0.2.12 dev eth0

The next hop decides the MAC to which a frame goes, so the peer must be on this node's own link: a
router between the two has never heard of pod addresses and would drop the packet. A peer elsewhere
is therefore skipped, and the reason is shown, instead of a route that can only lose packets.
"""

from podway.compute.onlink import is_on_link
from podway.compute.plans import PeerPlan
from podway.model.addresses import Family
from podway.model.kernel import KernelObject, Route, default_metric
from podway.model.networks import Network
from podway.model.nodes import BackendData, Identity, Node, Uplink


def overhead(_family: Family) -> int:
    """Return 0: packets travel as they are."""
    return 0


def publish(_network: Network, _identity: Identity, _family: Family) -> BackendData | None:
    """Return None: the public address says everything."""
    return None


def compute_node(_network: Network, _me: Node, _uplink: Uplink) -> tuple[KernelObject, ...]:
    """Return nothing: without a tunnel there is no device."""
    return ()


def compute_peer(_network: Network, me: Node, uplink: Uplink, peer: Node) -> PeerPlan:
    """Return one route for each family in which both nodes have a lease."""
    objects: list[KernelObject] = []
    skipped: list[str] = []
    for lease in peer.leases:
        if me.lease(lease.family) is None:
            continue
        if not is_on_link(uplink, lease.public_ip):
            dev = uplink.of(lease.family).dev
            skipped.append(
                f"{lease.public_ip} of {peer.name} is on none of {dev}'s subnets: "
                "host-gw needs all nodes on one link; use the vxlan backend"
            )
            continue
        dev, metric = uplink.of(lease.family).dev, default_metric(lease.family)
        objects.append(Route(dst=lease.subnet, dev=dev, via=lease.public_ip, metric=metric))
    return PeerPlan(tuple(objects), tuple(skipped))
