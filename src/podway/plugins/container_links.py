"""Devices of a container: made in its namespace under their final name, removed, and checked.

In: a link message. Out: the device as the kernel has it. Called by the main plugins. Why it is
hard: a device is made out of its master, which is in the host's namespace, for a name in the
container's. Kernels before 6.15 look for that name in the namespace of the socket as well
(rtnl_newlink), so that a host with an ``eth0`` of its own could give no container one. The
reference plugins make every device under a random name and rename it. Here that is what happens
only where the plain way is refused; NLM_F_EXCL keeps the host's device from being changed instead.
"""

from podway.cni.errors import CHECK_FAILED, IO_FAILURE, CniError
from podway.netlink.errors import NetlinkError
from podway.netlink.links import change_link, create_link, delete_link, get_link
from podway.netlink.socket import NetlinkSocket
from podway.plugins.interfaces import find_link
from podway.plugins.lingering import LinkDeletion
from podway.plugins.macs import random_veth_name
from podway.plugins.masters import find_master

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from podway.netlink.links import LinkMessage
    from podway.plugins.skeleton import Call


def make_child(
    call: "Call",
    master: str,
    compute: "Callable[[LinkMessage], LinkMessage]",
    *,
    link_in_container: bool,
) -> "LinkMessage":
    """Make a device that is part of another one; return it.

    Args:
        call: an ADD; the device is made in its namespace, called as it says.
        master: name of the other device, "" for the one of the default route.
        compute: gives the device's message, but for its name and namespace, from its master.
        link_in_container: the master is in the container's namespace, not in the host's.

    Raises:
        CniError: no such master; the name is taken; or as *compute* raises.
        NetlinkError: the kernel refuses.
    """
    with NetlinkSocket(netns_fd=call.namespace) as inside:
        if link_in_container:
            return make_link(call, inside, compute(find_master(inside, master)))
        with NetlinkSocket() as outside:
            message = compute(find_master(outside, master))
            return _make_across(call, inside, outside, message)


def make_link(call: "Call", inside: NetlinkSocket, message: "LinkMessage") -> "LinkMessage":
    """Make a device in the namespace of socket *inside*; return it.

    Raises:
        CniError: the name is taken.
        NetlinkError: the kernel refuses.
    """
    ifname = call.request.ifname
    try:
        inside.request(create_link({**message, "ifname": ifname}))
    except NetlinkError as error:
        if error.is_exists:
            refuse_taken_name(call, inside)
        raise
    return read_link(inside, ifname)


def _make_across(
    call: "Call", inside: NetlinkSocket, outside: NetlinkSocket, message: "LinkMessage"
) -> "LinkMessage":
    """Make a device in the container's namespace from a master in the host's."""
    message = {**message, "net_ns_fd": call.namespace}
    ifname = call.request.ifname
    try:
        outside.request(create_link({**message, "ifname": ifname}))
    except NetlinkError as error:
        if not error.is_exists:
            raise
        refuse_taken_name(call, inside)
        return _make_renamed(inside, outside, message, ifname)
    return read_link(inside, ifname)


def _make_renamed(
    inside: NetlinkSocket, outside: NetlinkSocket, message: "LinkMessage", ifname: str
) -> "LinkMessage":
    """Make a device under a random name and rename it: the host has one of its final name.

    Or something else exists already (the VLAN of this number): then this is refused as well.
    """
    temporary = random_veth_name()
    outside.request(create_link({**message, "ifname": temporary}))
    index = read_link(inside, temporary)["index"]
    try:
        inside.request(change_link({"index": index, "ifname": ifname}))
    except NetlinkError:
        inside.request(delete_link({"index": index}))
        raise
    return read_link(inside, ifname)


def refuse_taken_name(call: "Call", inside: NetlinkSocket) -> None:
    """Refuse a name that the container has a device of.

    Raises:
        CniError: IO_FAILURE, it has.
    """
    ifname = call.request.ifname
    if find_link(inside, ifname) is not None:
        raise CniError(
            IO_FAILURE,
            f"CNI_IFNAME = {ifname!r}: the container has such an interface already; "
            "each attachment needs a name of its own",
        )


def read_link(netlink: NetlinkSocket, ifname: str) -> "LinkMessage":
    """Return the device called *ifname*, which is there.

    Raises:
        NetlinkError: it is not.
    """
    link = netlink.request(get_link({"ifname": ifname}))
    assert link is not None  # a read answers or raises
    return link


def remove_link(call: "Call", kind: str) -> None:
    """Delete the container's interface, if it is there and of *kind*; another is not ours.

    Raises:
        NetlinkError: the kernel refuses.
    """
    if call.netns is None:
        return
    with NetlinkSocket(netns_fd=call.netns) as inside:
        link = find_link(inside, call.request.ifname)
    if link is not None and link_kind(link) == kind:
        LinkDeletion(link["index"], call.netns).wait()


def delete_if_any(netlink: NetlinkSocket, index: int) -> None:
    """Delete a device; one that is gone is no error.

    Raises:
        NetlinkError: the kernel refuses.
    """
    try:
        netlink.request(delete_link({"index": index}))
    except NetlinkError as error:
        if not error.is_not_found:
            raise


def link_kind(link: "LinkMessage") -> str:
    """Return what kind of device it is (``macvlan``), "" for hardware."""
    return link.get("linkinfo", {}).get("kind", "")


def check_kind(link: "LinkMessage", kind: str, wanted: "Mapping[str, Any]") -> None:
    """See that a device is of *kind*, with the parameters *wanted* of that kind.

    Raises:
        CniError: CHECK_FAILED, it is not.
    """
    name = link["ifname"]
    if link_kind(link) != kind:
        found = link_kind(link) or "hardware"
        raise CniError(CHECK_FAILED, f"interface {name} is of kind {found}, must be {kind}")
    data = link["linkinfo"].get("data", {})
    for key, value in wanted.items():
        if data.get(key) != value:
            raise CniError(
                CHECK_FAILED,
                f"{key} of {kind} interface {name} is {data.get(key)}, must be {value}",
            )


def check_master(
    call: "Call", link: "LinkMessage", master: str, *, link_in_container: bool
) -> None:
    """See that a device is part of *master*, where the configuration names one.

    A macvlan on a macvlan, and an ipvlan on an ipvlan, are part of what that one is part of.

    Raises:
        CniError: CHECK_FAILED, the master is gone, or the device is part of another one.
    """
    if not master:  # the default route may have changed since
        return
    with NetlinkSocket(netns_fd=call.namespace if link_in_container else None) as netlink:
        device = find_link(netlink, master)
    if device is None or link.get("link", 0) not in _lower_devices(device, link_kind(link)):
        raise CniError(CHECK_FAILED, f"interface {link['ifname']} is not part of {master}")


def _lower_devices(master: "LinkMessage", kind: str) -> tuple[int, ...]:
    """Return what the kernel may have taken for *master* in making a device of *kind*."""
    own = master["index"]
    return (own, master["link"]) if link_kind(master) == kind and "link" in master else (own,)
