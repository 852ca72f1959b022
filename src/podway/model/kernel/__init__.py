"""What a kernel should hold: links, addresses, routes, neighbours, tunnels, rules, sysctls, nft.

Every object is a frozen value with a `key`: what the *kernel* takes for its identity (`keys`).
Devices are named, not numbered: numbers belong to one kernel at one moment and are looked up where
the object is written (`podway.kernel`).

A field that is None is not ours to decide: it is neither written nor compared.

All names are imported from here; `states` says what belongs to a state.
"""

from podway.model.kernel.addresses import Address, FdbEntry, Neighbour
from podway.model.kernel.keys import Key
from podway.model.kernel.links import (
    ALIAS_PREFIX,
    UNFINISHED_ALIAS,
    WIREGUARD_ALIAS,
    Bridge,
    Ipip,
    Link,
    LinkKind,
    PodSide,
    Tun,
    Veth,
    Vxlan,
    Wireguard,
    link_key,
)
from podway.model.kernel.routes import (
    MAIN_TABLE,
    ROUTE_PROTOCOL,
    NextHop,
    Route,
    Rule,
    default_metric,
)
from podway.model.kernel.settings import NftTable, Offload, Sysctl
from podway.model.kernel.states import KernelObject, KernelState, by_key
from podway.model.kernel.tunnels import (
    AllowedIp,
    UdpPeer,
    UdpRelay,
    WireguardDevice,
    WireguardPeer,
)

__all__ = [
    "ALIAS_PREFIX",
    "MAIN_TABLE",
    "ROUTE_PROTOCOL",
    "UNFINISHED_ALIAS",
    "WIREGUARD_ALIAS",
    "Address",
    "AllowedIp",
    "Bridge",
    "FdbEntry",
    "Ipip",
    "KernelObject",
    "KernelState",
    "Key",
    "Link",
    "LinkKind",
    "Neighbour",
    "NextHop",
    "NftTable",
    "Offload",
    "PodSide",
    "Route",
    "Rule",
    "Sysctl",
    "Tun",
    "UdpPeer",
    "UdpRelay",
    "Veth",
    "Vxlan",
    "Wireguard",
    "WireguardDevice",
    "WireguardPeer",
    "by_key",
    "default_metric",
    "link_key",
]
