"""The bridge as gateway: which addresses and routes that makes, and the bridge given its own.

In: the configuration and what IPAM assigned. Out: the result's addresses and routes (pure), and the
bridge's own addresses, which `ensure_addresses` writes. Called by `bridge_add` and `bridge_check`.
As in the reference plugin, a bridge that is a gateway has the first address of a subnet for which
IPAM names no gateway.
"""

from podway.cni.addresses import (
    first_address,
    is_ipv4,
    parse_prefix,
    render_address,
    share_subnet,
)
from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.results import Ip, Route
from podway.cni.values import replace
from podway.netlink.addresses import create_address, delete_address, dump_addresses
from podway.netlink.errors import NetlinkError
from podway.netlink.links import change_link
from podway.netlink.text import format_prefix
from podway.plugins.interfaces import compute_address, enable_ipv6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podway.cni.results import Result
    from podway.netlink.addresses import AddressMessage
    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.socket import NetlinkSocket
    from podway.plugins.bridge_conf import BridgeConf


def compute_ips(conf: "BridgeConf", assigned: "Result", position: int) -> tuple[Ip, ...]:
    """Return the container's addresses: those that IPAM assigned, with their gateways.

    Args:
        conf: the configuration.
        assigned: IPAM's result.
        position: of the container's interface in the result.
    """
    return tuple(
        replace(ip, interface=position, gateway=ip.gateway or _first_gateway(conf, ip.address))
        for ip in assigned.ips
    )


def compute_routes(
    conf: "BridgeConf", ips: "Iterable[Ip]", assigned: "Result"
) -> tuple[Route, ...]:
    """Return the container's routes: IPAM's, and the default ones if the bridge is to be that.

    A default route of IPAM's with a gateway takes the place of ours; so does none in a family
    without addresses.
    """
    if not conf.is_default_gateway:
        return assigned.routes
    routes = list(assigned.routes)
    for ip in ips:
        default = "0.0.0.0/0" if is_ipv4(ip.address) else "::/0"
        if not any(route.gw and route.dst == default for route in routes):
            routes.append(Route(dst=default, gw=ip.gateway))
    return tuple(routes)


def compute_gateways(conf: "BridgeConf", ips: "Iterable[Ip]") -> tuple[str, ...]:
    """Return the addresses that the bridge is to have, with prefix length; each once."""
    if not conf.is_gateway:
        return ()
    cidrs = (f"{ip.gateway}/{ip.address.partition('/')[2]}" for ip in ips if ip.gateway)
    return tuple(dict.fromkeys(cidrs))


def _first_gateway(conf: "BridgeConf", cidr: str) -> str:
    if not conf.is_gateway:
        return ""
    packed, bits = parse_prefix(cidr)
    first = int.from_bytes(first_address(packed, bits), "big") + 1
    return render_address(first.to_bytes(len(packed), "big"))


def ensure_addresses(
    netlink: "NetlinkSocket", link: "LinkMessage", cidrs: "Iterable[str]", *, force: bool
) -> None:
    """Give a bridge its addresses.

    Args:
        netlink: of the host.
        link: the bridge, or the device of its VLAN.
        cidrs: that it is to have.
        force: take away what is in their way: for IPv4 any other address, for IPv6 those whose
            subnet overlaps.

    Raises:
        CniError: INVALID_CONFIG, something is in the way.
    """
    cidrs = tuple(cidrs)
    found = {_cidr_of(each): each for each in netlink.dump(dump_addresses(index=link["index"]))}
    for cidr in cidrs:
        if cidr in found:
            continue
        for other in compute_obstacles(cidr, found.keys() - set(cidrs)):
            _clear(netlink, link, cidr, other, found.pop(other), force=force)
        _add_address(netlink, link, cidr)


def compute_obstacles(cidr: str, others: "Iterable[str]") -> list[str]:
    """Return which of *others* a bridge may not have beside *cidr*."""
    if is_ipv4(cidr):
        return sorted(other for other in others if is_ipv4(other))
    return sorted(other for other in others if overlaps(cidr, other))


def overlaps(one: str, other: str) -> bool:
    """Tell whether the subnets of two addresses with prefix length have addresses in common."""
    (a, a_bits), (b, b_bits) = parse_prefix(one), parse_prefix(other)
    return share_subnet(a, b, min(a_bits, b_bits))


def _clear(
    netlink: "NetlinkSocket",
    link: "LinkMessage",
    cidr: str,
    other: str,
    message: "AddressMessage",
    *,
    force: bool,
) -> None:
    if not force:
        raise CniError(
            INVALID_CONFIG,
            f"{link['ifname']} has the address {other}, and is to have {cidr}: "
            "take it away, or set forceAddress",
        )
    try:
        netlink.request(delete_address(message))
    except NetlinkError as error:
        if not error.is_not_found:
            raise


def _add_address(netlink: "NetlinkSocket", link: "LinkMessage", cidr: str) -> None:
    if not is_ipv4(cidr):
        enable_ipv6(link["ifname"])
    try:
        netlink.request(
            create_address({**compute_address(Ip(address=cidr)), "index": link["index"]})
        )
    except NetlinkError as error:
        if not error.is_exists:
            raise
    # A bridge that somebody else made changes its MAC with its ports until it is set.
    netlink.request(change_link({"index": link["index"], "address": link["address"]}))


def _cidr_of(address: "AddressMessage") -> str:
    return format_prefix(address.get("local", address["address"]), address["prefixlen"])
