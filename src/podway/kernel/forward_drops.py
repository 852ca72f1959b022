"""Who else drops forwarded packets: base chains of others at hook forward that take no more.

In nftables a packet that one table accepts may still be dropped by another. iptables' own FORWARD
is opened (`forward_chain`); what firewalld, Docker's own tables or an administrator's drop nobody
here can open, but it can be named, which spares people the search.

In: nftables, when it is asked to look; every notification of nftables. Out: the chains in words,
and whether a notification says that the answer may be another one now. One listing of all chains
for a look: on a node with thousands of them that is what counts, so a look is only due when a
chain at this hook came, changed or went. Why it is hard: the kernel tells of a chain that it went,
and of a rule that it changed, without saying at which hook (nf_tables_fill_chain_info), so the
chains that were found are remembered.
"""

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from podway.kernel.errors import worded
from podway.kernel.forward_plans import BASE, TABLE, drops_unknown
from podway.netlink import NetlinkError
from podway.netlink.constants import (
    AF_UNSPEC,
    NFPROTO_BRIDGE,
    NFPROTO_INET,
    NFPROTO_IPV4,
    NFPROTO_IPV6,
)
from podway.netlink.nft_rules import NF_INET_FORWARD, dump_chains
from podway.netlink.nft_transactions import NftSocket

if TYPE_CHECKING:
    from podway.netlink.events import Event
    from podway.netlink.nft_rules import NftFields

# In all of them hook 2 is forward (linux/netfilter.h, linux/netfilter_bridge.h).
_FAMILIES = {
    NFPROTO_INET: "inet",
    NFPROTO_IPV4: "ip",
    NFPROTO_IPV6: "ip6",
    NFPROTO_BRIDGE: "bridge",
}
# A kernel without nftables.
_ABSENT = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


class ForwardDrops:
    """The base chains of others at hook forward, in one network namespace.

    Args:
        table: our own, which is nobody else's.
        netns_fd: the namespace; None for the process's own.
    """

    def __init__(self, table: str, netns_fd: int | None = None) -> None:
        self._own = table
        self._netns_fd = netns_fd
        self._chains: frozenset[tuple[int, str, str]] = frozenset()

    def find(self) -> tuple[str, ...]:
        """Return those that drop what their rules do not accept, as "inet fw forward".

        Raises:
            KernelError: nftables cannot be read.
        """
        with worded("look for chains that drop"), NftSocket(self._netns_fd) as nft:
            hooked = [chain for chain in _list(nft) if self._is_foreign(chain)]
            self._chains = frozenset(map(_key, hooked))
            return tuple(sorted(_words(chain) for chain in hooked if _drops(nft, chain)))

    def concerned(self, event: "Event") -> bool:
        """Tell whether a notification of nftables may make `find` say something else."""
        fields = event.fields
        family, table = fields.get("family", 0), fields.get("table", "")
        if event.name == "NFT_MSG_NEWCHAIN" and self._is_foreign(fields):
            return True
        if event.name.endswith("TABLE"):
            return any((family, table) == chain[:2] for chain in self._chains)
        chain = fields.get("chain") or fields.get("name", "")
        return (family, table, chain) in self._chains

    def _is_foreign(self, chain: "Mapping[str, Any]") -> bool:
        """Tell whether *chain* is a base chain at hook forward that is not ours to keep open."""
        family, table = chain.get("family", 0), chain.get("table", "")
        if family not in _FAMILIES or chain.get("hook", {}).get("hooknum") != NF_INET_FORWARD:
            return False
        is_iptables = family in {NFPROTO_IPV4, NFPROTO_IPV6} and table == TABLE
        return table != self._own and not (is_iptables and chain.get("name") == BASE)


def _list(nft: NftSocket) -> "list[NftFields]":
    try:
        return nft.dump(dump_chains(AF_UNSPEC))
    except NetlinkError as error:
        if error.errno in _ABSENT:
            return []
        raise


def _drops(nft: NftSocket, chain: "NftFields") -> bool:
    return drops_unknown(chain.get("policy"), nft.find_rules(*_key(chain)))


def _key(chain: "NftFields") -> tuple[int, str, str]:
    return chain["family"], chain["table"], chain["name"]


def _words(chain: "NftFields") -> str:
    return f"{_FAMILIES[chain['family']]} {chain['table']} {chain['name']}"
