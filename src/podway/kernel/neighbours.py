"""Neighbours, proxies and FDB entries: from the model's values to RTM_NEWNEIGH fields and back.

Pure. One message serves all three: family AF_BRIDGE means an FDB entry, NTF_PROXY a proxy.
"""

from ipaddress import ip_address

from podway.model.kernel import FdbEntry, Neighbour
from podway.netlink.constants import AF_BRIDGE, AF_INET, AF_INET6, NTF_PROXY, NUD_PERMANENT

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


def parse_neighbour(message: "NeighbourMessage", dev: str) -> Neighbour | FdbEntry | None:
    """Return the entry on *dev* that *message* describes; None for what podway does not write.

    A neighbour that is not permanent is returned without a MAC: something is there, but not ours.
    """
    dst = message.get("dst")
    if dst is None:
        return None
    if message["family"] == AF_BRIDGE:
        return FdbEntry(dev, message.get("lladdr", ""), ip_address(dst))
    if message["flags"] & NTF_PROXY:
        return Neighbour(dev, ip_address(dst), proxy=True)
    permanent = message["state"] & NUD_PERMANENT
    return Neighbour(dev, ip_address(dst), message.get("lladdr", "") if permanent else "")
