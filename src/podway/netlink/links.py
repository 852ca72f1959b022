"""Network devices: RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK.

A message is a `LinkMessage` (`link_messages`): the fields of struct ifinfomsg and the IFLA_*
attributes. Device kinds and bridge ports have tables of their own in `link_kinds`. The header::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+---------------+-------------------------------+
    |    family     |      pad      |       type (ARPHRD_*)         |
    +---------------+---------------+-------------------------------+
    |                     index (0: find it by ifname)              |
    +----------------------------------------------------------------
    |                     flags (IFF_*)                             |
    +----------------------------------------------------------------
    |                     change: which bits of flags to change     |
    +----------------------------------------------------------------

To bring a device up: ``{"index": 5, "flags": IFF_UP, "change": IFF_UP}``.

Sources: include/uapi/linux/rtnetlink.h and if_link.h, net/core/rtnetlink.c.
"""

# ruff: noqa: ARG002  # attribute types have one signature, whether they need it or not

from __future__ import annotations

from _struct import Struct
from sys import byteorder

from podway.netlink.attribute_types import (
    ADDRESS,
    BYTES,
    LLADDR,
    S32,
    TEXT,
    U8,
    U16,
    U32,
    Leaf,
    Record,
)
from podway.netlink.attributes import AttributeSet, Nested, Repeated, Selected
from podway.netlink.constants import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    NLA_F_NESTED,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    RTEXT_FILTER_SKIP_STATS,
    RTM_DELLINK,
    RTM_GETLINK,
    RTM_NEWLINK,
    RTM_SETLINK,
)
from podway.netlink.errors import EncodeError
from podway.netlink.link_kinds import BRIDGE_PORT, KINDS, PORT_KINDS
from podway.netlink.messages import Embedded, Request, Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from podway.netlink.attribute_types import Fields
    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.messages import NameOf


# IPV4_DEVCONF_*, include/uapi/linux/ip.h.
_IPV4_CONF = {"arp_notify": 22}
_U32_ATTRIBUTE = Struct("=HHI")

# struct rtnl_link_stats64.
_COUNTERS = (
    "rx_packets tx_packets rx_bytes tx_bytes rx_errors tx_errors rx_dropped tx_dropped multicast"
    " collisions rx_length_errors rx_over_errors rx_crc_errors rx_frame_errors rx_fifo_errors"
    " rx_missed_errors tx_aborted_errors tx_carrier_errors tx_fifo_errors tx_heartbeat_errors"
    " tx_window_errors rx_compressed tx_compressed rx_nohandler rx_otherhost_dropped"
)
_STATS64 = Record("=25Q", tuple(_COUNTERS.split()))
_INET6 = AttributeSet(
    "IFLA_INET6",
    ((1, "flags", U32), (7, "token", ADDRESS), (8, "addr_gen_mode", U8), (9, "ra_mtu", U32)),
)


class _Ipv4Conf(Leaf):
    """IFLA_INET_CONF: parameters below net/ipv4/conf, of those the ones in `_IPV4_CONF`.

    Written as attributes (inet_set_link_af), read as an array (inet_fill_link_af). Errors name the
    whole of it.
    """

    __slots__ = ()
    type_flags = NLA_F_NESTED

    def encode(self, value: Mapping[str, int], siblings: Fields) -> bytes:
        """Return an attribute for each parameter."""
        return b"".join(_U32_ATTRIBUTE.pack(8, _IPV4_CONF[name], value[name]) for name in value)

    def decode(self, data: bytes, start: int, stop: int, siblings: Fields) -> dict[str, int]:
        """Return the parameters that the array is long enough for."""
        places = {name: start + 4 * (number - 1) for name, number in _IPV4_CONF.items()}
        return {
            name: int.from_bytes(data[at : at + 4], byteorder)
            for name, at in places.items()
            if at + 4 <= stop
        }


