"""The container's interface: its addresses and routes, planned and written (`interface_checks`).

In: the result of an ADD, as IPAM and the main plugin made it. Out: one batch of netlink requests.
Called by every main plugin. As the reference plugins' ``ipam.ConfigureIface``, but that a route's
mtu and advmss are applied, that routes given twice are written once, and that nothing waits for
duplicate address detection unless it was asked for.

A netlink socket speaks of the namespace in which it was opened; kernel parameters are those of the
calling thread. So: ``with entered(netns), NetlinkSocket() as netlink: configure_interface(...)``.
"""

from time import monotonic, sleep

from podway.cni.addresses import last_address, parse_address, parse_prefix
from podway.cni.errors import CHECK_FAILED, IO_FAILURE, CniError, broken_rule
from podway.cni.values import Value
from podway.netlink.addresses import create_address, dump_addresses
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    IFA_F_DADFAILED,
    IFA_F_NODAD,
    IFA_F_TENTATIVE,
    IFF_UP,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_MAIN,
    RTPROT_BOOT,
)
from podway.netlink.errors import NetlinkError
from podway.netlink.links import change_link, get_link
from podway.netlink.routes import append_route
from podway.netlink.socket import NetlinkSocket
from podway.plugins.sysctls import read_sysctl, write_sysctl, write_sysctl_if_any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from podway.cni.results import Ip, Result, Route
    from podway.netlink.addresses import AddressMessage
    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.messages import Request
    from podway.netlink.route_messages import RouteMessage, ViaFields

# How long duplicate address detection may take; the kernel needs about 1.5 s.
_SETTLED_WITHIN_S = 10.0
_ASK_AGAIN_S = 0.01
_POINT_TO_POINT_BITS = 31


class InterfacePlan(Value):
    """What one interface of a container is to have.

    Attributes:
        addresses: messages without ``index``.
        routes: messages without ``oif``, in the order in which they are to be written.
    """

    addresses: "tuple[AddressMessage, ...]"
    routes: "tuple[RouteMessage, ...]"

    @property
    def has_ipv6(self) -> bool:
        """One of the addresses is of IPv6."""
        return any(address["family"] == AF_INET6 for address in self.addresses)


def compute_interface_plan(result: "Result", position: int, *, dad: bool = False) -> InterfacePlan:
    """Return what interface number *position* of *result* is to have.

    Addresses that name no interface are passed over, as are those of others. A route without a
    gateway leads through the first gateway of its family, if there is one.

    Args:
        result: its ``ips`` name their interface.
        position: index into ``interfaces``.
        dad: let the kernel look for duplicates of IPv6 addresses before it uses them (1 to 2 s).
    """
    ips = [ip for ip in result.ips if ip.interface == position]
    gateways: dict[int, bytes] = {}
    for ip in ips:
        if ip.gateway:
            packed = parse_address(ip.gateway)
            gateways.setdefault(len(packed), packed)
    routes = [compute_route(route, gateways) for route in result.routes]
    return InterfacePlan(
        addresses=tuple(compute_address(ip, dad=dad) for ip in ips),
        routes=tuple(route for n, route in enumerate(routes) if route not in routes[:n]),
    )


def compute_address(ip: "Ip", *, dad: bool = False) -> "AddressMessage":
    """Return the address of *ip* as a message without ``index``."""
    packed, bits = parse_prefix(ip.address)
    message: AddressMessage = {"family": _family(packed), "prefixlen": bits, "local": packed}
    if len(packed) == 16:
        return {**message, "address": packed, "flags": 0 if dad else IFA_F_NODAD}
    message["address"] = packed
    if bits < _POINT_TO_POINT_BITS:
        message["broadcast"] = last_address(packed, bits)
    return message


def compute_route(route: "Route", gateways: "dict[int, bytes] | None" = None) -> "RouteMessage":
    """Return *route* as a message without ``oif``.

    Args:
        route: as in a result.
        gateways: next hop of routes that have none, by length of the address in bytes (4, 16).
    """
    packed, bits = parse_prefix(route.dst)
    message: RouteMessage = {
        "family": _family(packed),
        "dst_len": bits,
        "protocol": RTPROT_BOOT,
        "scope": RT_SCOPE_UNIVERSE if route.scope is None else route.scope,
        "table": RT_TABLE_MAIN if route.table is None else route.table,
    }
    if bits:
        message["dst"] = packed
    gateway = parse_address(route.gw) if route.gw else (gateways or {}).get(len(packed))
    if gateway and len(gateway) == len(packed):
        message["gateway"] = gateway
    elif gateway:
        message["via"] = _via(route, gateway)
    if route.priority:
        message["priority"] = route.priority
    metrics = {"mtu": route.mtu, "advmss": route.advmss}
    if any(metrics.values()):
        message["metrics"] = {name: value for name, value in metrics.items() if value}
    return message


def _via(route: "Route", gateway: bytes) -> "ViaFields":
    """Return the next hop of another family: IPv4 by way of an IPv6 neighbour (RFC 8950)."""
    if ":" in route.dst:
        rule = f"must be an IPv6 address: an IPv4 neighbour cannot lead to {route.dst}"
        raise broken_rule("routes gw", route.gw, rule)
    return {"family": AF_INET6, "addr": gateway}


