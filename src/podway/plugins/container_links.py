"""Devices of a container: made in its namespace under their final name, removed, and checked.

In: a link message. Out: the device as the kernel has it. Called by the main plugins; those whose
device is part of another one make it by `children`.
"""

from podway.cni.errors import CHECK_FAILED, IO_FAILURE, CniError
from podway.netlink.errors import NetlinkError
from podway.netlink.links import create_link, delete_link, get_link
from podway.netlink.socket import NetlinkSocket
from podway.plugins.interfaces import find_link
from podway.plugins.lingering import LinkDeletion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from podway.netlink.link_messages import LinkMessage
    from podway.plugins.skeleton import Call


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
