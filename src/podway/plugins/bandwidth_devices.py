"""The devices of ``bandwidth``: the host's end of an attachment, and the ifb device beside it.

In: an attachment. Out: devices as the kernel has them. Called by all commands.

An ifb device is called as the reference plugin's, by network and container: ``bwp`` and twelve
digits of a hash. A container that is attached twice would have one of the same name twice, so
there is a second name, by network, container and interface. Each device is made under the second
name and gets its mark (`marks`) in one system call, then it is renamed if nobody has the first: at
no time is there one of which nobody knows whose it is.
"""

from podway.netlink.errors import NetlinkError
from podway.netlink.links import change_link, create_link, get_link
from podway.netlink.netns_ids import read_netns_id
from podway.plugins.container_links import delete_if_any, link_kind, read_link
from podway.plugins.digests import sha512_hex
from podway.plugins.interfaces import find_link
from podway.plugins.marks import mark_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.requests import Request
    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.socket import NetlinkSocket
    from podway.plugins.skeleton import Call

KIND: "Final" = "ifb"
PREFIX: "Final" = "bwp"
_PAIR_KIND: "Final" = "veth"
_DIGITS: "Final" = 12
# Of an ifb device: less, and bursts are dropped before they are shaped.
_MIN_TXQLEN: "Final" = 1000


def ifb_name(network: str, container_id: str) -> str:
    """Return what the reference plugin calls the ifb device of a container."""
    return PREFIX + sha512_hex(network + container_id)[:_DIGITS]


def second_name(mark: str) -> str:
    """Return the name of the ifb device of an attachment while it is made, and of others then."""
    return PREFIX + sha512_hex(mark)[:_DIGITS]


def find_host_end(host: "NetlinkSocket", netns: int, ifname: str) -> "LinkMessage | None":
    """Return the device of the host whose other end is interface *ifname* in *netns*.

    None where there is no such interface, or its other end is elsewhere.
    """
    netns_id = read_netns_id(host, netns)
    if netns_id is None:  # no device here leads there
        return None
    inner = _find(host, {"ifname": ifname, "target_netnsid": netns_id})
    if inner is None or link_kind(inner) != _PAIR_KIND:
        return None
    outer = _find(host, {"index": inner.get("link", 0)}) if inner.get("link") else None
    if outer is None or link_kind(outer) != _PAIR_KIND:
        return None
    ends = outer.get("link"), outer.get("link_netnsid")
    return outer if ends == (inner["index"], netns_id) else None


def _find(host: "NetlinkSocket", fields: "LinkMessage") -> "LinkMessage | None":
    try:
        return host.request(get_link(fields))
    except NetlinkError as error:
        if error.is_not_found:
            return None
        raise


def make_ifb(host: "NetlinkSocket", request: "Request", outer: "LinkMessage") -> "LinkMessage":
    """Make the ifb device of an attachment, which is down yet; return it.

    Raises:
        NetlinkError: the kernel refuses; EEXIST if there is one of this attachment.
    """
    mark = mark_of(request)
    first, second = ifb_name(request.config.name, request.container_id), second_name(mark)
    message: LinkMessage = {
        "ifname": second,
        "mtu": outer["mtu"],
        "txqlen": max(outer.get("txqlen", 0), _MIN_TXQLEN),
        "linkinfo": {"kind": KIND},
    }
    mark_it = change_link({"ifname": second, "ifalias": mark})
    for error in host.batch([create_link(message), mark_it]):
        if error:
            raise error
    return _rename(host, read_link(host, second), first)


def _rename(host: "NetlinkSocket", link: "LinkMessage", name: str) -> "LinkMessage":
    """Return a device under another name, or as it is if that is taken."""
    try:
        host.request(change_link({"index": link["index"], "ifname": name}))
    except NetlinkError as error:
        if not error.is_exists:
            delete_if_any(host, link["index"])
            raise
        return link
    return {**link, "ifname": name}


def find_ifbs(host: "NetlinkSocket", call: "Call") -> "list[LinkMessage]":
    """Return the ifb devices of an attachment, also one that the reference plugin made.

    That has no mark, and is the container's, whatever interface it was made for.
    """
    mark = mark_of(call.request)
    first = _find_ifb(host, ifb_name(call.config.name, call.request.container_id))
    second = _find_ifb(host, second_name(mark))
    found = [second] if second else []
    alias = first.get("ifalias", "") if first else ""
    if first and (alias == mark or not (alias or second)):
        found.append(first)
    return found


def _find_ifb(host: "NetlinkSocket", name: str) -> "LinkMessage | None":
    link = find_link(host, name)
    return link if link and link_kind(link) == KIND else None
