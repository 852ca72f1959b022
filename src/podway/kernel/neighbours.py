"""Neighbours, proxies and FDB entries: from the model's values to RTM_NEWNEIGH fields and back.

Pure. One message serves all three: family AF_BRIDGE means an FDB entry, NTF_PROXY a proxy.
"""

from ipaddress import ip_address

from podway.model.kernel import FdbEntry, Key, Neighbour
from podway.netlink.constants import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    NTF_PROXY,
    NTF_SELF,
    NUD_PERMANENT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.netlink.neighbours import NeighbourMessage


def neighbour_fields(neighbour: Neighbour, index: int) -> "NeighbourMessage":
    """Return the fields of *neighbour* on the device with *index*."""
    fields: NeighbourMessage = {
        "family": AF_INET if neighbour.address.version == 4 else AF_INET6,
        "ifindex": index,
        "dst": neighbour.address.packed,
    }
    if neighbour.proxy:
        fields["flags"] = NTF_PROXY
    else:
        fields["lladdr"] = neighbour.mac
    return fields


def fdb_fields(entry: FdbEntry, index: int) -> "NeighbourMessage":
    """Return the fields of *entry* on the VTEP with *index*."""
    return {"ifindex": index, "lladdr": entry.mac, "dst": entry.dst.packed}


def fdb_identity(entry: FdbEntry, index: int) -> "NeighbourMessage":
    """Return the fields by which the kernel tells *entry* from others: wherever it leads to."""
    return {"ifindex": index, "lladdr": entry.mac}


def parse_neighbour(message: "NeighbourMessage", dev: str) -> Neighbour | FdbEntry | None:
    """Return the permanent entry on *dev* that *message* describes; None for any other.

    What the kernel learned, or somebody wrote for a while, is not what podway writes: to podway
    there is nothing.
    """
    dst = message.get("dst")
    if dst is None:
        return None
    if message["family"] != AF_BRIDGE and message["flags"] & NTF_PROXY:
        return Neighbour(dev, ip_address(dst), proxy=True)
    mac = message.get("lladdr", "")
    if not message["state"] & NUD_PERMANENT:
        return None
    if message["family"] == AF_BRIDGE:
        return FdbEntry(dev, mac, ip_address(dst)) if message["flags"] & NTF_SELF else None
    return Neighbour(dev, ip_address(dst), mac)


def parse_neighbour_key(message: "NeighbourMessage", dev: str) -> Key | None:
    """Return the key of what *message* describes, permanent or not; None for no entry of ours."""
    dst = message.get("dst")
    if message["family"] == AF_BRIDGE:
        mac = message.get("lladdr", "")
        return Key("fdb", (dev, mac)) if message["flags"] & NTF_SELF and dst is not None else None
    if dst is None:
        return None
    kind = "proxy" if message["flags"] & NTF_PROXY else "neighbour"
    return Key(kind, (dev, str(ip_address(dst))))
