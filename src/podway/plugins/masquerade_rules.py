"""Rules of masquerade: written, found, seen, by whichever back end.

In: `Masquerade`. Out: rules of netfilter. Called by bridge and ptp. Two back ends with the
reference plugins' names: `masquerade_iptables` (the default where iptables is installed) and
`masquerade_nftables`. Both are written through one nftables socket; what one call takes away is one
transaction, because the wait after a deletion is the same for one rule and for a hundred.

DEL looks in both back ends, since the configuration may have changed; it needs neither namespace
nor prevResult.
"""

from podway.cni.errors import UNSUPPORTED_FIELD, CniError
from podway.netlink.constants import NFPROTO_INET
from podway.plugins.masquerade import NFT_CHAIN, NFT_TABLE, TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podway.netlink.messages import Request
    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.masquerade import Masquerade

# Each call loads the back end that it needs.
# ruff: noqa: PLC0415


def choose_backend(configured: str) -> str:
    """Return the back end to use: the configured one, or iptables where it is installed.

    Raises:
        CniError: UNSUPPORTED_FIELD, iptables is wanted and not installed.
    """
    if configured == "nftables":
        return configured
    from podway.plugins.iptables_kinds import IPV4, has_program

    if has_program(IPV4, "restore"):
        return "iptables"
    if configured:
        raise CniError(
            UNSUPPORTED_FIELD,
            "ipMasqBackend = 'iptables': iptables-restore is not installed; use 'nftables'",
        )
    return "nftables"


def add_masquerade(nft: "NftSocket", masquerade: "Masquerade", backend: str) -> None:
    """Write the rules; what is there already stays.

    Raises:
        NetlinkError, CniError: they cannot be written; nothing has changed.
    """
    if backend == "iptables":
        from podway.plugins import masquerade_iptables

        masquerade_iptables.add(nft, masquerade)
    else:
        from podway.plugins import masquerade_nftables

        masquerade_nftables.add(nft, masquerade)


def find_masquerade(nft: "NftSocket", masquerade: "Masquerade") -> "list[Request[Any]]":
    """Return the requests that take the rules away, for a transaction of the caller's.

    Without addresses everything of the attachment's container goes, with them what has them.
    """
    from podway.plugins import masquerade_iptables

    requests = masquerade_iptables.find(nft, masquerade)
    if nft.has_chain(NFPROTO_INET, NFT_TABLE, NFT_CHAIN):
        from podway.plugins import masquerade_nftables

        requests += masquerade_nftables.find(nft, masquerade)
    return requests


def delete_legacy_masquerade(masquerade: "Masquerade") -> None:
    """Take away rules that only the legacy iptables sees."""
    from podway.plugins.iptables_kinds import IPV4, IPV6, has_legacy_table

    if has_legacy_table(IPV4, TABLE) or has_legacy_table(IPV6, TABLE):
        from podway.plugins.masquerade_lines import delete_legacy

        delete_legacy(masquerade)


def check_masquerade(nft: "NftSocket", masquerade: "Masquerade", backend: str) -> None:
    """See that the rules are there.

    Raises:
        CniError: CHECK_FAILED.
    """
    if backend == "iptables":
        from podway.plugins import masquerade_iptables

        masquerade_iptables.check(nft, masquerade)
    else:
        from podway.plugins import masquerade_nftables

        masquerade_nftables.check(nft, masquerade)


def find_masquerade_garbage(
    nft: "NftSocket", network: str, valid: "frozenset[tuple[str, str]]"
) -> "list[Request[Any]]":
    """Return the requests that take away the rules of attachments of *network* not in *valid*.

    Args:
        nft: to look with.
        network: name.
        valid: (container, interface) of attachments that stay.
    """
    from podway.plugins import masquerade_iptables, masquerade_nftables

    return [
        *masquerade_iptables.find_garbage(nft, network, valid),
        *masquerade_nftables.find_garbage(nft, network, valid),
    ]


def delete_legacy_garbage(network: str, valid: "frozenset[tuple[str, str]]") -> None:
    """Likewise, for rules that only the legacy iptables sees."""
    from podway.plugins import masquerade_lines

    masquerade_lines.delete_legacy_garbage(network, valid)
