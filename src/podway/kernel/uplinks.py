"""Which device leads to the peers, and what it looks like now."""

import errno
import os
from ipaddress import ip_address

from podway.kernel.devices import find_link
from podway.model.addresses import Family, IPAddress, family_of, interface_in
from podway.model.nodes import Uplink
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    dump_addresses,
    dump_links,
    dump_routes,
    get_route,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.netlink.addresses import AddressMessage
    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.route_messages import RouteMessage

_MAIN_TABLE = 254


def read_uplink(netlink: NetlinkSocket, dev: str) -> Uplink | None:
    """Return the device *dev* as uplink; None when there is none of that name."""
    link = find_link(netlink, dev)
    if link is None:
        return None
    messages = netlink.dump(dump_addresses(index=link["index"]))
    return _uplink(link, messages)


def list_uplinks(netlink: NetlinkSocket) -> tuple[Uplink, ...]:
    """Return every device, in the order of their indexes."""
    by_index: dict[int, list[AddressMessage]] = {}
    for message in netlink.dump(dump_addresses()):
        by_index.setdefault(message["index"], []).append(message)
    links = sorted(netlink.dump(dump_links()), key=lambda link: link["index"])
    return tuple(_uplink(link, by_index.get(link["index"], [])) for link in links)


def _uplink(link: "LinkMessage", messages: "list[AddressMessage]") -> Uplink:
    addresses = tuple(
        interface_in(ip_address(packed), item["prefixlen"])
        for item in messages
        if (packed := item.get("local") or item.get("address"))
    )
    return Uplink(dev=link["ifname"], mtu=link["mtu"], addresses=addresses, ipv6=has_ipv6())


def find_way_index(netlink: NetlinkSocket, address: IPAddress) -> int | None:
    """Return the index of the device by which the kernel would send to *address*, or None."""
    family = family_of(address)
    wanted: RouteMessage = {"family": family, "dst": address.packed, "dst_len": family.bits}
    try:
        route = netlink.request(get_route(wanted))
    except NetlinkError as error:
        if error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
            return None
        raise
    return _device(route) if route is not None else None


def has_ipv6() -> bool:
    """Tell whether the kernel has IPv6: built in, and not switched off at boot (ipv6.disable=1)."""
    return os.path.isdir("/proc/sys/net/ipv6")  # noqa: PTH112  (one stat)


def find_uplink_index(netlink: NetlinkSocket, only: Family | None = None) -> int | None:
    """Return the index of the default route's device, IPv4's before IPv6's; None without one."""
    for family in Family if only is None else (only,):
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
