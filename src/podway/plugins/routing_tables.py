"""Routing tables of a container: what is in them, which are in use, routes that move.

In: a socket in the container's namespace. Out: messages. Called by plugins that put routes into
tables other than main. One call at a time for each container: tables are chosen by what is in use.
"""

from fcntl import LOCK_EX, flock

from podway.netlink.constants import AF_INET, AF_INET6, RTNH_F_ONLINK
from podway.netlink.routes import dump_routes
from podway.netlink.rules import dump_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from podway.netlink.route_messages import RouteMessage
    from podway.netlink.socket import NetlinkSocket

# What makes a route; the rest of what the kernel tells is its own.
_KEPT: "Final" = (
    "family",
    "dst",
    "dst_len",
    "src",
    "src_len",
    "tos",
    "protocol",
    "scope",
    "type",
    "oif",
    "gateway",
    "via",
    "priority",
    "prefsrc",
    "metrics",
)


def lock_namespace(netns: int) -> None:
    """Wait until no other call works on the tables of a namespace; until this process ends.

    The reference plugin locks the same file.
    """
    flock(netns, LOCK_EX)


def table_routes(inside: "NetlinkSocket", table: int, index: int = 0) -> "list[RouteMessage]":
    """Return the routes of a table, by one device if *index* is given.

    Of an IPv6 route with several ways the device's are returned, as a route of their own: that is
    what they are for the kernel. An IPv4 route that leads through other devices too is nobody's.
    """
    routes = [
        route
        for family in (AF_INET, AF_INET6)
        for route in inside.dump(dump_routes(family, table=table, oif=index))
    ]
    return [own for route in routes for own in _own_ways(route, index)] if index else routes


def _own_ways(route: "RouteMessage", index: int) -> "list[RouteMessage]":
    """Return *route* as it leads through device *index*."""
    ways = route.get("multipath", ())
    own = [way for way in ways if way["ifindex"] == index]
    if route["family"] == AF_INET or not ways:
        return [route] if len(own) == len(ways) else []
    whole = {key: value for key, value in route.items() if key not in {"multipath", "prefsrc"}}
    return [_with_way(whole, way, index) for way in own]


def _with_way(whole: "dict[str, Any]", way: "Mapping[str, Any]", index: int) -> "RouteMessage":
    """Return a route that leads one way of several.

    Each way has a source of its own, of which a listing shows the first one's: that is dropped.
    """
    hop = {key: way[key] for key in ("gateway", "via") if key in way}
    message: Any = {**whole, **hop, "oif": index, "flags": whole["flags"] | way["flags"]}
    return message  # type: ignore[no-any-return]  # a RouteMessage


def tables_in_use(inside: "NetlinkSocket") -> set[int]:
    """Return the tables in which somebody has routes, or to which rules lead."""
    rules = {rule["table"] for rule in inside.dump(dump_rules())}
    routes = {
        route["table"]
        for family in (AF_INET, AF_INET6)
        for route in inside.dump(dump_routes(family))
    }
    return rules | routes


def kept_fields(route: "RouteMessage") -> "dict[str, Any]":
    """Return a route of a listing as it would be written."""
    kept: dict[str, Any] = {key: value for key, value in route.items() if key in _KEPT}
    kept["flags"] = route.get("flags", 0) & RTNH_F_ONLINK
    if "multipath" in route:
        kept["multipath"] = [
            {**hop, "flags": hop.get("flags", 0) & RTNH_F_ONLINK} for hop in route["multipath"]
        ]
    return kept


def next_hops(route: "RouteMessage | dict[str, Any]") -> list[bytes]:
    """Return the gateways of a route, also of the other family."""
    ways = [route, *route.get("multipath", ())]
    found = [way.get("gateway") or way.get("via", {}).get("addr") for way in ways]
    return [each for each in found if each]
