"""Changes of a table of iptables: rules that must be there, chains that must go.

In: an `IptablesPlan`. Out: the table in the kernel has it. Called by the commands of
`portmap` and `firewall`.

**Without starting a program.** Where the system's iptables is of the nft kind, all is done by
netlink, in the form in which that iptables writes it, and in one transaction with whatever else
the caller has (`compute_additions`, `iptables_chains`). What is left to the programs: rules with
conditions in iptables' words, and systems of the legacy kind (`iptables_lines`).

A table or base chain that is missing is made as iptables makes it. A chain that is new has no rules
and nobody jumps to it, which need not be looked up.
"""

from podway.cni.errors import CHECK_FAILED, CniError
from podway.netlink.nft_rules import (
    NF_INET_FORWARD,
    NF_INET_LOCAL_IN,
    NF_INET_LOCAL_OUT,
    NF_INET_POST_ROUTING,
    NF_INET_PRE_ROUTING,
    NF_IP_PRI_FILTER,
    NF_IP_PRI_NAT_DST,
    NF_IP_PRI_NAT_SRC,
    add_chain,
    add_table,
    append_rule,
    insert_rule,
)
from podway.plugins.iptables_chains import deletion, program_of, shape_of
from podway.plugins.iptables_kinds import IPV4, IPV6, writes_nft
from podway.plugins.iptables_rules import INET, in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final, TypeAlias

    from podway.netlink.messages import Request
    from podway.netlink.nft_rules import NftFields
    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.iptables_rules import IptablesPlan, IptablesRule

    Requests: TypeAlias = list[Request[Any]]
    Program: TypeAlias = list[dict[str, Any]]

# What only some systems need is loaded there.
# ruff: noqa: PLC0415

# Built-in chains: hook and priority.
_BASE_CHAINS: "Final" = {
    "nat": {
        "PREROUTING": (NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST),
        "OUTPUT": (NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST),
        "POSTROUTING": (NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC),
    },
    "filter": {
        "INPUT": (NF_INET_LOCAL_IN, NF_IP_PRI_FILTER),
        "FORWARD": (NF_INET_FORWARD, NF_IP_PRI_FILTER),
        "OUTPUT": (NF_INET_LOCAL_OUT, NF_IP_PRI_FILTER),
    },
}
# Every masqueraded container has a rule there: too many to look through at every ADD.
_LONG_CHAIN: "Final" = "POSTROUTING"


def compute_additions(nft: "NftSocket", plan: "IptablesPlan") -> "Requests":
    """Return the requests that make what is missing and netlink can write."""
    place: NftFields = {"family": plan.nfproto, "table": plan.table}
    missing, replaced, known = _compare(nft, plan)

    def is_there(chain: str) -> bool:
        """To make a chain again is a change, after which closing the socket waits."""
        return chain in known or nft.has_chain(plan.nfproto, plan.table, chain)

    requests: Requests = [add_table({"family": place["family"], "name": plan.table})]
    for name in dict.fromkeys(rule.chain for rule in plan.rules):
        if name in _BASE_CHAINS.get(plan.table, {}) and not is_there(name):
            hook, priority = _BASE_CHAINS[plan.table][name]
            base: NftFields = {**place, "name": name, "type": plan.table}
            # No policy: a chain that is there keeps its own.
            requests.append(add_chain({**base, "hook": {"hooknum": hook, "priority": priority}}))
    names = (*plan.chains, plan.own) if plan.own else plan.chains
    requests += [add_chain({**place, "name": name}) for name in names if not is_there(name)]
    requests += replaced
    return requests + [
        _write(place, rule) for rule in in_order(missing) if rule.expressions is not None
    ]


def _write(place: "NftFields", rule: "IptablesRule") -> "Request[Any]":
    fields: NftFields = {**place, "chain": rule.chain}
    if rule.protocol:
        fields["compat"] = {"proto": rule.protocol, "flags": 0}
    if rule.userdata:
        fields["userdata"] = rule.userdata
    return (insert_rule if rule.is_first else append_rule)(fields, rule.expressions or [])


def write_plans(nft: "NftSocket", plans: "Iterable[IptablesPlan]") -> None:
    """Make what is missing: by netlink in one transaction, what is left by the programs.

    Raises:
        NetlinkError, CniError: something is missing still; the rest may be there.
    """
    plans = list(plans)
    requests: Requests = []
    for plan in plans:
        if writes_nft(plan.family):
            requests += compute_additions(nft, plan)
    nft.commit(requests)
    for plan in plans:
        add_by_program(plan)


