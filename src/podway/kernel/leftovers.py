"""Finds what a flanneld left in this node's kernel, and makes it podway's. One namespace.

In: nothing but the kernel and /proc; out: `Leftovers`. `adopt` carries out an `Adoption`. Called in
the kernel's thread, and by ``podway migrate``. Rules of netfilter are `flannel_rules`' matter.
"""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podway.compute.adoption import Adopted, Adoption, tunnel_name
from podway.kernel.addresses import parse_address
from podway.kernel.devices import Devices
from podway.kernel.errors import NoDeviceError, kernel_error, worded
from podway.kernel.flannel_rules import find_rule_sets
from podway.kernel.inventory import made_by_kernel
from podway.kernel.links import parse_link
from podway.kernel.neighbours import parse_neighbour
from podway.kernel.protocol import KernelError
from podway.kernel.routes import parse_route, route_fields
from podway.model.addresses import Family
from podway.model.instances import Instance
from podway.model.kernel import MAIN_TABLE, Address, FdbEntry, Link, Neighbour, Route, Vxlan
from podway.model.leftovers import FLANNEL_PROTOCOL, Leftovers
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    Request,
    change_link,
    dump_addresses,
    dump_fdb,
    dump_links,
    dump_neighbours,
    dump_routes,
    replace_route,
)

if TYPE_CHECKING:
    from podway.netlink.link_messages import LinkMessage

_FLANNELS_NAME = re.compile(r"flannel(0|\.\d+|-v6\.\d+|\.ipip|-wg|-wg-v6)")
_COMM = "flanneld"


def read_leftovers(instance: Instance, netns_fd: int | None = None) -> Leftovers:
    """Return what there is of a flanneld, for an agent that is *instance*.

    Raises:
        KernelError: the kernel cannot be read.
    """
    with worded("look for what flanneld left"):
        netlink = NetlinkSocket(netns_fd=netns_fd)
        try:
            return _read(netlink, instance, netns_fd)
        finally:
            netlink.close()


def _read(netlink: NetlinkSocket, instance: Instance, netns_fd: int | None) -> Leftovers:
    names = Devices(netlink.fileno()).name
    links: dict[int, Link] = {}
    strange: list[str] = []
    for message in netlink.dump(dump_links()):
        link = parse_link(message, names, instance.marks)
        if link is not None and _is_tunnel(link, instance):
            links[message["index"]] = link
        elif _FLANNELS_NAME.fullmatch(message["ifname"]):
            strange.append(message["ifname"])
    devices = {link.name for link in links.values()}
    routes = list(_routes(netlink, names))
    return Leftovers(
        links=tuple(links.values()),
        indexes={link.name: index for index, link in links.items()},
        strange=tuple(strange),
        routes=tuple(route for route in routes if route.dev in devices),
        entries=tuple(_entries(netlink, links)),
        direct=tuple(route for route in routes if route.dev not in devices and route.via),
        rules=find_rule_sets(netns_fd),
        processes=tuple(_processes(netns_fd)),
    )


def _is_tunnel(link: Link, instance: Instance) -> bool:
    """Tell whether *link* is flanneld's tunnel, or already (half) taken over as ours."""
    found = tunnel_name(link, instance)
    return found is not None and (
        _FLANNELS_NAME.fullmatch(link.name) is not None or link.name == found[0]
    )


def _routes(netlink: NetlinkSocket, names: Any) -> Iterator[Route]:
    for family in Family:
        request = dump_routes(family, table=MAIN_TABLE, protocol=FLANNEL_PROTOCOL)
        for message in netlink.dump(request):
            route = parse_route(message, names)
            if route is not None and route.kind == "unicast" and not route.nexthops:
                yield route


def _entries(
    netlink: NetlinkSocket, links: dict[int, Link]
) -> Iterator[Address | Neighbour | FdbEntry]:
    for index, link in links.items():
        for message in netlink.dump(dump_addresses(index=index)):
            address = parse_address(message, link.name)
            if address is not None and not made_by_kernel(message):
                yield address
        requests = [dump_neighbours(ifindex=index)]
        requests += [dump_fdb(ifindex=index)] if isinstance(link.kind, Vxlan) else []
        for request in requests:
            for entry in netlink.dump(request):
                found = parse_neighbour(entry, link.name)
                if found is not None:
                    yield found


def _processes(netns_fd: int | None) -> Iterator[int]:
    """Yield the numbers of the flannelds of this network namespace."""
    here = os.stat("/proc/thread-self/ns/net") if netns_fd is None else os.fstat(netns_fd)  # noqa: PTH116
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "comm").read_text().strip() != _COMM:
                continue
            there = (entry / "ns/net").stat()
        except OSError:  # it has just ended
            continue
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
            yield int(entry.name)


def adopt(adoption: Adoption, netns_fd: int | None = None) -> None:
    """Carry *adoption* out; what was done before a failure stays.

    Raises:
        KernelError: EBUSY where this kernel does not rename a device that is up (before Linux
            6.2); else as the kernel says.
    """
    with worded("take over from flanneld"):
        netlink = NetlinkSocket(netns_fd=netns_fd)
        try:
            for link in adoption.links:
                _adopt_link(netlink, link)
            devices = Devices(netlink.fileno())

            def index_of(dev: str) -> int:
                index = devices.index(dev)
                if not index:
                    raise NoDeviceError(dev, f"use device {dev}")
                return index

            requests = [replace_route(route_fields(route, index_of)) for route in adoption.routes]
            for error in netlink.batch(requests):
                if error is not None:
                    raise kernel_error(error)
        finally:
            netlink.close()


def _adopt_link(netlink: NetlinkSocket, link: Adopted) -> None:
    try:
        netlink.request(_link_request(link))
    except NetlinkError as error:
        if error.errno != errno.EBUSY or not link.is_renamed:
            raise
        reason = (
            "this kernel renames no device that is up (Linux 6.2 and later do): keep the names, "
            "with --device-prefix flannel"
        )
        raise KernelError(errno.EBUSY, f"rename {link.old} to {link.new}", reason) from error


def _link_request(link: Adopted) -> "Request[LinkMessage]":
    """Return the one message that gives a device its name and mark.

    The kernel changes the name before the alias (do_setlink) and both under one lock, so nobody can
    be killed in between.
    """
    fields: LinkMessage = {"index": link.index, "ifalias": link.alias}
    if link.is_renamed:
        fields["ifname"] = link.new
    return change_link(fields)
