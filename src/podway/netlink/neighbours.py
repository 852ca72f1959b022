"""Neighbours (ARP, NDP, proxies) and forwarding entries: RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH.

Both are one message, a `NeighbourMessage`: the fields of struct ndmsg and the NDA_* attributes::

    +---------------+-----------------------------------------------+
    |    family     |                     pad                       |
    +---------------+-----------------------------------------------+
    |                     ifindex                                   |
    +-------------------------------+---------------+---------------+
    |        state (NUD_*)          |flags (NTF_*)  |     type      |
    +-------------------------------+---------------+---------------+

A neighbour maps ``dst`` (an IP address) to ``lladdr``. A forwarding entry (family AF_BRIDGE) maps
``lladdr`` (a MAC) to a port: with NTF_SELF in the device itself, which for VXLAN means that frames
for that MAC go to the tunnel end point ``dst``; with NTF_MASTER in the bridge whose port it is.
``nda_ifindex`` is NDA_IFINDEX, the underlay device of a VXLAN entry, and not ``ifindex``.

Sources: include/uapi/linux/neighbour.h, net/core/neighbour.c, net/core/rtnetlink.c (rtnl_fdb_*),
drivers/net/vxlan/vxlan_core.c.
"""

from __future__ import annotations

from podway.netlink.attribute_types import ADDRESS, BE16, LLADDR, S32, U8, U16, U32, Record
from podway.netlink.attributes import AttributeSet
from podway.netlink.constants import (
    AF_BRIDGE,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NTF_PROXY,
    NTF_SELF,
    NUD_NOARP,
    NUD_PERMANENT,
    RTM_DELNEIGH,
    RTM_GETNEIGH,
    RTM_NEWNEIGH,
)
from podway.netlink.messages import Request, Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypedDict

    from podway.netlink.messages import NameOf

    class NeighbourMessage(TypedDict, total=False):
        """One neighbour, proxy or forwarding entry.

        Attributes:
            family: AF_INET or AF_INET6; AF_BRIDGE for a forwarding entry.
            ifindex: the device.
            state: NUD_*.
            flags: NTF_*.
            type: RTN_*, as the kernel says it of an address.
            dst: packed (4 or 16 bytes).
            lladdr: of the link layer, colon text.
            cacheinfo: ``confirmed``, ``used`` and ``updated``, how long ago in 1/100 s (USER_HZ);
                ``refcnt``, how many use the entry.
            probes: how often the address was asked for without an answer.
            vlan: of a forwarding entry of a bridge.
            port: UDP port of the tunnel end point, if it is not the device's.
            vni: of the tunnel's packets, if it is not the device's.
            nda_ifindex: device by which the tunnel's packets leave.
            master: the bridge whose port the device is.
            link_netnsid: number of the namespace that *nda_ifindex* is in.
            src_vni: of a device that carries many networks, the one that the entry is for.
            protocol: RTPROT_*, who wrote it.
            nh_id: number of a next hop object, instead of *dst*.
            flags_ext: NTF_EXT_*.
        """

        family: int
        ifindex: int
        state: int
        flags: int
        type: int
        dst: bytes
        lladdr: str
        cacheinfo: Mapping[str, int]
        probes: int
        vlan: int
        port: int
        vni: int
        nda_ifindex: int
        master: int
        link_netnsid: int
        src_vni: int
        protocol: int
        nh_id: int
        flags_ext: int


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    from podway.netlink.text import format_address  # noqa: PLC0415  # when something failed

    dst, lladdr = fields.get("dst"), fields.get("lladdr", "")
    if fields.get("family") == AF_BRIDGE:
        words = ["fdb", lladdr, f"dst {format_address(dst)}" if dst else ""]
    else:
        noun = "proxy" if fields.get("flags", 0) & NTF_PROXY else "neighbour"
        words = [noun, format_address(dst) if dst else "", f"lladdr {lladdr}" if lladdr else ""]
    if fields.get("ifindex"):
        words.append(f"dev {name_of(fields['ifindex'])}")
    return " ".join(word for word in words if word)


NEIGHBOUR: Schema[NeighbourMessage] = Schema(
    "neighbour",
    "=BxxxiHBB",
    ("family", "ifindex", "state", "flags", "type"),
    AttributeSet(
        "NDA",
        (
            (1, "dst", ADDRESS),
            (2, "lladdr", LLADDR),
            (3, "cacheinfo", Record("=IIII", ("confirmed", "used", "updated", "refcnt"))),
            (4, "probes", U32),
            (5, "vlan", U16),
            (6, "port", BE16),
            (7, "vni", U32),
            (8, "nda_ifindex", U32),
            (9, "master", U32),
            (10, "link_netnsid", S32),
            (11, "src_vni", U32),
            (12, "protocol", U8),
            (13, "nh_id", U32),
            (15, "flags_ext", U32),
        ),
    ),
    _describe,
)


