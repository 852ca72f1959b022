"""Forwarded packets of the network, where iptables' FORWARD drops what it does not know.

In nftables a packet that one table accepts may still be dropped by another. So where somebody
(Docker, for one) has set the policy of FORWARD to DROP, podway's own table cannot help, and an
agent in flanneld's place does what flanneld did: a chain ``FLANNEL-FWD`` at the end of FORWARD that
accepts packets from and to the network. Only there: a chain that nobody needs is not made. It is
written in the form of iptables-nft, which can list and delete it; the legacy kind's tables are left
to their programs.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from podway.kernel.errors import worded
from podway.kernel.flannel_rules import NUMBERS, find_jumps, list_chains
from podway.model.addresses import IPNetwork
from podway.netlink import Request
from podway.netlink.nft_expressions import (
    NFT_JUMP,
    compare,
    count,
    load_payload,
    mask,
    verdict,
)
from podway.netlink.nft_rules import (
    NF_ACCEPT,
    NF_DROP,
    add_chain,
    append_rule,
    comment,
    delete_rule,
)
from podway.netlink.nft_transactions import NftSocket

CHAIN = "FLANNEL-FWD"
_TABLE, _BASE = "filter", "FORWARD"
_NETWORK_HEADER = 1
# Where source and destination stand in the header (RFC 791, RFC 8200).
_OFFSETS = {4: (12, 16), 6: (8, 24)}
_FAMILIES = {4: "ip", 6: "ip6"}


class ForwardChain:
    """Keeps the chain, for both families, in one network namespace."""

    def __init__(self, netns_fd: int | None = None) -> None:
        self._netns_fd = netns_fd
        self._written: dict[int, list[IPNetwork]] = {}

    def keep(self, prefixes: Iterable[IPNetwork]) -> list[str]:
        """Have packets from and to *prefixes* accepted; return the families written, "ip", "ip6".

        Raises:
            KernelError: nftables refused; nothing has changed.
        """
        every = list(prefixes)
        done = []
        with worded(f"write chain {CHAIN}"), NftSocket(self._netns_fd) as nft:
            for version, family in _FAMILIES.items():
                wanted = [prefix for prefix in every if prefix.version == version]
                requests = self._requests(nft, version, wanted) if wanted else []
                if requests:
                    nft.commit(requests)
                    self._written[version] = wanted
                    done.append(family)
        return done

    def _requests(
        self, nft: NftSocket, version: int, prefixes: list[IPNetwork]
    ) -> list[Request[Any]]:
        family = NUMBERS[_FAMILIES[version]]
        chains = list_chains(nft, family)
        if chains.get((_TABLE, _BASE)) != NF_DROP:
            return []
        is_linked = bool(find_jumps(nft, family, _TABLE, CHAIN))
        # What a flanneld wrote is right as it stands, and cannot be told from what is wanted.
        changed = self._written.get(version, prefixes) != prefixes
        is_there = (_TABLE, CHAIN) in chains
        if is_there and is_linked and not changed:
            return []
        requests: list[Request[Any]] = []
        if not is_there or changed:
            requests += _chain(family, prefixes, is_there=is_there)
        if not is_linked:
            rule = {"family": family, "table": _TABLE, "chain": _BASE}
            told = comment("flanneld forward")
            jump = [count(), verdict(NFT_JUMP, CHAIN)]
            requests.append(append_rule({**rule, "userdata": told}, jump))  # type: ignore[typeddict-item]
        return requests


def _chain(family: int, prefixes: list[IPNetwork], *, is_there: bool) -> Iterator[Request[Any]]:
    yield add_chain({"family": family, "table": _TABLE, "name": CHAIN})
    if is_there:
        yield delete_rule({"family": family, "table": _TABLE, "chain": CHAIN})
    for prefix in prefixes:
        for offset in _OFFSETS[prefix.version]:
            expressions = [*_match(prefix, offset), count(), verdict(NF_ACCEPT)]
            yield append_rule({"family": family, "table": _TABLE, "chain": CHAIN}, expressions)


def _match(prefix: IPNetwork, offset: int) -> list[Any]:
    packed = prefix.network_address.packed
    return [
        load_payload(_NETWORK_HEADER, offset, len(packed)),
        mask(prefix.netmask.packed),
        compare(packed),
    ]