def add_by_program(plan: "IptablesPlan") -> None:
    """Write what netlink cannot: everything, or on the nft kind conditions in iptables' words.

    Raises:
        CniError: iptables is not installed, or refuses.
    """
    is_nft = writes_nft(plan.family)
    if is_nft and all(rule.expressions is not None for rule in plan.rules):
        return
    from podway.plugins.iptables import restore
    from podway.plugins.iptables_lines import add_all, render_additions

    if is_nft:
        conditional = [rule for rule in plan.rules if rule.expressions is None]
        restore(plan.family, plan.table, render_additions(conditional))
    else:
        add_all(plan)


def find_missing(nft: "NftSocket", plan: "IptablesPlan") -> "list[IptablesRule]":
    """Return the rules that are not there, for CHECK.

    Rules that another version of iptables wrote in another form are found in its own listing.
    """
    is_nft = plan.family == INET or writes_nft(plan.family)
    missing = _compare(nft, plan)[0] if is_nft else list(plan.rules)
    if not missing or plan.family == INET:
        return missing
    from podway.plugins.iptables_lines import find_missing_lines

    return find_missing_lines(plan, missing)


def check_plan(nft: "NftSocket", plan: "IptablesPlan") -> None:
    """See that everything is there.

    Raises:
        CniError: CHECK_FAILED.
    """
    for rule in find_missing(nft, plan):
        command = {IPV4: "iptables -t", IPV6: "ip6tables -t"}.get(plan.family, "nft inet")
        text = f"{command} {plan.table}: missing is -A {rule.chain} {rule.text}"
        raise CniError(CHECK_FAILED, text)


def _compare(
    nft: "NftSocket", plan: "IptablesPlan"
) -> "tuple[list[IptablesRule], Requests, set[str]]":
    """Return what is missing, requests that delete what stands in its way, chains that were seen.

    In its way stands a rule of the own chain that matches the same and does something else: an
    address that the container had before.
    """
    nfproto = plan.nfproto
    is_new = bool(plan.own) and not nft.has_chain(nfproto, plan.table, plan.own)
    seen: dict[str, list[Program]] = {}
    missing: list[IptablesRule] = []
    known: set[str] = set()
    for rule in plan.rules:
        if rule.expressions is None or (is_new and plan.own in {rule.chain, rule.jump}):
            missing.append(rule)
            continue
        if rule.chain == _LONG_CHAIN and _is_referred_to(nft, nfproto, plan.table, rule.jump):
            known |= {rule.chain, rule.jump}
            continue
        if rule.chain not in seen:
            needles = {_needle(each) for each in plan.rules if each.chain == rule.chain}
            found = nft.find_rules(nfproto, plan.table, rule.chain, *needles)
            seen[rule.chain] = [program_of(each) for each in found]
        if shape_of(rule.expressions) not in seen[rule.chain]:
            missing.append(rule)
        else:
            known |= {rule.chain, rule.jump}
    return missing, [] if is_new else _find_replaced(nft, plan, missing), known


def _find_replaced(
    nft: "NftSocket", plan: "IptablesPlan", missing: "list[IptablesRule]"
) -> "Requests":
    wanted = [
        shape_of(rule.expressions)[:-1]
        for rule in missing
        if rule.chain == plan.own and not rule.jump and rule.expressions is not None
    ]
    if not wanted:
        return []
    nfproto = plan.nfproto
    rules = nft.find_rules(nfproto, plan.table, plan.own)
    # A rule that marks and one that forwards match the same: both go, or neither.
    return [
        deletion(rule, nfproto, plan.table)
        for rule in rules
        if program_of(rule)[-1]["name"] == "target" and program_of(rule)[:-1] in wanted
    ]


def _is_referred_to(nft: "NftSocket", nfproto: int, table: str, chain: str) -> bool:
    """Tell whether any rule jumps to *chain*: its use is counted in rules and jumps."""
    found = nft.find_chain(nfproto, table, chain)
    return found is not None and found["use"] > len(nft.find_rules(nfproto, table, chain))


def _needle(rule: "IptablesRule") -> bytes:
    """Return bytes that a listing has where *rule* is."""
    if rule.jump:
        return rule.jump.encode() + b"\0"
    values = [
        each["data"]["data"]["value"] for each in rule.expressions or () if each["name"] == "cmp"
    ]
    return max(values, key=len, default=b"")
