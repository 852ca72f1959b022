"""Backend ``alloc``: subnets are leased and published, and nothing else is done.

For networks that know the way already: a cloud's route table, a router that reads the leases, BGP.
Pods of this node have their addresses, their bridge or routes and their masquerading as ever; what
leaves for another node's pods goes where the node's own routes send it.
"""

from podway.compute.plans import PeerPlan
from podway.model.addresses import Family
from podway.model.kernel import KernelObject
from podway.model.networks import Network
from podway.model.nodes import BackendData, Identity, Node, Uplink


def overhead(_family: Family) -> int:
    """Return 0: packets travel as they are."""
    return 0


def publish(_network: Network, _identity: Identity, _family: Family) -> BackendData | None:
    """Return None: the subnet and the public address are all that there is to tell."""
    return None


def compute_node(_network: Network, _me: Node, _uplink: Uplink) -> tuple[KernelObject, ...]:
    """Return nothing."""
    return ()


def compute_peer(_network: Network, _me: Node, _uplink: Uplink, _peer: Node) -> PeerPlan:
    """Return nothing."""
    return PeerPlan()