def configure_interface(
    netlink: NetlinkSocket,
    index: int,
    ifname: str,
    plan: InterfacePlan,
    *,
    announced_later: bool = False,
) -> None:
    """Give an interface its addresses, bring it up, and write its routes.

    The calling thread and *netlink* are in the interface's namespace.

    Args:
        netlink: socket.
        index: of the interface.
        ifname: its name.
        plan: addresses and routes.
        announced_later: `announce` will be called. The kernel would announce the IPv4 addresses
            as soon as the interface is up, so the parameter for that comes after. It is written by
            netlink: its path takes 0.8 ms on a machine with 1,000 namespaces (proc_sys_compare goes
            through all of them).

    Raises:
        NetlinkError: the kernel refuses; what was written before goes with the interface.
    """
    if plan.has_ipv6:
        for device in ("lo", ifname):
            enable_ipv6(device)
    requests: list[Request[Any]] = [
        create_address({**address, "index": index}) for address in plan.addresses
    ]
    requests.append(change_link({"index": index, "flags": IFF_UP, "change": IFF_UP}))
    if announced_later:
        told: LinkMessage = {"index": index, "af_spec": {"inet": {"conf": {"arp_notify": 1}}}}
        requests.append(change_link(told))
    requests += [append_route({**route, "oif": index}) for route in plan.routes]
    carry_out(netlink, requests)


def announce(netlink: NetlinkSocket, link: "LinkMessage") -> None:
    """Tell the neighbours of a device who has its addresses now (ARP, and ND where that is on).

    The kernel does so when a device comes up, or gets a MAC address, be it the one that it has. A
    device whose other end has just become a port of a bridge is up before the bridge forwards, and
    what it then says is lost more often than not.

    Raises:
        NetlinkError: the kernel refuses.
    """
    netlink.request(change_link({"index": link["index"], "address": link["address"]}))


def carry_out(netlink: NetlinkSocket, requests: "Iterable[Request[Any]]") -> None:
    """Carry out a batch.

    Raises:
        NetlinkError: the first one that failed.
    """
    for error in netlink.batch(requests):
        if error is not None:
            raise error


def enable_ipv6(device: str) -> None:
    """Make sure that *device*, of the thread's namespace, may have IPv6 addresses."""
    path = f"net/ipv6/conf/{device}/disable_ipv6"
    try:
        is_off = read_sysctl(path) != "0"
    except FileNotFoundError:  # no IPv6 at all: the address will be refused, with the reason
        return
    if is_off:
        write_sysctl(path, "0")


def disable_accept_ra(device: str) -> None:
    """Keep *device*, of the thread's namespace, from taking addresses by router advertisements."""
    write_sysctl_if_any(f"net/ipv6/conf/{device}/accept_ra", "0")


def settle_addresses(netlink: NetlinkSocket, index: int) -> None:
    """Wait until no IPv6 address of a device is tentative.

    Raises:
        CniError: IO_FAILURE, somebody else has one of them, or it takes too long.
    """
    deadline_s = monotonic() + _SETTLED_WITHIN_S
    while True:
        flags = [each["flags"] for each in netlink.dump(dump_addresses(AF_INET6, index=index))]
        if any(each & IFA_F_DADFAILED for each in flags):
            raise CniError(IO_FAILURE, "an IPv6 address is in use elsewhere on the link")
        if not any(each & IFA_F_TENTATIVE for each in flags):
            return
        if monotonic() > deadline_s:
            raise CniError(IO_FAILURE, f"IPv6 addresses are tentative after {_SETTLED_WITHIN_S} s")
        sleep(_ASK_AGAIN_S)


def set_up(netlink: NetlinkSocket, index: int) -> None:
    """Bring a device up."""
    netlink.request(change_link({"index": index, "flags": IFF_UP, "change": IFF_UP}))


def find_link(netlink: NetlinkSocket, ifname: str) -> "LinkMessage | None":
    """Return the device called *ifname*; None without one."""
    try:
        return netlink.request(get_link({"ifname": ifname}))
    except NetlinkError as error:
        if error.is_not_found:
            return None
        raise


def required_link(
    netlink: NetlinkSocket, ifname: str, where: str, code: int = CHECK_FAILED
) -> "LinkMessage":
    """Return the device called *ifname*, which an earlier call or plugin has made.

    Raises:
        CniError: *code*, there is none; *where* says in which namespace.
    """
    link = find_link(netlink, ifname)
    if link is None:
        raise CniError(code, f"interface {ifname} is missing in {where}")
    return link


def assigned_addresses(netlink: NetlinkSocket, index: int) -> "list[AddressMessage]":
    """Return the addresses of a device; none if another call has deleted it meanwhile."""
    try:
        return netlink.dump(dump_addresses(index=index))
    except NetlinkError as error:
        if error.is_not_found:
            return []
        raise


def _family(packed: bytes) -> int:
    return AF_INET if len(packed) == 4 else AF_INET6
