"""A pod's interface: the veth pair that crosses into its namespace, and all that is inside.

The pair is made with its far end directly in the pod's namespace, under its final name, so nothing
is ever moved or renamed and no half-made interface shows on the host. Then one batch inside the pod
gives it addresses, brings it up and writes its routes. What fails takes the pair with it.
"""

import errno
import os
import time
from typing import TYPE_CHECKING

from podway.kernel.addresses import address_fields, parse_address
from podway.kernel.devices import Devices
from podway.kernel.errors import kernel_error, worded
from podway.kernel.neighbours import neighbour_fields, parse_neighbour
from podway.kernel.protocol import KernelError
from podway.kernel.routes import parse_route, route_fields
from podway.kernel.sysctls import read_sysctl, write_sysctl
from podway.model.addresses import Family
from podway.model.kernel import Address, PodSide, Route, default_metric
from podway.model.networks import MIN_MTU_IPV6
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    NetnsError,
    Request,
    append_route,
    change_link,
    create_address,
    create_neighbour,
    create_route,
    dump_addresses,
    dump_neighbours,
    dump_routes,
    entered,
    get_link,
    get_route,
    open_netns,
)
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    IFF_UP,
    IN6_ADDR_GEN_MODE_NONE,
    RTM_NEWROUTE,
    RTN_LOCAL,
)
from podway.netlink.netns import current_identity, identity
from podway.netlink.procfs import open_procfs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podway.netlink.link_messages import LinkMessage

_LOOPBACK_INDEX = 1
# The longest that a pod's own addresses are waited for.
_OWN_ROUTES_S = 0.2
# How many interfaces of one pod may have a default route; nobody has so many.
_SPARES_MAX = 16


def open_pod(pod: PodSide, home_fd: int | None) -> int:
    """Return a descriptor of *pod*'s namespace; the caller closes it.

    Args:
        pod: says where the namespace is.
        home_fd: the node's own namespace; None for the calling thread's.

    Raises:
        NetnsError: ENOENT when there is no such file.
        KernelError: EINVAL when it is the node's own namespace.
    """
    fd = open_netns(pod.netns)
    home = current_identity() if home_fd is None else identity(home_fd)
    if identity(fd) == home:
        os.close(fd)
        operation = f"attach {pod.ifname} to {pod.netns}"
        raise KernelError(errno.EINVAL, operation, "that is the node's own network namespace")
    return fd


def configure_pod(pod: PodSide, fd: int, *, ipv6: bool) -> None:
    """Configure the pod's end, which exists, inside namespace *fd*.

    Args:
        pod: how it shall be.
        fd: the pod's namespace.
        ipv6: the kernel has IPv6.

    Raises:
        KernelError: a step failed; the message names it and the namespace.
    """
    ipv6 = ipv6 and pod.mtu >= MIN_MTU_IPV6
    with entered(fd):
        inside = NetlinkSocket()
        with inside, worded(f"set up IPv6 of {pod.ifname} in {pod.netns}"):
            if ipv6:
                _prepare_ipv6(pod)
            index = Devices(inside.fileno()).index(pod.ifname)
            requests = _pod_requests(pod, index, ipv6=ipv6)
            for request, error in zip(requests, inside.batch(requests), strict=True):
                left = error and _as_spare(inside, request, error)
                if left is not None:
                    raise _inside(pod, kernel_error(left))
            _await_own_routes(inside, pod)


def _await_own_routes(inside: NetlinkSocket, pod: PodSide) -> None:
    """Return once the pod takes what is sent to its IPv6 addresses.

    The routes that say so come from a work queue of the kernel's, also for addresses without
    duplicate address detection (addrconf_dad_start): on a busy machine later than the first packet,
    which would be lost. Whoever waits in vain goes on: the queue may be stuck, the pod is made.
    """
    deadline = time.monotonic() + _OWN_ROUTES_S
    for address in pod.addresses:
        while address.version == 6 and time.monotonic() < deadline:
            if _is_own(inside, address.ip.packed):
                break
            time.sleep(0.001)


def _is_own(inside: NetlinkSocket, address: bytes) -> bool:
    try:
        found = inside.request(get_route({"family": AF_INET6, "dst": address, "dst_len": 128}))
    except NetlinkError:  # no way at all, yet
        return False
    return found is not None and found["type"] == RTN_LOCAL


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


def _inside(pod: PodSide, error: KernelError) -> KernelError:
    """Return *error* with the namespace in which it happened."""
    reason = str(error).removeprefix(f"{error.operation}: ")
    return KernelError(error.errno, f"{error.operation} inside {pod.netns}", reason)


