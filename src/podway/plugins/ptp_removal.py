"""Takes ``ptp`` attachments away: DEL, and GC.

In: a call, which may know neither namespace nor prevResult. Out: devices, rules and addresses are
gone. The host's end bears a mark, by which it is found when the namespace is not.
"""

from podway.cni.errors import CniError
from podway.netlink.constants import RT_SCOPE_UNIVERSE
from podway.netlink.links import dump_links
from podway.netlink.nft_transactions import NftSocket
from podway.netlink.socket import NetlinkSocket
from podway.netlink.text import format_prefix
from podway.plugins.container_links import delete_if_any, link_kind
from podway.plugins.delegation import pass_to_ipam
from podway.plugins.interfaces import assigned_addresses, find_link
from podway.plugins.lingering import LinkDeletion, leave_sockets_to_child
from podway.plugins.marks import mark_of, network_mark, valid_marks
from podway.plugins.masquerade import masquerade_of
from podway.plugins.masquerade_rules import (
    delete_legacy_garbage,
    delete_legacy_masquerade,
    find_masquerade,
    find_masquerade_garbage,
)
from podway.plugins.nft_commits import commit_found, open_if_any
from podway.plugins.previous import container_interface, required_previous_result
from podway.plugins.ptp_conf import KIND, parse_conf
from podway.plugins.undo import attempt_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podway.netlink.messages import Request
    from podway.plugins.skeleton import Call


def delete(call: "Call") -> None:
    """Take away both devices, the rules, and give the addresses back."""
    parse_conf(call)
    cidrs, deletions = _begin_deletions(call)
    # While the devices go.
    steps = [deletion.wait for deletion in deletions]
    if cidrs is not None:
        # Whatever the configuration says now: it may have been another one.
        steps.insert(0, lambda: delete_masquerade(call, cidrs))
    attempt_all(*steps, lambda: pass_to_ipam(call))


def _begin_deletions(call: "Call") -> "tuple[tuple[str, ...] | None, list[LinkDeletion]]":
    """Return the addresses of the attachment, and what is under way to be deleted.

    No addresses mean all that the container has in this network, None that it is not known which
    of them are this attachment's.
    """
    if call.netns is not None:
        with NetlinkSocket(netns_fd=call.netns) as inside:
            link = find_link(inside, call.request.ifname)
            if link is not None and link_kind(link) == KIND:
                found = _addresses(inside, link["index"])
                # The container may have changed what it was given.
                return (*found, *_told_addresses(call)), [LinkDeletion(link["index"], call.netns)]
    with NetlinkSocket() as host:
        links = host.dump(dump_links(kind=KIND))
    mark = mark_of(call.request)
    marks = {link.get("ifalias", ""): link["index"] for link in links}
    deletions = [LinkDeletion(marks[mark])] if mark in marks else []
    if call.netns is None:
        return (), deletions
    container = mark.removesuffix(call.request.ifname)
    siblings = [each for each in marks if each != mark and each.startswith(container)]
    return _told_addresses(call) or (None if siblings else ()), deletions


def _told_addresses(call: "Call") -> tuple[str, ...]:
    """Return the attachment's addresses by prevResult, empty without one that can be read."""
    try:
        result = required_previous_result(call.request)
        position = container_interface(result, call.request)
    except CniError:  # a help where there is one: DEL does without
        return ()
    return tuple(ip.address for ip in result.ips if ip.interface == position)


def _addresses(inside: NetlinkSocket, index: int) -> tuple[str, ...]:
    return tuple(
        format_prefix(address.get("local", address["address"]), address["prefixlen"])
        for address in assigned_addresses(inside, index)
        if address["scope"] == RT_SCOPE_UNIVERSE
    )


def delete_masquerade(call: "Call", cidrs: tuple[str, ...]) -> None:
    """Delete the rules of an attachment's addresses; of the whole container for none.

    Raises:
        CniError, NetlinkError: something is still there.
    """
    masquerade = masquerade_of(call.request, cidrs)
    delete_legacy_masquerade(masquerade)
    _commit(lambda nft: find_masquerade(nft, masquerade))


def _commit(find: "Callable[[NftSocket], list[Request[Any]]]") -> None:
    """Delete what *find* finds in nftables; who waits for memory is a child (`lingering`)."""
    nft = open_if_any()
    if nft is None:
        return
    with nft:
        if commit_found(nft, lambda: find(nft)):
            leave_sockets_to_child()


def gc(call: "Call") -> None:
    """Take away devices, rules and addresses of attachments that are not valid any more."""
    parse_conf(call)
    attempt_all(
        lambda: _collect_rules(call),
        lambda: _collect_devices(call),
        lambda: pass_to_ipam(call),
    )


def _collect_devices(call: "Call") -> None:
    """Delete the host's ends that bear a mark of this network, and none of a valid attachment."""
    start, valid = network_mark(call.config.name), valid_marks(call.request)
    with NetlinkSocket() as host:
        for link in host.dump(dump_links(kind=KIND)):
            mark = link.get("ifalias", "")
            if mark.startswith(start) and mark not in valid:
                delete_if_any(host, link["index"])


def _collect_rules(call: "Call") -> None:
    network, attachments = call.config.name, call.config.valid_attachments or ()
    valid = frozenset((each.container_id, each.ifname) for each in attachments)
    delete_legacy_garbage(network, valid)
    _commit(lambda nft: find_masquerade_garbage(nft, network, valid))
