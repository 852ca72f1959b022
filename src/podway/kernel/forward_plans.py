"""What to do about a FORWARD of iptables that may drop the network's packets. Pure.

In: what nftables tells of the chain FORWARD and of the agent's own one. Out: the requests of one
transaction, and in words what cannot be helped. The own chain holds two rules for each prefix
(from there, and to there), with a comment by which they are known again.

FORWARD drops what it does not know by its policy, or by a last rule that takes every packet (`-A
FORWARD -j REJECT`, the usual way where policies are not used). In the first case the jump to the
own chain is appended, in the second it is put before that rule. A rule that takes every packet with
other rules behind it, or with the own jump, was put there to stop them: that is left as it is, and
told.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from podway.kernel.flannel_rules import target_of
from podway.model.addresses import IPNetwork
from podway.netlink import Request
from podway.netlink.constants import NFPROTO_IPV4, NFPROTO_IPV6
from podway.netlink.nft_expressions import (
    NFT_JUMP,
    NFT_PAYLOAD_NETWORK_HEADER,
    NFT_RETURN,
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
    comment_of,
    delete_rule,
    insert_rule,
)

if TYPE_CHECKING:
    from podway.netlink.events import Event
    from podway.netlink.nft_rules import NftFields

TABLE, BASE = "filter", "FORWARD"
# Where source and destination stand in the header (RFC 791, RFC 8200).
_OFFSETS = {4: {"from": 12, "to": 16}, 6: {"from": 8, "to": 24}}
# What a rule may hold that does not look at the packet.
_BLIND = frozenset({"counter", "log"})


class FoundForward(Struct, frozen=True):
    """What there is of one family.

    Attributes:
        policy: of FORWARD, NF_*; None when there is no such chain.
        base: its rules.
        own: the rules of the own chain; None when there is none.
    """

    policy: "int | None"
    base: "Sequence[NftFields]" = ()
    own: "Sequence[NftFields] | None" = None


class ForwardPlan(Struct, frozen=True):
    """The requests to carry out together, and what drops packets all the same ("": nothing)."""

    requests: "tuple[Request[Any], ...]" = ()
    obstacle: str = ""


def concerns_forward(event: "Event", own: str) -> bool:
    """Tell whether a notification of nftables is about FORWARD, or the chain called *own*."""
    fields = event.fields
    if fields.get("table") != TABLE or fields.get("family") not in {NFPROTO_IPV4, NFPROTO_IPV6}:
        return False
    chain = fields.get("chain") if event.name.endswith("RULE") else fields.get("name")
    return event.name.endswith("TABLE") or chain in {BASE, own}


def drops_unknown(policy: "int | None", rules: "Sequence[NftFields]") -> bool:
    """Tell whether a base chain with *policy* and *rules* drops what its rules do not accept."""
    return _drops(FoundForward(policy, rules), _end_of(rules))


def plan_forward(
    family: int, name: str, found: FoundForward, prefixes: Sequence[IPNetwork]
) -> ForwardPlan:
    """Return what has packets from and to *prefixes* accepted.

    Args:
        family: NFPROTO_IPV4 or NFPROTO_IPV6.
        name: of the own chain.
        found: what there is.
        prefixes: of this family, at least one.
    """
    end = _end_of(found.base)
    drops = drops_unknown(found.policy, found.base)
    if not drops and found.own is None:
        return ForwardPlan()
    chain = tuple(_chain(family, name, found.own, prefixes))
    jumps = [place for place, rule in enumerate(found.base) if target_of(rule) == name]
    if not drops or any(place < end for place in jumps):
        return ForwardPlan(chain)
    if jumps or end < len(found.base) - 1:
        obstacle = f"rule {end + 1} of chain {BASE} drops every packet that comes to it"
        return ForwardPlan(chain, obstacle)
    return ForwardPlan((*chain, _jump(family, name, found.base[end:])))


def _end_of(rules: "Sequence[NftFields]") -> int:
    """Return the place of the first rule that decides about every packet; behind the last: none."""
    return next(
        (place for place, rule in enumerate(rules) if _decision(rule) is not None), len(rules)
    )


def _drops(found: FoundForward, end: int) -> bool:
    """Tell whether a packet that no rule before *end* takes is dropped."""
    decision = _decision(found.base[end]) if end < len(found.base) else NFT_RETURN
    return (found.policy if decision == NFT_RETURN else decision) == NF_DROP


def _decision(rule: "NftFields") -> int | None:
    """Return what *rule* does with every packet (NF_*, NFT_RETURN); None if that depends on it."""
    program: list[dict[str, Any]] = rule.get("expressions", {}).get("elem", [])
    if not program or not all(map(_is_blind, program[:-1])):
        return None
    name, data = program[-1]["name"], program[-1].get("data", {})
    if name == "reject" or (name == "target" and data.get("name") == "REJECT"):
        return NF_DROP
    if name != "immediate":
        return None
    code: int | None = data.get("data", {}).get("verdict", {}).get("code")
    return code if code in {NF_ACCEPT, NF_DROP, NFT_RETURN} else None


def _is_blind(expression: dict[str, Any]) -> bool:
    if expression["name"] == "match":
        return bool(expression["data"].get("name") == "comment")
    return expression["name"] in _BLIND


def _chain(
    family: int, name: str, own: "Sequence[NftFields] | None", prefixes: Sequence[IPNetwork]
) -> Iterator[Request[Any]]:
    """Yield what makes the own chain accept *prefixes*; nothing when it does."""
    wanted = {
        f"podway: {way} {prefix}": _match(prefix, offset)
        for prefix in prefixes
        for way, offset in _OFFSETS[prefix.version].items()
    }
    there = [comment_of(rule.get("userdata", b"")) for rule in own or ()]
    if own is not None and there == list(wanted):
        return
    yield add_chain({"family": family, "table": TABLE, "name": name})
    if own is not None:
        yield delete_rule({"family": family, "table": TABLE, "chain": name})
    for text, expressions in wanted.items():
        rule: NftFields = {"family": family, "table": TABLE, "chain": name}
        rule["userdata"] = comment(text)
        yield append_rule(rule, [*expressions, count(), verdict(NF_ACCEPT)])


def _match(prefix: IPNetwork, offset: int) -> list[Any]:
    packed = prefix.network_address.packed
    return [
        load_payload(NFT_PAYLOAD_NETWORK_HEADER, offset, len(packed)),
        mask(prefix.netmask.packed),
        compare(packed),
    ]


def _jump(family: int, name: str, behind: "Sequence[NftFields]") -> Request[Any]:
    """Return what adds the jump at the end of FORWARD, or before the rule *behind*."""
    rule: NftFields = {"family": family, "table": TABLE, "chain": BASE}
    rule["userdata"] = comment("podway: packets of its network")
    expressions = [count(), verdict(NFT_JUMP, name)]
    if not behind:
        return append_rule(rule, expressions)
    return insert_rule({**rule, "position": behind[0]["handle"]}, expressions)
