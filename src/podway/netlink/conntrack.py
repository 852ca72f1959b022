"""Connections that the kernel tracks: which lead to a port, and to forget them.

Comes in: family, protocol and port. Goes out: `ConntrackMessage` values, and requests that delete
them. For plugins: after the rules of a published port have changed, UDP packets of a connection
that is tracked still go where the rules said before. ::

    nlmsghdr | nfgenmsg (family, version 0, res_id) | CTA_TUPLE_ORIG { CTA_TUPLE_IP { CTA_IP_V4_SRC,
    CTA_IP_V4_DST }, CTA_TUPLE_PROTO { CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT } } |
    CTA_TUPLE_REPLY ... | CTA_ZONE, CTA_ID, CTA_FILTER { CTA_FILTER_ORIG_FLAGS }

Linux 5.8 and newer list only what CTA_FILTER asks for; older ones do not know it and list all,
which is why `dump_connections` has each looked at again.

Sources: include/uapi/linux/netfilter/nfnetlink_conntrack.h,
net/netfilter/nf_conntrack_netlink.c (ctnetlink_alloc_filter, ctnetlink_filter_match_tuple).
"""

from __future__ import annotations

from podway.netlink.attribute_types import BE16, BE32, BYTES, U8, U32
from podway.netlink.attributes import AttributeSet, Nested
from podway.netlink.constants import NETLINK_NETFILTER, NLM_F_DUMP
from podway.netlink.messages import Request, Schema
from podway.netlink.socket import NetlinkSocket
from podway.netlink.text import format_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypedDict

    from podway.netlink.errors import NetlinkError
    from podway.netlink.messages import NameOf

    class ConntrackMessage(TypedDict, total=False):
        """A connection: ``tuple_orig`` as its packets came, ``tuple_reply`` as answers come.

        A tuple has ``ip`` (``v4_src``, ``v4_dst`` or ``v6_src``, ``v6_dst``, packed) and ``proto``
        (``num``, an IPPROTO_*, ``src_port``, ``dst_port``). ``zone`` is 0 unless rules say so,
        ``id`` tells the connection from a later one of the same tuple.
        """

        family: int
        version: int
        res_id: int
        tuple_orig: Mapping[str, Any]
        tuple_reply: Mapping[str, Any]
        zone: int
        id: int
        filter: Mapping[str, Any]


_NFNL_SUBSYS_CTNETLINK = 1
_IPCTNL_MSG_CT_GET = 1
_IPCTNL_MSG_CT_DELETE = 2
# CTA_FILTER_F_CTA_PROTO_NUM and CTA_FILTER_F_CTA_PROTO_DST_PORT.
_FILTER_PROTOCOL_AND_PORT = 1 << 3 | 1 << 5

_IP = AttributeSet(
    "CTA_IP",
    ((1, "v4_src", BYTES), (2, "v4_dst", BYTES), (3, "v6_src", BYTES), (4, "v6_dst", BYTES)),
)
_PROTO = AttributeSet("CTA_PROTO", ((1, "num", U8), (2, "src_port", BE16), (3, "dst_port", BE16)))
_TUPLE = AttributeSet(
    "CTA_TUPLE", ((1, "ip", Nested(_IP)), (2, "proto", Nested(_PROTO)), (3, "zone", BE16))
)
_FILTER = AttributeSet("CTA_FILTER", ((1, "orig_flags", U32), (2, "reply_flags", U32)))


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    del name_of
    tuple_orig = fields.get("tuple_orig", {})
    target, proto = destination_of(tuple_orig), tuple_orig.get("proto", {})
    shown = format_address(target) if target else "any address"
    return f"connection of protocol {proto.get('num')} to {shown} port {proto.get('dst_port')}"


_CONNTRACK: Schema[ConntrackMessage] = Schema(
    "connection",
    ">BBH",
    ("family", "version", "res_id"),
    AttributeSet(
        "CTA",
        (
            (1, "tuple_orig", Nested(_TUPLE)),
            (2, "tuple_reply", Nested(_TUPLE)),
            (12, "id", BE32),
            (18, "zone", BE16),
            (25, "filter", Nested(_FILTER)),
        ),
    ),
    _describe,
)


def source_of(ct_tuple: Mapping[str, Any]) -> bytes:
    """Return the packed source address of a tuple, b"" without one."""
    ip = ct_tuple.get("ip", {})
    packed: bytes = ip.get("v4_src") or ip.get("v6_src") or b""
    return packed


def destination_of(ct_tuple: Mapping[str, Any]) -> bytes:
    """Return the packed destination address of a tuple, b"" without one."""
    ip = ct_tuple.get("ip", {})
    packed: bytes = ip.get("v4_dst") or ip.get("v6_dst") or b""
    return packed


def dump_connections(family: int, protocol: int, port: int) -> Request[ConntrackMessage]:
    """Return the request that lists connections to *port*, as their first packet had it.

    Args:
        family: AF_INET or AF_INET6.
        protocol: IPPROTO_*.
        port: destination.
    """
    proto = {"num": protocol, "dst_port": port}
    fields: ConntrackMessage = {
        "family": family,
        "tuple_orig": {"proto": proto},
        "filter": {"orig_flags": _FILTER_PROTOCOL_AND_PORT, "reply_flags": 0},
    }
    type_ = _NFNL_SUBSYS_CTNETLINK << 8 | _IPCTNL_MSG_CT_GET

    def is_wanted(message: ConntrackMessage) -> bool:
        found = message.get("tuple_orig", {}).get("proto", {})
        return bool(found.get("num") == protocol and found.get("dst_port") == port)

    return Request("list", _CONNTRACK, type_, NLM_F_DUMP, fields, keep=is_wanted)


def delete_connection(found: ConntrackMessage) -> Request[ConntrackMessage]:
    """Return the request that makes the kernel forget a connection that was listed."""
    kept = ("family", "tuple_orig", "zone", "id")
    fields: ConntrackMessage = {key: found[key] for key in kept if key in found}  # type: ignore[literal-required, assignment]
    type_ = _NFNL_SUBSYS_CTNETLINK << 8 | _IPCTNL_MSG_CT_DELETE
    return Request("delete", _CONNTRACK, type_, 0, fields)


class ConntrackSocket(NetlinkSocket):
    """A socket for connections that are tracked."""

    __slots__ = ()

    def __init__(self, netns_fd: int | None = None) -> None:
        """Open the socket; see `NetlinkSocket`."""
        super().__init__(NETLINK_NETFILTER, netns_fd)

    def forget(self, connections: Iterable[ConntrackMessage]) -> list[NetlinkError]:
        """Delete *connections*; return what failed, but for those that were gone already."""
        results = self.batch([delete_connection(each) for each in connections])
        return [error for error in results if error is not None and not error.is_not_found]
