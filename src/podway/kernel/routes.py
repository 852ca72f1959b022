"""Routes: from the model's values to RTM_NEWROUTE fields and back. Pure."""

from ipaddress import IPv4Network, IPv6Network, ip_address

from msgspec.structs import replace

from podway.model.addresses import IPAddress
from podway.model.kernel import NextHop, Route
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RTN_BLACKHOLE,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    RTNH_F_ONLINK,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from podway.model.addresses import IPNetwork
    from podway.netlink.route_messages import NextHopFields, RouteMessage

    IndexOf = Callable[[str], int]
    NameOf = Callable[[int], str]

_KINDS = {"unicast": RTN_UNICAST, "blackhole": RTN_BLACKHOLE, "unreachable": RTN_UNREACHABLE}
_KIND_NAMES = {number: name for name, number in _KINDS.items()}


def route_fields(route: Route, index_of: "IndexOf") -> "RouteMessage":
    """Return the fields of *route*; *index_of* gives a device's index."""
    fields: RouteMessage = {
        **route_identity(route),
        "protocol": route.protocol,
        "type": _KINDS[route.kind],
        "scope": RT_SCOPE_LINK if route.scope == "link" else RT_SCOPE_UNIVERSE,
    }
    if route.dev:
        fields["oif"] = index_of(route.dev)
    if route.via is not None:
        fields["gateway"] = route.via.packed
    if route.onlink:
        fields["flags"] = RTNH_F_ONLINK
    if route.src is not None:
        fields["prefsrc"] = route.src.packed
    if route.mtu:
        fields["metrics"] = {"mtu": route.mtu}
    if route.nexthops:
        fields["multipath"] = [_hop_fields(hop, index_of) for hop in route.nexthops]
    return fields


def route_identity(route: Route) -> "RouteMessage":
    """Return the fields by which the kernel tells *route* from others."""
    fields: RouteMessage = {
        "family": AF_INET if route.dst.version == 4 else AF_INET6,
        "table": route.table,
        "dst": route.dst.network_address.packed,
        "dst_len": route.dst.prefixlen,
    }
    if route.metric:
        fields["priority"] = route.metric
    return fields


def parse_route(message: "RouteMessage", name_of: "NameOf") -> Route | None:
    """Return the route that *message* describes; None for a type that podway does not write."""
    kind = _KIND_NAMES.get(message["type"])
    if kind is None:
        return None
    gateway, source = message.get("gateway"), message.get("prefsrc")
    refusal = message["family"] == AF_INET6 and kind != "unicast"
    return Route(
        dst=_prefix(message),
        # IPv6 keeps its refusals on the loopback device, for no purpose of ours.
        dev="" if refusal or not message.get("oif") else name_of(message["oif"]),
        via=ip_address(gateway) if gateway else None,
        onlink=bool(message["flags"] & RTNH_F_ONLINK),
        scope="link" if message["scope"] == RT_SCOPE_LINK else "global",
        kind=kind,
        src=ip_address(source) if source else None,
        table=message["table"],
        metric=message.get("priority", 0),
        mtu=message.get("metrics", {}).get("mtu", 0),
        protocol=message["protocol"],
        nexthops=tuple(_parse_hop(hop, name_of) for hop in message.get("multipath", ())),
    )


def without_hops(route: Route, gone: Route) -> Route | None:
    """Return what is left of *route* when the ways of *gone* are taken away; None for nothing.

    IPv6 takes single ways out of a multipath route and tells of those alone (net/ipv6/route.c,
    fib6_ifdown); what remains of two is an ordinary route.
    """
    lost = {_way(hop) for hop in _hops(gone)}
    left = tuple(hop for hop in _hops(route) if _way(hop) not in lost)
    match left:
        case ():
            return None
        case (hop,):
            return replace(route, nexthops=(), dev=hop.dev, via=hop.via, onlink=hop.onlink)
        case _:
            return replace(route, nexthops=left)


def _hops(route: Route) -> tuple[NextHop, ...]:
    return route.nexthops or (NextHop(route.dev, route.via, onlink=route.onlink),)


def _way(hop: NextHop) -> tuple[str, IPAddress | None]:
    return hop.dev, hop.via


def _prefix(message: "RouteMessage") -> "IPNetwork":
    if message["family"] == AF_INET:
        return IPv4Network((message.get("dst", bytes(4)), message["dst_len"]))
    return IPv6Network((message.get("dst", bytes(16)), message["dst_len"]))


def _hop_fields(hop: NextHop, index_of: "IndexOf") -> "NextHopFields":
    fields: NextHopFields = {
        "ifindex": index_of(hop.dev),
        "hops": hop.weight - 1,
        "flags": RTNH_F_ONLINK if hop.onlink else 0,
    }
    if hop.via is not None:
        fields["gateway"] = hop.via.packed
    return fields


def _parse_hop(hop: "NextHopFields", name_of: "NameOf") -> NextHop:
    gateway = hop.get("gateway")
    return NextHop(
        dev=name_of(hop["ifindex"]),
        via=ip_address(gateway) if gateway else None,
        weight=hop.get("hops", 0) + 1,
        onlink=bool(hop.get("flags", 0) & RTNH_F_ONLINK),
    )