_INET = AttributeSet(
    "IFLA_INET", ((1, "conf", _Ipv4Conf(f"must be a dict of {', '.join(_IPV4_CONF)}")),)
)
_AF_SPEC = AttributeSet(
    "AF_SPEC", ((AF_INET, "inet", Nested(_INET)), (AF_INET6, "inet6", Nested(_INET6)))
)
_AF_SPEC_BRIDGE = AttributeSet(
    "IFLA_BRIDGE",
    (
        (0, "flags", U16),
        (1, "mode", U16),
        (2, "vlan_info", Repeated("vlan_info", Record("=HH", ("flags", "vid")))),
    ),
)
_PROP_LIST = AttributeSet("IFLA", ((53, "alt_ifname", Repeated("alt_ifname", TEXT)),))

_DEVICE = (
    (1, "address", LLADDR),
    (2, "broadcast", LLADDR),
    (3, "ifname", TEXT),
    (4, "mtu", U32),
    (5, "link", U32),
    (6, "qdisc", TEXT),
    (10, "master", U32),
    (12, "protinfo", Selected("family", {AF_BRIDGE: BRIDGE_PORT, AF_INET6: _INET6})),
    (13, "txqlen", U32),
    (16, "operstate", U8),
    (17, "linkmode", U8),
    (19, "net_ns_pid", U32),
    (20, "ifalias", TEXT),
    (23, "stats64", _STATS64),
    (26, "af_spec", Selected("family", {AF_BRIDGE: _AF_SPEC_BRIDGE}, _AF_SPEC)),
    (27, "group", U32),
    (28, "net_ns_fd", U32),
    (29, "ext_mask", U32),
    (30, "promiscuity", U32),
    (31, "num_tx_queues", U32),
    (32, "num_rx_queues", U32),
    (33, "carrier", U8),
    (35, "carrier_changes", U32),
    (37, "link_netnsid", S32),
    (38, "phys_port_name", TEXT),
    (39, "proto_down", U8),
    (40, "gso_max_segs", U32),
    (41, "gso_max_size", U32),
    (44, "event", U32),
    (45, "new_netnsid", S32),
    (46, "target_netnsid", S32),
    (47, "carrier_up_count", U32),
    (48, "carrier_down_count", U32),
    (49, "new_ifindex", S32),
    (50, "min_mtu", U32),
    (51, "max_mtu", U32),
    (52, "prop_list", Nested(_PROP_LIST)),
    (53, "alt_ifname", TEXT),
    (54, "perm_address", LLADDR),
    (56, "parent_dev_name", TEXT),
    (57, "parent_dev_bus_name", TEXT),
    (58, "gro_max_size", U32),
    (59, "tso_max_size", U32),
    (60, "tso_max_segs", U32),
    (61, "allmulti", U32),
    (63, "gso_ipv4_max_size", U32),
    (64, "gro_ipv4_max_size", U32),
)
_HEADER = ("family", "type", "index", "flags", "change")
_HEADER_LAYOUT = "=BxHiII"


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    name = fields.get("ifname") or (name_of(fields["index"]) if fields.get("index") else "")
    kind = fields.get("linkinfo", {}).get("kind", "")
    words = ["link", name, f"kind {kind}" if kind else ""]
    if fields.get("master"):
        words.append(f"master {name_of(fields['master'])}")
    return " ".join(word for word in words if word)


# VETH_INFO_PEER (include/uapi/linux/veth.h): the header of a link message and its attributes.
_PEER: Schema[LinkMessage] = Schema(
    "peer", _HEADER_LAYOUT, _HEADER, AttributeSet("IFLA", _DEVICE), _describe
)
_VETH = AttributeSet("VETH_INFO", ((1, "peer", Embedded(_PEER)),))
_LINKINFO = AttributeSet(
    "IFLA_INFO",
    (
        (1, "kind", TEXT),
        (2, "data", Selected("kind", {**KINDS, "veth": _VETH})),
        (3, "xstats", BYTES),
        (4, "slave_kind", TEXT),
        (5, "slave_data", Selected("slave_kind", PORT_KINDS)),
    ),
)
LINK: Schema[LinkMessage] = Schema(
    "link",
    _HEADER_LAYOUT,
    _HEADER,
    AttributeSet("IFLA", (*_DEVICE, (18, "linkinfo", Nested(_LINKINFO)))),
    _describe,
)


