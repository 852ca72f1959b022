"""Routes: RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE.

A message is a `RouteMessage` (`route_messages`): the fields of struct rtmsg and the RTA_*
attributes::

    +---------------+---------------+---------------+---------------+
    |    family     |    dst_len    |    src_len    |      tos      |
    +---------------+---------------+---------------+---------------+
    |  table (<256) |   protocol    |     scope     |     type      |
    +---------------+---------------+---------------+---------------+
    |                   flags (RTNH_F_*, RTM_F_*)                   |
    +---------------------------------------------------------------+

``table`` is one field: above 255 it travels in RTA_TABLE. A default route has no ``dst`` and a
``dst_len`` of 0. A multipath route has ``multipath`` instead of ``oif`` and ``gateway``: a list of
struct rtnexthop, each with attributes of its own::

    +-------------------------------+---------------+---------------+
    |  rtnh_len (8 + attributes)    |     flags     |     hops      |
    +-------------------------------+---------------+---------------+
    |                           ifindex                             |
    +---------------------------------------------------------------+
    |  RTA_GATEWAY, RTA_VIA, ...                                    |

where ``hops`` is the weight minus 1. IPv4 over an IPv6 next hop has ``via`` instead of ``gateway``
(RFC 5549; struct rtvia: a family and an address).

Sources: include/uapi/linux/rtnetlink.h, net/ipv4/fib_frontend.c, net/ipv6/route.c.
"""

# ruff: noqa: ARG002  # attribute types have one signature, whether they need it or not

from __future__ import annotations

from _struct import Struct
from errno import ENOENT

from podway.netlink.attribute_types import ADDRESS, TEXT, U8, U16, U32, Leaf, Record
from podway.netlink.attributes import AttributeSet, Nested
from podway.netlink.constants import (
    AF_INET6,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RT_SCOPE_NOWHERE,
    RT_TABLE_MAIN,
    RTM_DELROUTE,
    RTM_F_CLONED,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    RTN_UNICAST,
)
from podway.netlink.errors import DecodeError
from podway.netlink.messages import Request, Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from podway.netlink.attribute_types import Fields
    from podway.netlink.messages import NameOf
    from podway.netlink.route_messages import NextHopFields, RouteMessage, ViaFields


_NEXTHOP = Struct("=HBBi")
_FAMILY = Struct("=H")


class _Via(Leaf):
    """Struct rtvia: two bytes of family, then an address."""

    __slots__ = ()

    def encode(self, value: ViaFields, siblings: Fields) -> bytes:
        return _FAMILY.pack(value["family"]) + value["addr"]

    def decode(self, data: bytes, start: int, stop: int, siblings: Fields) -> ViaFields:
        if stop - start - 2 not in {4, 16}:
            raise DecodeError(f"{stop - start} bytes, 6 or 18 expected")
        return {"family": _FAMILY.unpack_from(data, start)[0], "addr": data[start + 2 : stop]}


_VIA = _Via("must be a dict of family and addr")
_NEXTHOP_ATTRIBUTES = AttributeSet(
    "RTA",
    ((5, "gateway", ADDRESS), (11, "flow", U32), (18, "via", _VIA), (21, "encap_type", U16)),
)
_NEXTHOP_HEADER = ("flags", "hops", "ifindex")


