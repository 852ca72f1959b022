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
    if not nft.has_chain(nfproto, table, own):
        return []
    jumps = nft.find_rules(nfproto, table, entry, own.encode() + b"\0")
    return [
        *(deletion(rule, nfproto, table) for rule in jumps if jump_of(rule) == own),
        *chain_deletion(nfproto, table, own),
    ]


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
