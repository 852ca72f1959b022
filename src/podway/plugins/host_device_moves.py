"""Moves a device of the host into a container, and brings it back as it was.

In: a `HostState`, which says what it was. Out: the device where it belongs, under its name. Called
by `host_device`.

One request moves, renames and brings up (do_setlink), so no name of passage is ever seen on the
host, where udev would act on it; the reference plugin takes a namespace of passage for that. Before
the move the device gets its name as its alias, which the kernel keeps: so it is found again
wherever a call was interrupted. On the way back it is renamed inside the container first.

When a namespace ends, the kernel destroys virtual devices and puts hardware back on the host, down,
under the name that it had inside or another one. From there the alias leads it home as well.
"""

import posix
from errno import EBUSY
from time import monotonic, sleep

from podway.cni.errors import IO_FAILURE, CniError
from podway.cni.names import broken_ifname_rule
from podway.netlink.addresses import create_address
from podway.netlink.constants import AF_INET6, IFF_UP
from podway.netlink.errors import NetlinkError
from podway.netlink.links import change_link, dump_links
from podway.netlink.netns import open_current_netns
from podway.netlink.routes import append_route, create_route
from podway.netlink.socket import NetlinkSocket
from podway.plugins.container_links import link_kind, read_link
from podway.plugins.interfaces import enable_ipv6, find_link, settle_addresses
from podway.plugins.process import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.messages import Request
    from podway.netlink.route_messages import RouteMessage
    from podway.plugins.host_device_state import HostState

# The kernel gives hardware back a while after the last process left the namespace.
_GIVEN_BACK_WITHIN_S: "Final" = 2.0
_ASK_AGAIN_S: "Final" = 0.01


def move_in(host: NetlinkSocket, index: int, netns_fd: int, state: "HostState") -> None:
    """Move the device into a namespace, under the name of the attachment.

    Raises:
        NetlinkError: the kernel refuses; `bring_back` knows what to do then.
    """
    host.request(change_link({"index": index, "ifalias": state.name}))
    host.request(change_link({"index": index, "net_ns_fd": netns_fd, "ifname": state.ifname}))


def bring_back(host: NetlinkSocket, netns_fd: int | None, state: "HostState") -> bool:
    """Bring the device back and give the host what it had; tell whether it was found.

    Args:
        host: of the thread's namespace.
        netns_fd: of the container; None when that is gone.
        state: what it was.

    Raises:
        CniError: the host has another device of that name.
        NetlinkError: the kernel refuses.
    """
    if netns_fd is not None:
        with NetlinkSocket(netns_fd=netns_fd) as inside:
            link = find_inside(inside, state)
            if link is not None:
                _refuse_other(host, state.name)
                _move_out(inside, link, state.name)
    link = find_outside(host, state)
    if link is None:
        return False
    give_back(host, link, state)
    return True


def bring_back_unknown(host: NetlinkSocket, netns_fd: int, ifname: str) -> None:
    """Bring back what the reference plugin took: the alias is all that is known of it.

    A device without a name for its alias is somebody else's.

    Raises:
        CniError: the host has another device of that name.
        NetlinkError: the kernel refuses.
    """
    with NetlinkSocket(netns_fd=netns_fd) as inside:
        link = find_link(inside, ifname)
        name = link.get("ifalias", "") if link is not None else ""
        if link is None or not name or broken_ifname_rule(name):
            return
        _refuse_other(host, name)
        _move_out(inside, link, name)
    host.request(change_link({"index": read_link(host, name)["index"], "ifalias": ""}))


def find_inside(inside: NetlinkSocket, state: "HostState") -> "LinkMessage | None":
    """Return the device in the container, under whatever name; None if it is not there.

    Processes of the container may change names and aliases, but not the address of hardware.
    """
    links = [link for link in inside.dump(dump_links()) if _may_be(link, state)]
    by_alias = [link for link in links if link.get("ifalias") == state.name]
    by_name = [link for link in by_alias if link["ifname"] == state.ifname]
    by_address = links if state.perm_mac else []
    return next(iter(by_name or by_alias or by_address), None)


def find_outside(host: NetlinkSocket, state: "HostState") -> "LinkMessage | None":
    """Return the device on the host, under whatever name; None if it is not there.

    One of the same name and address that bears no alias never left, or is back already.
    """
    links = [link for link in host.dump(dump_links()) if _may_be(link, state)]
    by_alias = [link for link in links if link.get("ifalias") == state.name]
    by_name = [
        link for link in links if link["ifname"] == state.name and link.get("address") == state.mac
    ]
    return next(iter(by_alias or by_name), None)


def _may_be(link: "LinkMessage", state: "HostState") -> bool:
    return link_kind(link) == state.kind and link.get("perm_address", "") == state.perm_mac


def await_hardware(host: NetlinkSocket, state: "HostState") -> None:
    """Wait until the kernel has given hardware back, but not for ever: it may be gone."""
    deadline_s = monotonic() + _GIVEN_BACK_WITHIN_S
    while not state.kind and find_outside(host, state) is None and monotonic() < deadline_s:
        sleep(_ASK_AGAIN_S)


