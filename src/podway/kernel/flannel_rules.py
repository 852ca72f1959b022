"""flanneld's rules of netfilter: which there are, and away with them.

Out: `RuleSet`s. Three forms: chains ``FLANNEL-*`` as iptables-nft writes them (nftables sees them
as tables ``ip nat`` and ``ip filter``), the same in the tables of iptables-legacy, and flanneld's
own nftables tables. Of the first and third everything goes in one transaction; for the second the
program that wrote them is needed.
"""

import errno
import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from podway.kernel.errors import worded
from podway.kernel.iptables_legacy import is_installed, list_rules, run_legacy, tables_in_use
from podway.model.leftovers import RuleSet
from podway.netlink import NetlinkError, Request
from podway.netlink.constants import NFPROTO_IPV4, NFPROTO_IPV6
from podway.netlink.nft_rules import NF_DROP, delete_chain, delete_rule, delete_table, dump_chains
from podway.netlink.nft_transactions import NftSocket

if TYPE_CHECKING:
    from podway.netlink.nft_rules import NftFields

_CHAINS = {"FLANNEL-POSTRTG": "nat", "FLANNEL-FWD": "filter"}
_BASES = {"FLANNEL-FWD": ("FORWARD",)}
_TABLES = {"ip": "flannel-ipv4", "ip6": "flannel-ipv6"}
NUMBERS = {"ip": NFPROTO_IPV4, "ip6": NFPROTO_IPV6}


def find_rule_sets(netns_fd: int | None = None) -> tuple[RuleSet, ...]:
    """Return what there is.

    Raises:
        KernelError: rules cannot be listed.
    """
    with worded("look for rules of flanneld"):
        return (*_find_nft(netns_fd), *_find_legacy(netns_fd))


def remove_rule_sets(sets: Iterable[RuleSet], netns_fd: int | None = None) -> None:
    """Remove *sets*; one that is gone already is fine.

    Raises:
        KernelError: some are still there.
    """
    every = list(sets)
    with worded("remove rules of flanneld"):
        _remove_nft([each for each in every if not each.legacy], netns_fd)
        for each in every:
            if each.legacy:
                _remove_legacy(each, netns_fd)


def _find_nft(netns_fd: int | None) -> Iterator[RuleSet]:
    with NftSocket(netns_fd) as nft:
        for family, number in NUMBERS.items():
            chains = list_chains(nft, number)
            for chain, table in _CHAINS.items():
                if (table, chain) in chains:
                    count = len(nft.find_rules(number, table, chain))
                    count += len(find_jumps(nft, number, table, chain))
                    needed = any(
                        chains.get((table, base)) == NF_DROP for base in _BASES.get(chain, ())
                    )
                    yield RuleSet(
                        family=family, table=table, chain=chain, rules=count, is_needed=needed
                    )
            table = _TABLES[family]
            own = [name for owner, name in chains if owner == table]
            if own:
                count = sum(len(nft.find_rules(number, table, name)) for name in own)
                yield RuleSet(family=family, table=table, rules=count)


def list_chains(nft: NftSocket, family: int) -> dict[tuple[str, str], int | None]:
    """Return table and name of each chain, with its policy where it is a base chain."""
    try:
        found = nft.dump(dump_chains(family))
    except NetlinkError as error:
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:  # a kernel without nftables
            return {}
        raise
    return {(each["table"], each["name"]): each.get("policy") for each in found}


def find_jumps(nft: NftSocket, family: int, table: str, chain: str) -> list[Any]:
    """Return the rules of *table* that lead to *chain*."""
    found = nft.find_rules(family, table, "", chain.encode() + b"\0")
    return [rule for rule in found if target_of(rule) == chain]


def target_of(rule: "NftFields") -> str:
    """Return the chain to which *rule* leads by its last expression, "" for none."""
    program: list[dict[str, Any]] = rule.get("expressions", {}).get("elem", [])
    last: dict[str, Any] = program[-1]["data"] if program else {}
    return str(last.get("data", {}).get("verdict", {}).get("chain", ""))


def _remove_nft(sets: list[RuleSet], netns_fd: int | None) -> None:
    with NftSocket(netns_fd) as nft:
        there = {family: list_chains(nft, number) for family, number in NUMBERS.items()}
        requests: list[Request[Any]] = []
        for each in sets:
            number = NUMBERS[each.family]
            if not each.chain:
                if any(table == each.table for table, _ in there[each.family]):
                    requests.append(delete_table({"family": number, "name": each.table}))
            elif (each.table, each.chain) in there[each.family]:
                requests += chain_removal(nft, number, each.table, each.chain)
        nft.commit(requests)


def chain_removal(nft: NftSocket, family: int, table: str, chain: str) -> Iterator[Request[Any]]:
    """Yield what removes *chain*, which is there, with the rules that lead to it."""
    for rule in find_jumps(nft, family, table, chain):
        source = {"family": family, "table": table, "chain": rule["chain"]}
        yield delete_rule({**source, "handle": rule["handle"]})  # type: ignore[typeddict-item]
    yield delete_rule({"family": family, "table": table, "chain": chain})
    yield delete_chain({"family": family, "table": table, "name": chain})


# --- iptables-legacy --------------------------------------------------------------------------


def _find_legacy(netns_fd: int | None) -> Iterator[RuleSet]:
    for family in NUMBERS:
        tables = tables_in_use(family, netns_fd)
        for chain, table in _CHAINS.items():
            if table in tables and is_installed(family):
                saved = list_rules(family, table, netns_fd)
                lines = [line for line in saved if _concerns(line, chain)]
                if lines:
                    policies = {f"-P {base} DROP" for base in _BASES.get(chain, ())}
                    yield RuleSet(
                        family=family,
                        table=table,
                        chain=chain,
                        legacy=True,
                        rules=len(lines) - 1,
                        is_needed=not policies.isdisjoint(saved),
                    )


def _concerns(line: str, chain: str) -> bool:
    """Tell whether a line of ``iptables -S`` makes *chain*, is in it, or leads to it."""
    verb, *words = shlex.split(line)
    return verb in {"-N", "-A"} and (words[0] == chain or words[-2:] == ["-j", chain])


def _remove_legacy(each: RuleSet, netns_fd: int | None) -> None:
    def run(*words: str) -> None:
        run_legacy(each.family, "-t", each.table, *words, netns_fd=netns_fd)

    for line in list_rules(each.family, each.table, netns_fd):
        verb, *rule = shlex.split(line)
        if verb == "-A" and rule[-2:] == ["-j", each.chain]:
            run("-D", *rule)
    run("-F", each.chain)
    run("-X", each.chain)