def _pod_requests(pod: PodSide, index: int, *, ipv6: bool) -> list[Request]:  # type: ignore[type-arg]
    up: LinkMessage = {"flags": IFF_UP, "change": IFF_UP}
    requests: list[Request] = [change_link({"index": _LOOPBACK_INDEX, **up})]  # type: ignore[type-arg]
    if ipv6:
        # A pod is known by the addresses it was given; a link-local one would cost it a duplicate
        # address detection and its node multicast listener reports, for nobody.
        quiet = {"inet6": {"addr_gen_mode": IN6_ADDR_GEN_MODE_NONE}}
        requests.append(change_link({"index": index, "af_spec": quiet}))
    return [
        *requests,
        change_link({"index": index, **up}),
        *(create_address(address_fields(address, index)) for address in pod.addresses),
        *(create_neighbour(neighbour_fields(entry, index)) for entry in pod.neighbours),
        *(_route_request(route, index) for route in pod.routes),
    ]


def _route_request(route: Route, index: int) -> Request:  # type: ignore[type-arg]
    """Return the request that writes *route* behind another interface's of the same prefix.

    An IPv4 route is appended, as a spare one. IPv6 would take an appended one for a second way and
    share the traffic out, so there a route that is not the first fails, see `_as_spare`.
    """
    fields = route_fields(route, lambda _name: index)
    return append_route(fields) if route.dst.version == 4 else create_route(fields)


def _as_spare(
    inside: NetlinkSocket,
    request: Request,  # type: ignore[type-arg]
    error: NetlinkError,
) -> NetlinkError | None:
    """Write an IPv6 route that another interface has already with the next free metric."""
    fields = request.fields
    if request.type != RTM_NEWROUTE or not error.is_exists or fields["family"] != AF_INET6:
        return error
    metric = fields.get("priority", default_metric(Family.IPV6))
    for number in range(metric + 1, metric + 1 + _SPARES_MAX):
        (left,) = inside.batch([create_route({**fields, "priority": number})])  # type: ignore[typeddict-item]
        if left is None or not left.is_exists:
            return left
    return error


def _prepare_ipv6(pod: PodSide) -> None:
    """Listen to no router but the node, and undo what runtimes write into a pod's sysctls.

    A router advertisement from another pod of the bridge could otherwise make itself the default
    route, even of a pod without IPv6 addresses (CVE-2020-10749).
    """
    path = f"ipv6/conf/{pod.ifname}"
    procfs = open_procfs()
    try:
        # Written without a look: opening a new device's sysctls costs more than all of netlink.
        write_sysctl(f"{path}/accept_ra", "0", procfs)
        wants_ipv6 = any(address.version == 6 for address in pod.addresses)
        if wants_ipv6 and read_sysctl(f"{path}/disable_ipv6", procfs) == "1":
            write_sysctl(f"{path}/disable_ipv6", "0", procfs)
    finally:
        os.close(procfs)


def _compare_pod(pod: PodSide, link: "LinkMessage", inside: NetlinkSocket) -> list[str]:
    index, ifname = link["index"], pod.ifname
    problems = [] if link["flags"] & IFF_UP else [f"{ifname} is down"]
    if link.get("address") != pod.mac:
        problems.append(f"{ifname} has MAC {link.get('address')}, not {pod.mac}")
    if link.get("mtu") != pod.mtu:
        problems.append(f"{ifname} has MTU {link.get('mtu')}, not {pod.mtu}")
    addresses = {parse_address(item, ifname) for item in inside.dump(dump_addresses(index=index))}
    problems += [
        f"{ifname} has lost its address {address}"
        for address in pod.addresses
        if Address(ifname, address) not in addresses
    ]
    neighbours = {
        parse_neighbour(item, ifname) for item in inside.dump(dump_neighbours(ifindex=index))
    }
    problems += [
        f"{ifname} has lost its neighbour {entry.address}"
        for entry in pod.neighbours
        if entry not in neighbours
    ]
    routes = {_way(route) for route in _routes(inside, index, ifname)}
    return problems + [
        f"the route to {route.dst} via {route.via or ifname} is gone"
        for route in pod.routes
        if _way(route) not in routes
    ]


def _routes(inside: NetlinkSocket, index: int, ifname: str) -> "Iterator[Route]":
    for family in (AF_INET, AF_INET6):
        for message in inside.dump(dump_routes(family, oif=index)):
            route = parse_route(message, lambda _index: ifname)
            if route is not None:
                yield route


def _way(route: Route) -> tuple[object, ...]:
    """Return what a pod depends on in *route*.

    Not its MTU: the way out may have had another one when the pod was made, and its router tells.
    """
    return route.dst, route.via, route.table
