"""Backend ``udp``: packets ride in UDP datagrams, carried by a process of podway's own through TUN.

+----------+-----+------------------+
| outer IP | UDP | the pod's packet |     flannel's wire format: nothing else, IPv4 in IPv4
+----------+-----+------------------+
"""

from podway.compute.plans import PeerPlan
from podway.model.addresses import Family
from podway.model.kernel import KernelObject
from podway.model.networks import Network
from podway.model.nodes import BackendData, Identity, Node, Uplink


def overhead(family: Family) -> int:
    """Return 28 for IPv4 and 48 for IPv6: outer IP and UDP headers."""
    return 28 if family is Family.IPV4 else 48


def publish(_network: Network, _identity: Identity, _family: Family) -> BackendData | None:
    """Return None: the public address says everything."""
    return None


def compute_node(_network: Network, _me: Node, _uplink: Uplink) -> tuple[KernelObject, ...]:
    """Return nothing yet."""
    return ()


def compute_peer(_network: Network, _me: Node, _uplink: Uplink, _peer: Node) -> PeerPlan:
    """Return nothing yet."""
    return PeerPlan()
