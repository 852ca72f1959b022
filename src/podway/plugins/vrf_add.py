"""ADD of ``vrf``: makes an interface part of a VRF, with everything that it had.

In: a call with prevResult. Out: the same. Why it is hard: an interface that comes to a master goes
down and up (cycle_netdev in the kernel's vrf.c), which costs it its IPv6 addresses and all routes
that the kernel does not write itself. So both are read before and written again.
"""

from podway.cni.errors import INVALID_CONFIG, IO_FAILURE, CniError
from podway.netlink.addresses import create_address, dump_addresses
from podway.netlink.constants import (
    AF_INET6,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IFF_UP,
    RT_TABLE_COMPAT,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTPROT_KERNEL,
)
from podway.netlink.links import change_link, create_link
from podway.netlink.routes import append_route
from podway.netlink.socket import NetlinkSocket
from podway.plugins.container_links import read_link
from podway.plugins.interfaces import carry_out, find_link, required_link
from podway.plugins.lingering import LinkDeletion
from podway.plugins.previous import required_previous_result
from podway.plugins.routing_tables import (
    kept_fields,
    lock_namespace,
    next_hops,
    table_routes,
    tables_in_use,
)
from podway.plugins.undo import Undo
from podway.plugins.vrf_conf import KIND, VrfConf, check_vrf, parse_conf, table_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from podway.cni.results import Result
    from podway.netlink.addresses import AddressMessage
    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.route_messages import RouteMessage
    from podway.plugins.skeleton import Call

_ADDRESS_FIELDS: "Final" = ("family", "prefixlen", "scope", "index", "address", "local")


def add(call: "Call") -> "Result":
    """Make the interface part of the VRF; return prevResult.

    Raises:
        CniError: there is no such interface, or it is part of something else; or what is called as
            the VRF is none, or has another table.
        NetlinkError: the kernel refuses; everything is as before.
    """
    conf = parse_conf(call.request)
    result = required_previous_result(call.request)
    lock_namespace(call.namespace)
    with NetlinkSocket(netns_fd=call.namespace) as inside, Undo() as undo:
        link = _free_link(inside, call)
        vrf = _find_or_make(inside, undo, call, conf)
        addresses, routes = _read(inside, link["index"])
        undo.push(_move, inside, link["index"], 0, (addresses, routes, RT_TABLE_MAIN))
        _move(inside, link["index"], vrf["index"], (addresses, routes, table_of(vrf)))
    return result


def _free_link(inside: NetlinkSocket, call: "Call") -> "LinkMessage":
    """Return the container's interface, which is part of nothing yet."""
    ifname = call.request.ifname
    link = required_link(inside, ifname, call.request.netns, IO_FAILURE)
    if link.get("master"):
        text = f"interface {ifname} is part of another device already (index {link['master']})"
        raise CniError(IO_FAILURE, text)
    return link


def _find_or_make(inside: NetlinkSocket, undo: Undo, call: "Call", conf: VrfConf) -> "LinkMessage":
    """Return the VRF device, made if there is none."""
    vrf = find_link(inside, conf.name)
    if vrf is not None:
        check_vrf(vrf, conf, INVALID_CONFIG)
        return vrf
    table = conf.table or choose_table(tables_in_use(inside))
    message: LinkMessage = {
        "ifname": conf.name,
        "flags": IFF_UP,
        "change": IFF_UP,
        "linkinfo": {"kind": KIND, "data": {"table": table}},
    }
    inside.request(create_link(message))
    vrf = read_link(inside, conf.name)
    undo.push(_delete, call, vrf["index"])
    return vrf


def choose_table(used: set[int]) -> int:
    """Return the first table that nobody uses and that means nothing to the kernel."""
    reserved = range(RT_TABLE_COMPAT, RT_TABLE_LOCAL + 1)
    table = 1
    while table in used or table in reserved:
        table += 1
    return table


def _delete(call: "Call", index: int) -> None:
    LinkDeletion(index, call.netns).wait()


def _read(
    inside: NetlinkSocket, index: int
) -> "tuple[tuple[AddressMessage, ...], tuple[RouteMessage, ...]]":
    """Return what the interface loses: IPv6 addresses, and routes that are not the kernel's own."""
    addresses = inside.dump(dump_addresses(AF_INET6, index=index))
    routes = [
        route
        for route in table_routes(inside, RT_TABLE_MAIN, index)
        if route["protocol"] != RTPROT_KERNEL
    ]
    return tuple(addresses), tuple(sorted(routes, key=lambda each: bool(next_hops(each))))


def _move(
    inside: NetlinkSocket,
    index: int,
    master: int,
    kept: "tuple[tuple[AddressMessage, ...], tuple[RouteMessage, ...], int]",
) -> None:
    """Make an interface part of *master* (0: of nothing), and write again what it loses.

    Args:
        inside: in the container's namespace.
        index: of the interface.
        master: index of a VRF device.
        kept: addresses, routes, and the table that these go to.
    """
    addresses, routes, table = kept
    inside.request(change_link({"index": index, "master": master}))
    there = {_identity(each) for each in inside.dump(dump_addresses(AF_INET6, index=index))}
    lost = [each for each in addresses if _identity(each) not in there]
    carry_out(inside, [create_address(_rewritten(each)) for each in lost])
    there_too = [kept_fields(each) for each in table_routes(inside, table, index)]
    kept_routes = [kept_fields(each) for each in routes]
    moved: list[Any] = [{**each, "table": table} for each in kept_routes if each not in there_too]
    carry_out(inside, [append_route(each) for each in moved])


def _identity(address: "AddressMessage") -> tuple[bytes, int]:
    return address.get("local", address.get("address", b"")), address["prefixlen"]


def _rewritten(address: "AddressMessage") -> "AddressMessage":
    """Return an address of a listing as it would be written; nobody else has it, as was known."""
    message: Any = {key: value for key, value in address.items() if key in _ADDRESS_FIELDS}
    message["flags"] = address["flags"] & IFA_F_NOPREFIXROUTE | IFA_F_NODAD
    return message  # type: ignore[no-any-return]  # an AddressMessage
