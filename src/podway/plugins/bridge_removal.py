"""DEL and GC of the ``bridge`` plugin: what is left of an attachment, found and taken away.

In: a call. Out: nothing. Called by `bridge`. Why it is hard: anything may be gone already, the
namespace above all; then the host's end of the pair is found by its mark (`marks`), and masquerade
by names that network and container give. One thing that cannot be removed must not keep the rest.
And the kernel's waits must not add up: the device goes in a child process while the rules go here.
"""

from podway.cni.errors import CniError
from podway.netlink.links import delete_link, dump_links
from podway.netlink.nft_transactions import NftSocket
from podway.netlink.socket import NetlinkSocket
from podway.netlink.text import format_prefix
from podway.plugins.bridge_conf import BridgeConf, parse_bridge_conf
from podway.plugins.bridge_rules import remove_garbage_rules, remove_rules
from podway.plugins.delegation import pass_to_ipam, release_from_interface
from podway.plugins.interfaces import assigned_addresses, find_link
from podway.plugins.lingering import LinkDeletion, leave_sockets_to_child
from podway.plugins.marks import mark_of, network_mark, valid_marks
from podway.plugins.nft_commits import open_if_any
from podway.plugins.previous import previous_result
from podway.plugins.undo import attempt_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.netlink.link_messages import LinkMessage
    from podway.plugins.skeleton import Call


def delete(call: "Call") -> None:
    """Detach the container from the bridge."""
    conf = parse_bridge_conf(call)
    release_from_interface(call)
    cidrs = _previous_cidrs(call)
    link, netns = None, call.netns
    if netns is not None:
        with NetlinkSocket(netns_fd=netns) as inside:
            link = find_pair_end(inside, call.request.ifname)
            if link is not None and not cidrs:
                cidrs = _cidrs_of(inside, link["index"])
    if link is None:
        # The namespace is gone, or the container has renamed its end or given it away.
        link, netns = _find_host_end(call), None
    _delete_all(call, conf, cidrs, None if link is None else (link["index"], netns))


def find_pair_end(netlink: NetlinkSocket, ifname: str) -> "LinkMessage | None":
    """Return the end of a pair of that name; None without one, or if it is another kind."""
    link = find_link(netlink, ifname)
    if link is None or link.get("linkinfo", {}).get("kind") != "veth":
        return None
    return link


def _delete_all(
    call: "Call", conf: BridgeConf, cidrs: tuple[str, ...], device: tuple[int, int | None] | None
) -> None:
    """Delete device and rules at the same time; then give the addresses back."""
    has_rules = conf.ip_masq or conf.spoof_check
    # Opened before the child starts, which then has it open for longer than this process.
    nft = NftSocket() if has_rules else open_if_any()
    deletion = None if device is None else LinkDeletion(*device)

    def remove_device() -> None:
        if deletion is not None:
            deletion.wait()
        pass_to_ipam(call)

    def remove_its_rules() -> None:
        if nft is not None and remove_rules(nft, call, cidrs) and deletion is None:
            leave_sockets_to_child()

    attempt_all(remove_its_rules, remove_device)


def _previous_cidrs(call: "Call") -> tuple[str, ...]:
    """Return the addresses that prevResult tells of, () if there is none that can be read."""
    try:
        result = previous_result(call.request)
    except CniError:
        return ()
    return tuple(ip.address for ip in result.ips) if result is not None else ()


def _cidrs_of(netlink: NetlinkSocket, index: int) -> tuple[str, ...]:
    return tuple(
        format_prefix(each.get("local", each["address"]), each["prefixlen"])
        for each in assigned_addresses(netlink, index)
    )


def _find_host_end(call: "Call") -> "LinkMessage | None":
    """Return the host's end by its mark, wherever the other one is by now."""
    mark = mark_of(call.request)
    with NetlinkSocket() as host:
        links = host.dump(dump_links(kind="veth"))
    return next((link for link in links if link.get("ifalias") == mark), None)


def gc(call: "Call") -> None:
    """Take away what belongs to attachments of this network that are not valid any more."""
    valid, prefix = valid_marks(call.request), network_mark(call.config.name)
    with NetlinkSocket() as host:
        links = host.dump(dump_links(kind="veth"))
        gone = [
            link
            for link in links
            if link.get("ifalias", "").startswith(prefix) and link["ifalias"] not in valid
        ]
        attempt_all(
            lambda: _remove_garbage_rules(call, {link["ifname"] for link in links}, gone),
            lambda: _delete_links(host, gone),
            lambda: pass_to_ipam(call),
        )


def _remove_garbage_rules(call: "Call", names: set[str], gone: "list[LinkMessage]") -> None:
    alive = names - {link["ifname"] for link in gone}
    nft = open_if_any()
    if nft is not None:
        with nft:
            remove_garbage_rules(nft, call, lambda name: name not in alive)


def _delete_links(host: NetlinkSocket, links: "list[LinkMessage]") -> None:
    errors = host.batch(delete_link({"index": link["index"]}) for link in links)
    for error in errors:
        if error is not None and not error.is_not_found:
            raise error
