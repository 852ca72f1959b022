"""What stands in a table of iptables of the nft kind: found by netlink, and deleted.

In: names of chains. Out: rules as they compare with others, requests that delete them. Called by
whoever has rules there; deletions of several plans are one transaction of the caller's.
"""

from podway.netlink.constants import NFPROTO_IPV4, NFPROTO_IPV6
from podway.netlink.nft_rules import delete_chain, delete_rule, note, note_of
from podway.plugins.iptables_kinds import IPV4, IPV6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final, TypeAlias

    from podway.netlink.messages import Request
    from podway.netlink.nft_rules import NftFields
    from podway.netlink.nft_transactions import NftSocket

    Requests: TypeAlias = list[Request[Any]]
    Program: TypeAlias = list[dict[str, Any]]

NFPROTO: "Final" = {IPV4: NFPROTO_IPV4, IPV6: NFPROTO_IPV6}
# As many jumps to a chain are looked for one by one.
_NEAR: "Final" = 4
# The kind of our entry in a rule's userdata; nft and iptables use kinds from 0 on.
_IFNAME_NOTE: "Final" = 0x70


def find_own_chain(nft: "NftSocket", plan: "tuple[int, str]", own: str, entry: str) -> "Requests":
    """Return the requests that delete chain *own*, and the jumps to it in *entry*.

    Args:
        nft: to look with.
        plan: family and table.
        own: name of the chain.
        entry: chain from which it is jumped to.
    """
    family, table = plan
    nfproto = NFPROTO[family]
    jumps = find_jumps(nft, (nfproto, table), own, entry)
    if jumps is None:
        return []
    deletions = [deletion(rule, nfproto, table) for rule in jumps]
    return [*deletions, *chain_deletion(nfproto, table, own)]


def find_jumps(
    nft: "NftSocket", place: "tuple[int, str]", own: str, entry: str
) -> "list[NftFields] | None":
    """Return the rules of chain *entry* that jump to chain *own*; None without that chain.

    A container's chain and the jumps to it are made in one transaction, in which the kernel counts
    their handles up. So the jumps are looked for beside the chain's own rules, and the chain says
    how often it is used; only when they are elsewhere are the entries of all containers listed
    (1,000 take 3 ms).

    Args:
        nft: to look with.
        place: NFPROTO_* and table.
        own: name of the container's chain.
        entry: chain from which it is jumped to.
    """
    chain = nft.find_chain(*place, own)
    if chain is None:
        return None
    handles = [rule["handle"] for rule in nft.find_rules(*place, own)]
    count = chain["use"] - len(handles)
    if handles and count <= _NEAR:
        near = _beside(handles, count)
        looked_at = [nft.find_rule(*place, entry, handle) for handle in near]
        found = [rule for rule in looked_at if rule is not None and jump_of(rule) == own]
        if len(found) == count:
            return found
    rules = nft.find_rules(*place, entry, own.encode() + b"\0")
    return [rule for rule in rules if jump_of(rule) == own]


def _beside(handles: list[int], count: int) -> "tuple[int, ...]":
    """Return *count* handles behind and before *handles*."""
    first, last = min(handles), max(handles)
    return (*range(last + 1, last + 1 + count), *range(first - count, first))


def chain_deletion(nfproto: int, table: str, chain: str) -> "Requests":
    """Return the requests that delete a chain with its rules; nobody jumps to it any more."""
    return [
        delete_rule({"family": nfproto, "table": table, "chain": chain}),
        delete_chain({"family": nfproto, "table": table, "name": chain}),
    ]


def deletion(rule: "NftFields", nfproto: int, table: str) -> "Request[Any]":
    """Return the request that deletes a rule that was found."""
    place: NftFields = {"family": nfproto, "table": table, "chain": rule["chain"]}
    return delete_rule({**place, "handle": rule["handle"]})


def program_of(rule: "NftFields") -> "Program":
    """Return the expressions of a rule that was found, as they compare."""
    return shape_of(rule.get("expressions", {}).get("elem", []))


def shape_of(expressions: "Iterable[dict[str, Any]]") -> "Program":
    """Return expressions as they compare: without counters, and what the kernel adds."""
    return [
        {**each, "data": {key: value for key, value in each["data"].items() if value != 0}}
        for each in expressions
        if each["name"] != "counter"
    ]


def jump_of(rule: "NftFields") -> str:
    """Return the chain that a rule that was found jumps to, "" for none."""
    program = rule.get("expressions", {}).get("elem", [])
    last: dict[str, Any] = program[-1]["data"] if program else {}
    chain: str = last.get("data", {}).get("verdict", {}).get("chain", "")
    return chain


def comment_in(rule: "NftFields") -> str:
    """Return what iptables shows as the comment of a rule that was found, "" without one."""
    for each in rule.get("expressions", {}).get("elem", []):
        if each["name"] == "match" and each["data"]["name"] == "comment":
            text: str = each["data"]["info"].partition(b"\0")[0].decode(errors="replace")
            return text
    return ""


def ifname_note(ifname: str) -> bytes:
    """Return the ``userdata`` of a rule that says which interface of a container it is of."""
    return note(_IFNAME_NOTE, ifname.encode())


def ifname_of(rule: "NftFields") -> str:
    """Return the interface that a rule says it is of, "" if it does not say."""
    return note_of(rule.get("userdata", b""), _IFNAME_NOTE).decode(errors="replace")
