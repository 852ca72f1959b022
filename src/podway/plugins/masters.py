"""Master devices: the one that a macvlan, ipvlan or vlan interface is part of.

In: the name from a configuration, or none, and a socket of the namespace in which the master is.
Out: the device as the kernel has it. Without a name it is the device of the default route, as in
the reference plugins: IPv4's first, the one of the lowest metric.
"""

from podway.cni.errors import INVALID_CONFIG, CniError, broken_rule
from podway.netlink.constants import AF_INET, AF_INET6, RT_TABLE_MAIN
from podway.netlink.links import get_link
from podway.netlink.routes import dump_routes
from podway.plugins.interfaces import find_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.route_messages import RouteMessage
    from podway.netlink.socket import NetlinkSocket


def find_master(
    netlink: "NetlinkSocket", name: str, *, in_container: bool = False
) -> "LinkMessage":
    """Return the device called *name*, or the one of the default route for "".

    Args:
        netlink: of the namespace in which it is looked for.
        name: of the device, or "".
        in_container: that namespace is the container's, for messages.

    Raises:
        CniError: INVALID_CONFIG, there is none.
    """
    if not name:
        return _default_device(netlink)
    link = find_link(netlink, name)
    if link is None:
        rule = "must be a device of the host; for one of the container set linkInContainer"
        if in_container:
            rule = "must be a device in the container's namespace, as linkInContainer says"
        raise broken_rule("master", name, rule)
    return link


def default_oif(routes: "Iterable[RouteMessage]") -> int | None:
    """Return the index of the device that the first default route of *routes* leads through.

    Of a default route with several ways it is the first; routes that lead nowhere (blackhole) are
    passed over. None without one.
    """
    for route in routes:
        if route["dst_len"]:
            continue
        ways = [route.get("oif", 0), *(hop["ifindex"] for hop in route.get("multipath", ()))]
        for index in ways:
            if index:
                return index
    return None


def _default_device(netlink: "NetlinkSocket") -> "LinkMessage":
    for family in (AF_INET, AF_INET6):
        index = default_oif(netlink.dump(dump_routes(family, table=RT_TABLE_MAIN)))
        if index is not None:
            link = netlink.request(get_link({"index": index}))
            assert link is not None  # a read answers or raises
            return link
    raise CniError(
        INVALID_CONFIG,
        "master is missing: name a device, there is no default route to take it from",
    )