class _NextHops(Leaf):
    """RTA_MULTIPATH: struct rtnexthop after struct rtnexthop, each with its attributes."""

    __slots__ = ()

    def encode(self, value: Sequence[NextHopFields], siblings: Fields) -> bytes:
        parts: list[bytes] = []
        for hop in value:
            attributes = _NEXTHOP_ATTRIBUTES.encode(hop, frozenset(_NEXTHOP_HEADER))
            header = [hop.get(name, 0) for name in _NEXTHOP_HEADER]
            parts += (_NEXTHOP.pack(_NEXTHOP.size + len(attributes), *header), attributes)
        return b"".join(parts)

    def decode(
        self, data: bytes, start: int, stop: int, siblings: dict[str, Any]
    ) -> list[dict[str, Any]]:
        hops = []
        while start < stop:
            if stop - start < _NEXTHOP.size:
                raise DecodeError(f"{stop - start} stray bytes after the last next hop")
            length, *header = _NEXTHOP.unpack_from(data, start)
            if not _NEXTHOP.size <= length <= stop - start:
                raise DecodeError(f"a next hop claims {length} of {stop - start} bytes")
            hop: dict[str, Any] = dict(zip(_NEXTHOP_HEADER, header, strict=True))
            _NEXTHOP_ATTRIBUTES.decode_into(hop, data, start + _NEXTHOP.size, start + length)
            hops.append(hop)
            start += (length + 3) & ~3
        return hops


_NEXTHOPS_RULE = "must be a list of dicts of ifindex, flags, hops, gateway, via, flow, encap_type"
_METRICS = AttributeSet(
    "RTAX",
    (
        (1, "lock", U32),
        (2, "mtu", U32),
        (3, "window", U32),
        (4, "rtt", U32),
        (5, "rttvar", U32),
        (6, "ssthresh", U32),
        (7, "cwnd", U32),
        (8, "advmss", U32),
        (9, "reordering", U32),
        (10, "hoplimit", U32),
        (11, "initcwnd", U32),
        (12, "features", U32),
        (13, "rto_min", U32),
        (14, "initrwnd", U32),
        (15, "quickack", U32),
        (16, "cc_algo", TEXT),
        (17, "fastopen_no_cookie", U32),
    ),
)
_CACHEINFO = Record(
    "=IIiIIIII",
    ("clntref", "lastuse", "expires", "error", "used", "id", "ts", "tsage"),
)
_KINDS = {2: "local ", 3: "broadcast ", 6: "blackhole ", 7: "unreachable ", 8: "prohibit "}


def _describe_hop(hop: Mapping[str, Any], name_of: NameOf) -> str:
    from podway.netlink.text import format_address  # noqa: PLC0415  # when something failed

    words = []
    gateway = hop.get("gateway") or hop.get("via", {}).get("addr")
    if gateway:
        words.append(f"via {format_address(gateway)}")
    index = hop.get("oif") or hop.get("ifindex")
    if index:
        words.append(f"dev {name_of(index)}")
    return " ".join(words)


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    from podway.netlink.text import format_prefix  # noqa: PLC0415  # when something failed

    if "dst" in fields:
        prefix = format_prefix(fields["dst"], fields.get("dst_len", 0))
    else:
        prefix = "default"
    words = [f"route {_KINDS.get(fields.get('type', 0), '')}{prefix}"]
    words += [_describe_hop(hop, name_of) for hop in (fields, *fields.get("multipath", ()))]
    if fields.get("table", RT_TABLE_MAIN) not in {0, RT_TABLE_MAIN}:
        words.append(f"table {fields['table']}")
    if fields.get("priority"):
        words.append(f"metric {fields['priority']}")
    return " ".join(word for word in words if word)


ROUTE: Schema[RouteMessage] = Schema(
    "route",
    "=BBBBBBBBI",
    ("family", "dst_len", "src_len", "tos", "table", "protocol", "scope", "type", "flags"),
    AttributeSet(
        "RTA",
        (
            (1, "dst", ADDRESS),
            (2, "src", ADDRESS),
            (3, "iif", U32),
            (4, "oif", U32),
            (5, "gateway", ADDRESS),
            (6, "priority", U32),
            (7, "prefsrc", ADDRESS),
            (8, "metrics", Nested(_METRICS)),
            (9, "multipath", _NextHops(_NEXTHOPS_RULE)),
            (11, "flow", U32),
            (12, "cacheinfo", _CACHEINFO),
            (15, "table", U32),
            (16, "mark", U32),
            (18, "via", _VIA),
            (20, "pref", U8),
            (21, "encap_type", U16),
            (23, "expires", U32),
            (25, "uid", U32),
            (26, "ttl_propagate", U8),
            (30, "nh_id", U32),
        ),
    ),
    _describe,
)


