"""A pod's interface: the veth pair that crosses into its namespace, and all that is inside.

The pair is made with its far end directly in the pod's namespace, under its final name, so nothing
is ever moved or renamed and no half-made interface shows on the host. Then one batch inside the pod
gives it addresses, brings it up and writes its routes. What fails takes the pair with it.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_address

from podway.kernel.addresses import address_fields
from podway.kernel.neighbours import neighbour_fields
from podway.kernel.routes import route_fields
from podway.kernel.sysctls import read_sysctl, write_sysctl
from podway.model.kernel import Link, PodSide, Veth
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    NetnsError,
    Request,
    append_route,
    change_link,
    create_address,
    create_link,
    create_neighbour,
    dump_addresses,
    dump_routes,
    entered,
    get_link,
    open_netns,
)
from podway.netlink.constants import AF_INET, AF_INET6, IFF_UP
from podway.netlink.netns import current_identity, identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.netlink.links import LinkMessage

_LOOPBACK_INDEX = 1


class OwnNamespaceError(NetnsError):
    """The pod's namespace is the node's own: nothing was touched."""


def create_pair(
    netlink: NetlinkSocket, link: Link, finish: Callable[[], None], undo: Callable[[], None]
) -> None:
    """Make the veth pair that *link* describes and configure both ends.

    Args:
        netlink: a socket on the host.
        link: the host end; its kind says how the pod's end shall be.
        finish: finishes the host end once it exists.
        undo: removes the pair again.

    Raises:
        NetlinkError, NetnsError: a step failed; nothing is left.
    """
    assert isinstance(link.kind, Veth)
    pod = link.kind.pod
    assert pod is not None, "only a pair read from the kernel has no pod side"
    with ExitStack() as cleanup:
        fd = open_netns(pod.netns)
        cleanup.callback(os.close, fd)
        if identity(fd) == current_identity():
            raise OwnNamespaceError(
                22, f"attach {pod.ifname} to {pod.netns}", "that is the node's own namespace"
            )
        netlink.request(create_link(_pair_fields(link, pod, fd)))
        with ExitStack() as failed:
            failed.callback(undo)
            finish()
            configure_pod(pod, fd)
            failed.pop_all()


def configure_pod(pod: PodSide, fd: int) -> None:
    """Configure the pod's end, which exists, inside namespace *fd*."""
    if any(address.version == 6 for address in pod.addresses):
        with entered(fd):
            _enable_ipv6(pod.ifname)
    with NetlinkSocket(netns_fd=fd) as inside:
        link = inside.request(get_link({"ifname": pod.ifname}))
        assert link is not None
        index = link["index"]
        for error in inside.batch(_pod_requests(pod, index)):
            if error is not None:
                raise error


def check_pod(pod: PodSide) -> list[str]:
    """Return what is wrong inside a pod, in sentences; nothing when all is as it was made."""
    try:
        fd = open_netns(pod.netns)
    except NetnsError as error:
        return [str(error)]
    try:
        with NetlinkSocket(netns_fd=fd) as inside:
            link = inside.request(get_link({"ifname": pod.ifname}))
            assert link is not None
            return _compare_pod(pod, link, inside)
    except NetlinkError as error:
        return [str(error)]
    finally:
        os.close(fd)


def _pair_fields(link: Link, pod: PodSide, fd: int) -> "LinkMessage":
    peer = {"ifname": pod.ifname, "mtu": pod.mtu, "address": pod.mac, "net_ns_fd": fd}
    fields: LinkMessage = {
        "ifname": link.name,
        "linkinfo": {"kind": "veth", "data": {"peer": peer}},
    }
    if link.mtu is not None:
        fields["mtu"] = link.mtu
    if link.mac is not None:
        fields["address"] = link.mac
    return fields


def _pod_requests(pod: PodSide, index: int) -> list[Request]:  # type: ignore[type-arg]
    up: LinkMessage = {"index": index, "flags": IFF_UP, "change": IFF_UP}
    return [
        change_link({"index": _LOOPBACK_INDEX, "flags": IFF_UP, "change": IFF_UP}),
        *(create_address(address_fields(address, index)) for address in pod.addresses),
        change_link(up),
        *(create_neighbour(neighbour_fields(entry, index)) for entry in pod.neighbours),
        # Appended: the first interface's default route stays the first one where there are two.
        *(append_route(route_fields(route, lambda _name: index)) for route in pod.routes),
    ]


def _enable_ipv6(ifname: str) -> None:
    """Undo what runtimes write into a pod's sysctls, and listen to no router but the node."""
    if read_sysctl(f"ipv6/conf/{ifname}/disable_ipv6") == "1":
        write_sysctl(f"ipv6/conf/{ifname}/disable_ipv6", "0")
    if read_sysctl(f"ipv6/conf/{ifname}/accept_ra") not in (None, "0"):
        write_sysctl(f"ipv6/conf/{ifname}/accept_ra", "0")


def _compare_pod(pod: PodSide, link: "LinkMessage", inside: NetlinkSocket) -> list[str]:
    problems = []
    if not link["flags"] & IFF_UP:
        problems.append(f"{pod.ifname} is down")
    if link.get("address") != pod.mac:
        problems.append(f"{pod.ifname} has MAC {link.get('address')}, not {pod.mac}")
    found = {
        (ip_address(packed), item["prefixlen"])
        for item in inside.dump(dump_addresses(index=link["index"]))
        if (packed := item.get("local") or item.get("address"))
    }
    problems += [
        f"{pod.ifname} has lost its address {address}"
        for address in pod.addresses
        if (address.ip, address.network.prefixlen) not in found
    ]
    routes = {
        (item["family"], item.get("dst", b""), item["dst_len"], item.get("gateway"))
        for family in (AF_INET, AF_INET6)
        for item in inside.dump(dump_routes(family, oif=link["index"]))
    }
    for route in pod.routes:
        family = AF_INET if route.dst.version == 4 else AF_INET6
        dst = route.dst.network_address.packed if route.dst.prefixlen else b""
        via = route.via.packed if route.via is not None else None
        if (family, dst, route.dst.prefixlen, via) not in routes:
            problems.append(f"the route {route.dst} via {route.via or pod.ifname} is gone")
    return problems
