"""DEL and GC of the ``portmap`` plugin.

In: a call. Out: nothing. Called by `portmap`, and by `portmap_add` to undo. DEL looks in both back
ends, and whether the runtime tells of ports or not: a port that stays published would lead to
whoever has the address next. It needs neither namespace nor prevResult. All goes in one
transaction; what the kernel then waits for is left to a child (`lingering`).
"""

from podway.cni.errors import CniError
from podway.netlink.nft_transactions import NftSocket
from podway.plugins import portmap_chains
from podway.plugins.iptables_chains import NFPROTO
from podway.plugins.iptables_kinds import IPV4, IPV6, has_legacy_table
from podway.plugins.lingering import leave_sockets_to_child
from podway.plugins.nft_commits import commit_found
from podway.plugins.portmap_conf import NFT_CHAIN, NFT_TABLE, parse_portmap_conf, publication_of
from podway.plugins.previous import previous_result
from podway.plugins.undo import attempt_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.requests import Request
    from podway.cni.results import Result
    from podway.plugins.iptables_chains import Requests
    from podway.plugins.portmap_conf import Publication
    from podway.plugins.skeleton import Call

# What only some calls need is loaded there.
# ruff: noqa: PLC0415


def delete(call: "Call") -> None:
    """Take the container's ports back."""
    conf = parse_portmap_conf(call.request)
    wanted = publication_of(call.request, conf, _told_result(call.request))
    with NftSocket() as nft:
        if remove(nft, wanted):
            leave_sockets_to_child()


def remove(nft: NftSocket, wanted: "Publication") -> bool:
    """Take away what an attachment has; tell whether nftables had anything.

    Raises:
        NetlinkError, CniError: something is still there.
    """
    found = []

    def remove_rules() -> None:
        found.append(
            commit_found(
                nft,
                lambda: [*portmap_chains.find(nft, wanted), *_find_in_nftables(nft, wanted)],
            )
        )

    attempt_all(remove_rules, lambda: _remove_legacy(wanted), lambda: _forget_udp(wanted))
    return any(found)


def gc(call: "Call") -> None:
    """Take back the ports of attachments of this network that are not valid any more."""
    parse_portmap_conf(call.request)
    network, attachments = call.config.name, call.config.valid_attachments or ()
    valid = [(each.container_id, each.ifname) for each in attachments]
    containers = [container for container, _ in valid]
    from podway.plugins import portmap_nftables

    with NftSocket() as nft:
        if commit_found(
            nft,
            lambda: [
                *portmap_chains.find_garbage(nft, network, valid),
                *portmap_nftables.find_garbage(nft, network, valid),
            ],
        ):
            leave_sockets_to_child()
    if _has_legacy():
        from podway.plugins.portmap_legacy import delete_garbage

        delete_garbage(network, containers)


def _find_in_nftables(nft: NftSocket, wanted: "Publication") -> "Requests":
    if not any(nft.has_chain(nfproto, NFT_TABLE, NFT_CHAIN) for nfproto in NFPROTO.values()):
        return []
    from podway.plugins import portmap_nftables

    return portmap_nftables.find(nft, wanted)


def _remove_legacy(wanted: "Publication") -> None:
    if _has_legacy():
        from podway.plugins.portmap_legacy import delete_rules

        delete_rules(wanted)


def _has_legacy() -> bool:
    return has_legacy_table(IPV4, "nat") or has_legacy_table(IPV6, "nat")


def _forget_udp(wanted: "Publication") -> None:
    if any(each.protocol == "udp" for each in wanted.conf.mappings):
        from podway.plugins.portmap_flows import forget_udp

        forget_udp(wanted)


def _told_result(request: "Request") -> "Result | None":
    """Return prevResult, None if there is none that can be read."""
    try:
        return previous_result(request)
    except CniError:
        return None