def create_route(fields: RouteMessage) -> Request[RouteMessage]:
    """Return the request that adds a route; EEXIST if table, prefix and metric are taken.

    ``table`` is RT_TABLE_MAIN and ``type`` RTN_UNICAST unless given. Onlink is
    ``{"flags": RTNH_F_ONLINK}``. ENETUNREACH: no prefix of a device covers the next hop; ENODEV:
    there is no device ``oif``.
    """
    return Request("create", ROUTE, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, _unicast(fields))


def replace_route(fields: RouteMessage) -> Request[RouteMessage]:
    """Return the request that writes a route over one with the same table, prefix and metric.

    The kernel takes the *first* IPv4 route of that key, and an IPv6 route without gateway is
    replaced only by another one without (net/ipv6/ip6_fib.c).
    """
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Request("replace", ROUTE, RTM_NEWROUTE, flags, _unicast(fields))


def append_route(fields: RouteMessage) -> Request[RouteMessage]:
    """Return the request that adds a route behind those of the same key (IPv6: one more way)."""
    return Request("append", ROUTE, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, _unicast(fields))


def delete_route(fields: RouteMessage) -> Request[RouteMessage]:
    """Return the request that deletes the first route which agrees with all *fields* given.

    ``table`` is RT_TABLE_MAIN unless given; leave ``type``, ``scope`` (IPv4: RT_SCOPE_NOWHERE is
    the wildcard), ``protocol`` and ``priority`` out to match any. ESRCH if there is none.
    """
    defaults: RouteMessage = {"table": RT_TABLE_MAIN}
    if fields.get("family") != AF_INET6:
        defaults["scope"] = RT_SCOPE_NOWHERE
    return Request("delete", ROUTE, RTM_DELROUTE, 0, {**defaults, **fields})


def _unicast(fields: RouteMessage) -> RouteMessage:
    return {"table": RT_TABLE_MAIN, "type": RTN_UNICAST, **fields}


def get_route(fields: RouteMessage) -> Request[RouteMessage]:
    """Return the request that asks by which route the kernel would send to ``dst``.

    Give ``family``, ``dst`` and ``dst_len`` (32 or 128); ``src``, ``iif``, ``oif``, ``mark`` if
    they matter; RTM_F_FIB_MATCH in ``flags`` for the route itself instead of the lookup's result.
    ENETUNREACH without a route.
    """
    return Request("read", ROUTE, RTM_GETROUTE, 0, fields)


def dump_routes(
    family: int = 0, *, table: int = 0, protocol: int = 0, oif: int = 0
) -> Request[RouteMessage]:
    """Return the request that lists routes, filtered in the kernel; no cached ones (RTM_F_CLONED).

    A table that does not exist has no routes: that is no error. A device that does not exist is:
    ENODEV.

    Args:
        family: AF_INET or AF_INET6; 0 for both.
        table: RT_TABLE_*; 0 for all.
        protocol: RTPROT_*; 0 for all.
        oif: index of the output device, of one way at least; 0 for all.
    """
    fields: RouteMessage = {"family": family}
    if table:
        fields["table"] = table
    if protocol:
        fields["protocol"] = protocol
    if oif:
        fields["oif"] = oif
    keep = _matches(table, protocol, oif)
    return Request("list", ROUTE, RTM_GETROUTE, NLM_F_DUMP, fields, keep, ENOENT)


def _matches(table: int, protocol: int, oif: int) -> Callable[[RouteMessage], bool]:
    def matches(route: RouteMessage) -> bool:
        return (
            not route["flags"] & RTM_F_CLONED
            and (not table or route["table"] == table)
            and (not protocol or route["protocol"] == protocol)
            and (not oif or _leaves_by(route, oif))
        )

    return matches


def _leaves_by(route: RouteMessage, oif: int) -> bool:
    return route.get("oif") == oif or any(
        hop["ifindex"] == oif for hop in route.get("multipath", ())
    )
