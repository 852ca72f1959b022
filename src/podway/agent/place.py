"""Where a node stands, as its operator wants it: pure."""

from msgspec.structs import replace

from podway.agent.settings import Settings
from podway.compute.node import Place
from podway.model.networks import Network
from podway.model.nodes import Node, Uplink


def place_of(
    settings: Settings, network: Network, me: Node, uplink: Uplink, *, bridged: bool
) -> Place:
    """Return the place of node *me*; *bridged*: some of its pods are on the bridge."""
    if settings.masquerade != "auto":
        network = replace(network, masquerade=settings.masquerade == "on")
    wants_bridge = network.attach == "bridge" and not settings.foreign_pods
    return Place(
        network=network,
        me=me,
        uplink=uplink,
        bridge=wants_bridge or bridged,
        foreign_pods=settings.foreign_pods,
        refuse_unassigned=settings.refuse_unassigned,
        forward=not settings.no_forward_rules,
    )