def create_neighbour(fields: NeighbourMessage) -> Request[NeighbourMessage]:
    """Return the request that adds a neighbour; EEXIST if the device knows the address.

    Give ``family``, ``ifindex``, ``dst`` and ``lladdr``; ENODEV without the device.
    ``state`` is NUD_PERMANENT unless given. A proxy entry has NTF_PROXY in ``flags`` and no
    ``lladdr``.
    """
    flags = NLM_F_CREATE | NLM_F_EXCL
    return Request("create", NEIGHBOUR, RTM_NEWNEIGH, flags, _permanent(fields))


def replace_neighbour(fields: NeighbourMessage) -> Request[NeighbourMessage]:
    """Return the request that writes a neighbour whatever was known; ``state`` as above."""
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Request("replace", NEIGHBOUR, RTM_NEWNEIGH, flags, _permanent(fields))


def delete_neighbour(fields: NeighbourMessage) -> Request[NeighbourMessage]:
    """Return the request that deletes a neighbour or proxy (NTF_PROXY); ENOENT without one."""
    return Request("delete", NEIGHBOUR, RTM_DELNEIGH, 0, fields)


def _permanent(fields: NeighbourMessage) -> NeighbourMessage:
    return {"state": NUD_PERMANENT, **fields}


def dump_neighbours(
    family: int = 0, *, ifindex: int = 0, master: int = 0, proxies: bool = False
) -> Request[NeighbourMessage]:
    """Return the request that lists neighbours, or with *proxies* the proxy entries alone.

    The kernel filters neighbours by *ifindex* and by *master* (devices that are ports of it), and
    proxies by *ifindex*.
    """
    fields: NeighbourMessage = {"family": family}
    if proxies:
        # A strict kernel takes the flag from a dump request that is a bare ndmsg.
        fields["flags"] = NTF_PROXY
    if ifindex:
        fields["nda_ifindex"] = ifindex
    if master:
        fields["master"] = master
    keep = _of_device(ifindex)
    return Request("list", NEIGHBOUR, RTM_GETNEIGH, NLM_F_DUMP, fields, keep)


def _of_device(ifindex: int) -> Callable[[NeighbourMessage], bool] | None:
    if not ifindex:
        return None

    def matches(entry: NeighbourMessage) -> bool:
        return entry["ifindex"] == ifindex

    return matches


def create_fdb(fields: NeighbourMessage) -> Request[NeighbourMessage]:
    """Return the request that adds a forwarding entry; EEXIST if the MAC has one.

    Give ``ifindex`` and ``lladdr``, of a VXLAN device also ``dst``.
    ``flags`` is NTF_SELF and ``state`` NUD_NOARP | NUD_PERMANENT unless given, as `bridge fdb add`.
    """
    flags = NLM_F_CREATE | NLM_F_EXCL
    return Request("create", NEIGHBOUR, RTM_NEWNEIGH, flags, _static_entry(fields))


def replace_fdb(fields: NeighbourMessage) -> Request[NeighbourMessage]:
    """Return the request that points a MAC at ``dst``, whatever it was before; see `create_fdb`."""
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Request("replace", NEIGHBOUR, RTM_NEWNEIGH, flags, _static_entry(fields))


def append_fdb(fields: NeighbourMessage) -> Request[NeighbourMessage]:
    """Return the request that adds one more ``dst`` to a MAC (00:00:00:00:00:00: flooding)."""
    flags = NLM_F_CREATE | NLM_F_APPEND
    return Request("append", NEIGHBOUR, RTM_NEWNEIGH, flags, _static_entry(fields))


def delete_fdb(fields: NeighbourMessage) -> Request[NeighbourMessage]:
    """Return the request that deletes a forwarding entry; ENOENT without one."""
    return Request("delete", NEIGHBOUR, RTM_DELNEIGH, 0, _static_entry(fields))


def _static_entry(fields: NeighbourMessage) -> NeighbourMessage:
    defaults: NeighbourMessage = {"flags": NTF_SELF, "state": NUD_NOARP | NUD_PERMANENT}
    return {**defaults, **fields, "family": AF_BRIDGE}


def dump_fdb(*, ifindex: int = 0, master: int = 0) -> Request[NeighbourMessage]:
    """Return the request that lists forwarding entries.

    Args:
        ifindex: of this device: its own (NTF_SELF) and, if it is a port, its bridge's for it.
        master: of the bridge with this index.
    """
    fields: NeighbourMessage = {"family": AF_BRIDGE}
    if ifindex:
        fields["ifindex"] = ifindex
    if master:
        fields["master"] = master
    return Request("list", NEIGHBOUR, RTM_GETNEIGH, NLM_F_DUMP, fields, _of_device(ifindex))