def _refuse_other(host: NetlinkSocket, name: str) -> None:
    if find_link(host, name) is not None:
        raise CniError(
            IO_FAILURE,
            f"device {name} cannot come back: the host has another one of that name; rename it",
        )


def _move_out(inside: NetlinkSocket, link: "LinkMessage", name: str) -> None:
    """Move a device of the container to the thread's namespace, as *name*."""
    index = link["index"]
    home = open_current_netns()
    try:
        _rename(inside, index, name)
        # The name again, for where it could not be had in the container.
        inside.request(change_link({"index": index, "net_ns_fd": home, "ifname": name}))
    except NetlinkError:
        _put_back(inside, link)
        raise
    finally:
        posix.close(home)


def _rename(inside: NetlinkSocket, index: int, name: str) -> None:
    """Rename a device that may be up; it keeps its name where the container has that one."""
    rename = change_link({"index": index, "ifname": name})
    try:
        inside.request(rename)
    except NetlinkError as error:
        if error.errno == EBUSY:  # before Linux 6.2
            down = change_link({"index": index, "flags": 0, "change": IFF_UP})
            inside.batch([down, rename])
        elif not error.is_exists:
            raise


def _put_back(inside: NetlinkSocket, link: "LinkMessage") -> None:
    """Let a device that could not leave be what it was, so that it is found again."""
    message: LinkMessage = {"index": link["index"], "ifname": link["ifname"]}
    inside.batch(
        [
            change_link(message),
            change_link(
                {"index": link["index"], "flags": link["flags"] & IFF_UP, "change": IFF_UP}
            ),
        ]
    )


def give_back(host: NetlinkSocket, link: "LinkMessage", state: "HostState") -> None:
    """Give a device that is on the host again what it had there.

    What it has already stays; a route that can no longer be is complained of, not an error: the
    next call could do no better.

    Raises:
        NetlinkError: the kernel refuses.
    """
    index = link["index"]
    if link["ifname"] != state.name:  # the kernel gave it back, down
        host.request(change_link({"index": index, "ifname": state.name}))
    host.request(change_link(compute_change(link, state)))
    if state.master:
        _give_master(host, index, state.master)
    if any(address["family"] == AF_INET6 for address in state.addresses):
        enable_ipv6(state.name)
    _carry_out(host, [create_address({**each, "index": index}) for each in state.addresses])
    if state.is_up:
        host.request(change_link({"index": index, "flags": IFF_UP, "change": IFF_UP}))
    _give_routes(host, index, state)


def compute_change(link: "LinkMessage", state: "HostState") -> "LinkMessage":
    """Return what is to be changed about *link* itself, but for its name and whether it is up."""
    change: LinkMessage = {"index": link["index"], "ifalias": state.alias}
    if state.mac and link.get("address") != state.mac:
        change["address"] = state.mac
    if link["mtu"] != state.mtu_bytes:
        change["mtu"] = state.mtu_bytes
    return change


def compute_route_requests(state: "HostState", index: int) -> "list[Request[RouteMessage]]":
    """Return the requests that write the routes of device number *index*."""
    requests = []
    for route in state.routes:
        if "multipath" not in route:
            requests.append(create_route({**route, "oif": index}))
            continue
        hops = [{**hop, "ifindex": hop["ifindex"] or index} for hop in route["multipath"]]
        message: RouteMessage = {**route, "multipath": hops}  # type: ignore[typeddict-item]
        # IPv6: one more way to where others lead already.
        make = append_route if route["family"] == AF_INET6 else create_route
        requests.append(make(message))
    return requests


def _give_master(host: NetlinkSocket, index: int, name: str) -> None:
    master = find_link(host, name)
    if master is None:
        complain(f"host-device: {name}, whose port the device was, is gone")
        return
    host.request(change_link({"index": index, "master": master["index"]}))


def _give_routes(host: NetlinkSocket, index: int, state: "HostState") -> None:
    requests = compute_route_requests(state, index)
    refused = _refusals(host, requests)
    if any("prefsrc" in request.fields for request, _ in refused):
        # IPv6 takes no source address that may still turn out to be somebody else's.
        settle_addresses(host, index)
        refused = _refusals(host, [request for request, _ in refused])
    for _, error in refused:
        complain(f"host-device: {error}")


def _refusals(
    host: NetlinkSocket, requests: "list[Request[RouteMessage]]"
) -> "list[tuple[Request[RouteMessage], NetlinkError]]":
    """Carry out *requests*; return those that were refused. What is there already is none."""
    return [
        (request, error)
        for request, error in zip(requests, host.batch(requests), strict=True)
        if error is not None and not error.is_exists
    ]


def _carry_out(host: NetlinkSocket, requests: "list[Request[Any]]") -> None:
    for error in host.batch(requests):
        if error is not None and not error.is_exists:
            raise error
