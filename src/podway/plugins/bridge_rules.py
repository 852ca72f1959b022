"""Rules of netfilter that belong to an attachment to a bridge: masquerade and spoof check.

In: a call, its configuration. Out: rules written, removed, seen. Called by `bridge` and its
siblings. Everything that one call removes is one transaction on one socket: whoever closes a socket
after a deletion waits for a grace period, however much it was (`podway.netlink.nft_transactions`).
"""

from podway.netlink.constants import NFPROTO_BRIDGE
from podway.netlink.nft_transactions import NftSocket
from podway.plugins.bridge_conf import SPOOF_BASE, SPOOF_TABLE
from podway.plugins.masquerade import masquerade_of
from podway.plugins.masquerade_rules import (
    add_masquerade,
    check_masquerade,
    choose_backend,
    delete_legacy_garbage,
    delete_legacy_masquerade,
    find_masquerade,
    find_masquerade_garbage,
)
from podway.plugins.nft_commits import commit_found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podway.netlink.messages import Request
    from podway.plugins.bridge_conf import BridgeConf
    from podway.plugins.skeleton import Call

# The spoof check is rare: who has none does not load it.
# ruff: noqa: PLC0415


def write_rules(
    nft: NftSocket,
    call: "Call",
    conf: "BridgeConf",
    cidrs: tuple[str, ...],
    port: "tuple[str, str]",
) -> None:
    """Write what the configuration asks for.

    Args:
        nft: of the host.
        call: an ADD.
        conf: its configuration.
        cidrs: the container's addresses.
        port: name of the host's end, and MAC of the container's.

    Raises:
        NetlinkError, CniError: something could not be written; the rest may be there.
    """
    if conf.spoof_check:
        from podway.plugins.spoofing import (
            compute_spoof_check,
            find_spoof_check,
            has_spoof_base,
            spoof_id,
        )

        spoof = spoof_id(call.request.container_id, call.request.ifname)
        wanted_rules = compute_spoof_check(spoof, *port, has_base=has_spoof_base(nft))
        nft.commit([*find_spoof_check(nft, spoof), *wanted_rules])
    if conf.ip_masq and cidrs:
        wanted = masquerade_of(call.request, cidrs)
        add_masquerade(nft, wanted, choose_backend(conf.masq_backend))


def remove_rules(nft: NftSocket, call: "Call", cidrs: tuple[str, ...]) -> bool:
    """Take away what an attachment has; tell whether there was anything.

    Whatever the configuration says now: it may have been another one when the attachment was made.

    Raises:
        NetlinkError, CniError: something is still there.
    """
    wanted = masquerade_of(call.request, cidrs)

    def find() -> "list[Request[Any]]":
        requests = find_masquerade(nft, wanted)
        if nft.has_chain(NFPROTO_BRIDGE, SPOOF_TABLE, SPOOF_BASE):
            from podway.plugins.spoofing import find_spoof_check, spoof_id

            spoof = spoof_id(call.request.container_id, call.request.ifname)
            requests += find_spoof_check(nft, spoof)
        return requests

    delete_legacy_masquerade(wanted)
    return commit_found(nft, find)


def remove_garbage_rules(nft: NftSocket, call: "Call", is_gone: "Callable[[str], bool]") -> bool:
    """Take away what attachments of the network have that are not valid; tell if there was any.

    Args:
        nft: of the host.
        call: a GC.
        is_gone: tells of the name of a host's end that its attachment is gone.
    """
    from podway.plugins.spoofing import find_spoof_garbage

    valid = frozenset(
        (each.container_id, each.ifname) for each in call.config.valid_attachments or ()
    )
    network = call.config.name
    delete_legacy_garbage(network, valid)
    return commit_found(
        nft,
        lambda: [
            *find_masquerade_garbage(nft, network, valid),
            *find_spoof_garbage(nft, is_gone),
        ],
    )


def check_rules(
    nft: NftSocket,
    call: "Call",
    conf: "BridgeConf",
    cidrs: tuple[str, ...],
    port: "tuple[str, str]",
) -> None:
    """See that what `write_rules` writes is there.

    Raises:
        CniError: CHECK_FAILED.
    """
    if conf.spoof_check:
        from podway.plugins.spoofing import check_spoof_check, spoof_id

        check_spoof_check(nft, spoof_id(call.request.container_id, call.request.ifname), *port)
    if conf.ip_masq and cidrs:
        wanted = masquerade_of(call.request, cidrs)
        check_masquerade(nft, wanted, choose_backend(conf.masq_backend))
