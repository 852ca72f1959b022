"""CHECK of the container's interface: is it as `interfaces` made it?

In: the plan that ADD carried out, and the device as the kernel has it now. Out: nothing, or the
first thing that is missing. Called by every main plugin.
"""

from podway.cni.errors import CHECK_FAILED, CniError
from podway.netlink.addresses import create_address, dump_addresses
from podway.netlink.constants import IFF_UP, RT_TABLE_MAIN
from podway.netlink.routes import append_route, dump_routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.netlink.addresses import AddressMessage
    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.route_messages import NextHopFields, RouteMessage
    from podway.netlink.socket import NetlinkSocket
    from podway.plugins.interfaces import InterfacePlan


def check_interface(netlink: "NetlinkSocket", link: "LinkMessage", plan: "InterfacePlan") -> None:
    """See that *link* is up and has the addresses and routes of *plan*.

    Raises:
        CniError: CHECK_FAILED, something is missing.
    """
    name, index = link["ifname"], link["index"]
    if not link["flags"] & IFF_UP:
        raise CniError(CHECK_FAILED, f"interface {name} is down")
    addresses = netlink.dump(dump_addresses(index=index))
    for wanted in plan.addresses:
        if not any(_is_address(each, wanted) for each in addresses):
            described = create_address(wanted).describe(str).removeprefix("create ")
            raise CniError(CHECK_FAILED, f"{described} is missing on {name}")
    tables = {route["table"] for route in plan.routes}
    routes = [route for table in tables for route in netlink.dump(dump_routes(table=table))]
    for route in plan.routes:
        if not any(_is_route(each, route, index) for each in routes) and not _is_elsewhere(
            netlink, link, route
        ):
            described = append_route(route).describe(str).removeprefix("append ")
            raise CniError(CHECK_FAILED, f"{described} is missing on {name}")


def _is_elsewhere(netlink: "NetlinkSocket", link: "LinkMessage", wanted: "RouteMessage") -> bool:
    """Tell whether a later plugin of the list has moved a route of the main table."""
    from podway.plugins.interface_tables import other_tables  # noqa: PLC0415 - for few

    if wanted["table"] != RT_TABLE_MAIN:
        return False
    return any(
        _is_route(each, {**wanted, "table": table}, link["index"])
        for table in other_tables(netlink, link)
        for each in netlink.dump(dump_routes(table=table))
    )


def _is_address(found: "AddressMessage", wanted: "AddressMessage") -> bool:
    packed = found.get("local", found.get("address"))
    return packed == wanted["local"] and found["prefixlen"] == wanted["prefixlen"]


def _is_route(found: "RouteMessage", wanted: "RouteMessage", index: int) -> bool:
    """Tell whether *found* is *wanted*, alone or as one of several ways to the same prefix."""
    keys = ("family", "dst_len", "dst", "table")
    if any(found.get(key) != wanted.get(key) for key in keys):
        return False
    if wanted.get("priority") and found.get("priority") != wanted["priority"]:
        return False
    metrics, wanted_metrics = found.get("metrics", {}), wanted.get("metrics", {})
    if any(metrics.get(name) != value for name, value in wanted_metrics.items()):
        return False
    ways = [(hop["ifindex"], _next_hop(hop)) for hop in found.get("multipath", ())]
    return (index, _next_hop(wanted)) in (ways or [(found.get("oif", 0), _next_hop(found))])


def _next_hop(way: "RouteMessage | NextHopFields") -> bytes | None:
    return way["via"]["addr"] if "via" in way else way.get("gateway")
