"""Ways to carry packets between nodes; one short file each, all with the same four functions.

`overhead` says what the way costs in bytes, `publish` what peers must know of this node,
`compute_node` what the node holds whoever its peers are, `compute_peer` what one peer adds. The
node's whole state is the union: a change of one peer never touches another's part.
"""

from collections.abc import Mapping
from typing import Protocol

from podway.compute.backends import alloc, extension, host_gw, ipip, udp, vxlan, wireguard
from podway.compute.plans import PeerPlan
from podway.model.addresses import Family
from podway.model.kernel import KernelObject
from podway.model.networks import (
    AllocConfig,
    BackendConfig,
    ExtensionConfig,
    HostGwConfig,
    IpipConfig,
    Network,
    UdpConfig,
    VxlanConfig,
    WireguardConfig,
)
from podway.model.nodes import BackendData, Identity, Node, Uplink


class Backend(Protocol):
    """What every backend module offers."""

    def overhead(self, family: Family) -> int:
        """Return the bytes that the outer headers take from each packet of *family*."""
        ...

    def publish(self, network: Network, identity: Identity, family: Family) -> BackendData | None:
        """Return what peers must know of the node *identity* beside its address."""
        ...

    def compute_node(self, network: Network, me: Node, uplink: Uplink) -> tuple[KernelObject, ...]:
        """Return what node *me* holds whatever its peers are."""
        ...

    def compute_peer(self, network: Network, me: Node, uplink: Uplink, peer: Node) -> PeerPlan:
        """Return what node *me* holds to reach the pods of *peer*."""
        ...


def backend_of(network: Network) -> Backend:
    """Return the backend that *network* is configured with."""
    return _BACKENDS[type(network.backend)]


_BACKENDS: Mapping[type[BackendConfig], Backend] = {
    VxlanConfig: vxlan,
    HostGwConfig: host_gw,
    UdpConfig: udp,
    IpipConfig: ipip,
    WireguardConfig: wireguard,
    ExtensionConfig: extension,
    AllocConfig: alloc,
}
