"""Where a node stands, as its operator wants it: pure."""

from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from podway.agent.settings import Settings
from podway.compute.mtu import interface_mtu
from podway.compute.node import Place
from podway.model.networks import Network
from podway.model.nodes import Node, Uplink


def place_of(
    settings: Settings,
    network: Network,
    me: Node,
    uplink: Uplink,
    *,
    bridged: bool,
    bridged_mtus: AbstractSet[int] = frozenset(),
) -> Place:
    """Return the place of node *me*.

    Args:
        settings: of its operator.
        network: the cluster's.
        me: as its peers know it.
        uplink: by which it reaches them.
        bridged: some of its pods are on the bridge.
        bridged_mtus: of those pods' interfaces.
    """
    if settings.masquerade != "auto":
        network = replace(network, masquerade=settings.masquerade == "on")
    wants_bridge = network.attach == "bridge" and not settings.foreign_pods
    place = Place(
        network=network,
        me=me,
        uplink=uplink,
        bridge=wants_bridge or bridged,
        foreign_pods=settings.foreign_pods,
        refuse_unassigned=settings.refuse_unassigned,
        forward=not settings.no_forward_rules,
    )
    smallest = min(bridged_mtus, default=0)
    if smallest in {0, interface_mtu(place.mtus)}:
        return place  # as the way out says: a first pod changes nothing
    return replace(place, bridge_mtu=smallest)
