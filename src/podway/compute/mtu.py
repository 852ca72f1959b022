"""How large a packet may be: per family and per way, in bytes.

An interface of a pod has one MTU but two families may differ (VXLAN costs 50 bytes over IPv4 and 70
over IPv6). The interface takes the larger one, and the routes of the other family carry theirs.

The way out may become narrower or wider under pods that live. What is in a pod is not changed, and
nothing may be lost without a word all the same. To packets that leave their node its kernel, as a
router, says how large they may be. A bridge says nothing: a frame too large for a port is dropped.
So all ports of a bridge have one MTU, that of the pods which are there already, and so has the
bridge, whose router then speaks for all of them; routes of new pods carry what the way out takes.
"""

from collections.abc import Callable

from podway.model.addresses import Family
from podway.model.networks import MIN_MTU_IPV6, Network
from podway.model.nodes import Uplink


def underlay_mtu(network: Network, uplink: Uplink, family: Family) -> int:
    """Return the MTU between nodes in *family*: as configured, else the uplink's."""
    configured = getattr(network.backend, "mtu", 0)
    own = uplink.of(family).mtu
    return min(configured, own) if configured else own


def path_mtus(
    network: Network, uplink: Uplink, overhead: Callable[[Family], int]
) -> dict[Family, int]:
    """Return, for each family of the network, the largest packet that reaches other nodes' pods."""
    return {
        family: underlay_mtu(network, uplink, family) - overhead(family)
        for family in network.families
    }


def interface_mtu(paths: dict[Family, int]) -> int:
    """Return the MTU of a pod's interface: the largest of its families'."""
    return max(paths.values())


def too_small(paths: dict[Family, int]) -> str | None:
    """Return why IPv6 cannot work over such paths (RFC 8200, section 5), or None where it can."""
    mtu = paths.get(Family.IPV6)
    if mtu is None or mtu >= MIN_MTU_IPV6:
        return None
    return (
        f"IPv6 needs links of at least {MIN_MTU_IPV6} bytes, and {mtu} remain for pods: "
        f"raise the underlay's MTU by {MIN_MTU_IPV6 - mtu} bytes"
    )