_IGNORED_AT_CREATION = frozenset({"ifalias", "af_spec", "protinfo"})
# Leaves out the IPv6 counters, which are half of the bytes and have no field here.
_BRIEF: LinkMessage = {"ext_mask": RTEXT_FILTER_SKIP_STATS}


def create_link(fields: LinkMessage) -> Request[LinkMessage]:
    """Return the request that makes a device; EEXIST if there is one of that name.

    A veth pair whose other end is in another namespace::

        create_link({
            "ifname": "pw0123456789a",
            "linkinfo": {"kind": "veth", "data": {"peer": {
                "ifname": "eth0", "mtu": 1450, "address": "0a:58:0a:f4:01:02", "net_ns_fd": fd,
            }}},
        })

    The peer cannot be made up (IFF_UP) at once: the kernel would open it before it has a peer of
    its own, ENOTCONN (drivers/net/veth.c).

    Raises:
        EncodeError: a field is given that the kernel ignores at creation without a word
            (rtnl_create_link): ``ifalias``, ``af_spec``, ``protinfo``.
    """
    for name in _IGNORED_AT_CREATION & fields.keys():
        raise EncodeError(f"link.{name}", fields.get(name), "ignored at creation; use change_link")
    return Request("create", LINK, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, fields)


def change_link(fields: LinkMessage) -> Request[LinkMessage]:
    """Return the request that changes a device, found by ``index`` or else by ``ifname``.

    ENODEV without one.
    Flags change only where ``change`` has a 1. With an index, ``ifname`` is the new name (before
    Linux 6.2 the device must be down for that: EBUSY) and ``net_ns_fd`` moves the device.
    """
    return Request("change", LINK, RTM_NEWLINK, 0, fields)


def change_bridge_port(fields: LinkMessage) -> Request[LinkMessage]:
    """Return the request that changes how a bridge treats its port ``index``.

    The settings stand in ``protinfo``: ``{"index": 5, "protinfo": {"mode": BRIDGE_MODE_HAIRPIN}}``.
    EOPNOTSUPP if the device is no port of a bridge.
    """
    return Request("change", LINK, RTM_SETLINK, 0, {**fields, "family": AF_BRIDGE})


def delete_link(fields: LinkMessage) -> Request[LinkMessage]:
    """Return the request that deletes a device, by ``index`` or ``ifname``; ENODEV without one."""
    return Request("delete", LINK, RTM_DELLINK, 0, fields)


def get_link(fields: LinkMessage) -> Request[LinkMessage]:
    """Return the request that reads one device, by ``index`` or ``ifname``; ENODEV without one."""
    return Request("read", LINK, RTM_GETLINK, 0, {**_BRIEF, **fields})


def dump_links(*, kind: str = "", master: int = 0) -> Request[LinkMessage]:
    """Return the request that lists devices.

    Args:
        kind: only of this kind ("vxlan"); "" for all.
        master: only ports of the device with this index; 0 for all.
    """
    fields: LinkMessage = {**_BRIEF}
    if kind:
        fields["linkinfo"] = {"kind": kind}
    if master:
        fields["master"] = master
    return Request("list", LINK, RTM_GETLINK, NLM_F_DUMP, fields, _matches(kind, master))


def _matches(kind: str, master: int) -> Callable[[LinkMessage], bool] | None:
    if not kind and not master:
        return None

    def matches(link: LinkMessage) -> bool:
        return (not kind or link.get("linkinfo", {}).get("kind") == kind) and (
            not master or link.get("master") == master
        )

    return matches


def dump_bridge_ports() -> Request[LinkMessage]:
    """Return the request that lists bridge ports with their settings in ``protinfo``."""
    return Request("list", LINK, RTM_GETLINK, NLM_F_DUMP, {"family": AF_BRIDGE})
