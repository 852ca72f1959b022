"""Which device leads to the peers, and what it looks like now."""

import os
from ipaddress import ip_address

from podway.model.addresses import interface_in
from podway.model.nodes import Uplink
from podway.netlink import NetlinkError, NetlinkSocket, dump_addresses, dump_routes, get_link
from podway.netlink.constants import AF_INET, AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.netlink.routes import RouteMessage

_MAIN_TABLE = 254


def read_uplink(netlink: NetlinkSocket, dev: str) -> Uplink | None:
    """Return the device *dev* as uplink; None when there is none of that name."""
    try:
        link = netlink.request(get_link({"ifname": dev}))
    except NetlinkError as error:
        if error.is_not_found:
            return None
        raise
    assert link is not None
    addresses = tuple(
        interface_in(ip_address(packed), item["prefixlen"])
        for item in netlink.dump(dump_addresses(index=link["index"]))
        if (packed := item.get("local") or item.get("address"))
    )
    return Uplink(dev=dev, mtu=link["mtu"], addresses=addresses, ipv6=has_ipv6())


def has_ipv6() -> bool:
    """Tell whether the kernel has IPv6: built in, and not switched off at boot (ipv6.disable=1)."""
    return os.path.isdir("/proc/sys/net/ipv6")  # noqa: PTH112  (one stat)


def find_uplink_index(netlink: NetlinkSocket) -> int | None:
    """Return the index of the default route's device, IPv4's before IPv6's; None without one."""
    for family in (AF_INET, AF_INET6):
        defaults = [
            route
            for route in netlink.dump(dump_routes(family, table=_MAIN_TABLE))
            if route["dst_len"] == 0 and _device(route)
        ]
        if defaults:
            return _device(min(defaults, key=lambda route: route.get("priority", 0)))
    return None


def _device(route: "RouteMessage") -> int:
    hops = route.get("multipath") or ()
    return route.get("oif") or (hops[0]["ifindex"] if hops else 0)
