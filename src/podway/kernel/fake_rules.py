"""The kernel's own rules about its objects, one function each, for the kernel in memory. Pure.

What outlives its device going down, what goes without a word, which tunnels cannot be told apart,
and which names the kernel takes.
"""

import errno as errnos

from podway.kernel.fake_sysctls import Refused
from podway.model.addresses import Family, family_of
from podway.model.kernel import (
    Address,
    AllowedIp,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    NftTable,
    Route,
    UdpPeer,
    UdpRelay,
    Vxlan,
    WireguardDevice,
    WireguardPeer,
)

_IFNAMSIZ = 15


def survives_down(item: KernelObject) -> bool:
    """Tell whether *item* outlives its device going down: what IPv4 and the drivers keep does."""
    if isinstance(item, Address):
        return family_of(item.address) is Family.IPV4
    kept = FdbEntry | WireguardDevice | WireguardPeer | AllowedIp | UdpRelay | UdpPeer
    return isinstance(item, kept)


def goes_silently(item: KernelObject) -> bool:
    """Tell whether the kernel takes *item* away with its device without a notification."""
    if isinstance(item, Route):
        return family_of(item.dst) is Family.IPV4
    return isinstance(item, Neighbour) and item.proxy


def is_same_subnet(one: Address, other: Address) -> bool:
    """Tell whether the second of two addresses is a secondary (IPv4; IPv6 has none)."""
    if family_of(one.address) is Family.IPV6:
        return one == other
    return one.address.network == other.address.network


def is_same_tunnel(one: Vxlan, other: Vxlan) -> bool:
    """Tell whether the kernel could not tell two tunnels' packets apart (vxlan_vni_in_use)."""
    return (one.vni, one.port, one.gbp, family_of(one.local)) == (
        other.vni,
        other.port,
        other.gbp,
        family_of(other.local),
    )


def kind_word(link: Link) -> str:
    """Return the kernel's name of *link*'s kind."""
    return type(link.kind).__name__.lower()


def check_name(name: str) -> None:
    """Refuse what the kernel takes for no device name (dev_valid_name).

    Raises:
        Refused: ERANGE when it is too long, EINVAL for a character that must not be in it.
    """
    if len(name.encode()) > _IFNAMSIZ:
        raise Refused(errnos.ERANGE, f"{name} is longer than 15 bytes")
    if not name or name in {".", ".."} or any(c in "/:" or c.isspace() for c in name):
        raise Refused(errnos.EINVAL, f"{name!r} is no device name")


def check_table(table: NftTable) -> None:
    """Refuse a body that cannot be right; whether it is, only nft can say.

    Raises:
        Refused: EINVAL.
    """
    if table.body.count("{") != table.body.count("}"):
        raise Refused(errnos.EINVAL, f"the braces of table {table.name} do not match")
