"""A state: all objects that a kernel holds or should hold, by their keys."""

from collections.abc import Mapping
from typing import TypeAlias

from podway.model.kernel.addresses import Address, FdbEntry, Neighbour
from podway.model.kernel.keys import Key
from podway.model.kernel.links import Link
from podway.model.kernel.routes import Route, Rule
from podway.model.kernel.settings import NftTable, Offload, Sysctl
from podway.model.kernel.tunnels import (
    AllowedIp,
    UdpPeer,
    UdpRelay,
    WireguardDevice,
    WireguardPeer,
)

KernelObject: TypeAlias = (
    Link
    | Address
    | Route
    | Neighbour
    | FdbEntry
    | WireguardDevice
    | WireguardPeer
    | AllowedIp
    | UdpRelay
    | UdpPeer
    | Rule
    | Sysctl
    | Offload
    | NftTable
)
KernelState: TypeAlias = Mapping[Key, KernelObject]


def by_key(*objects: KernelObject) -> dict[Key, KernelObject]:
    """Return *objects* as a state; the last one of a key wins."""
    return {item.key: item for item in objects}
