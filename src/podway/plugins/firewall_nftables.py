"""The ``firewall`` plugin by nftables: in the host's own table.

In: addresses. Out: rules written, found, seen. Called by `firewall_add` and its siblings. A packet
must be let through by every base chain of its hook, so that rules in a table of the plugin's own
would let nothing pass that the host's chain drops. They stand therefore in the table in which that
chain is (``inet filter`` in Debian's /etc/nftables.conf), and it jumps to them first::

    table inet filter {
        chain forward {
            type filter hook forward priority filter; policy drop;
            jump CNI-ISOLATION-STAGE-1
            jump CNI-FORWARD
        }
        chain CNI-FORWARD {
            jump CNI-ADMIN
            ip daddr 10.1.0.5 ct state established,related accept comment "net: n, if: eth0, id: c1"
            ip saddr 10.1.0.5 accept comment "..."
        }
    }

A host that has no such chain gets one that lets all pass.
"""

from sys import byteorder

from podway.cni.addresses import parse_address
from podway.cni.values import replace
from podway.netlink.constants import NFPROTO_INET
from podway.netlink.nft_expressions import (
    NFT_CMP_EQ,
    NFT_CMP_NEQ,
    NFT_CT_STATE,
    NFT_JUMP,
    NFT_META_IIFNAME,
    NFT_META_OIFNAME,
    NFT_RETURN,
    compare,
    load_ct,
    mask,
    match_address,
    match_device,
    verdict,
)
from podway.netlink.nft_rules import (
    NF_ACCEPT,
    NF_DROP,
    NF_INET_FORWARD,
    NF_IP_PRI_FILTER,
    add_chain,
    add_table,
    comment,
    dump_chains,
)
from podway.plugins.firewall_rules import (
    CNI_FORWARD,
    STAGE_1,
    STAGE_2,
    shared_chains,
)
from podway.plugins.iptables_chains import deletion, program_of, shape_of
from podway.plugins.iptables_changes import check_plan, compute_additions
from podway.plugins.iptables_rules import INET, IptablesPlan, IptablesRule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.firewall_conf import FirewallConf
    from podway.plugins.iptables_chains import Requests

    Program = list[dict[str, Any]]

_BASE_CHAIN: "Final" = "forward"
# ESTABLISHED and RELATED, as bits of enum ip_conntrack_info.
_STATES: "Final" = (2 | 4).to_bytes(4, byteorder)


def add(
    nft: "NftSocket", conf: "FirewallConf", addresses: tuple[str, ...], bridge: str, owner: str
) -> None:
    """Write the rules; what is there already stays.

    Args:
        nft: of the host.
        conf: the configuration.
        addresses: of the container.
        bridge: that the policy is about, "" for none.
        owner: said of the rules.
    """
    base = find_base_chain(nft, conf.table)
    requests: Requests = []
    if not base:
        base = _BASE_CHAIN
        hook = {"hooknum": NF_INET_FORWARD, "priority": NF_IP_PRI_FILTER}
        requests = [
            add_table({"family": NFPROTO_INET, "name": conf.table}),
            add_chain(
                {
                    "family": NFPROTO_INET,
                    "table": conf.table,
                    "name": base,
                    "type": "filter",
                    "hook": hook,
                }
            ),
        ]
    plan = compute_plan(conf, addresses, bridge, base, owner)
    nft.commit([*requests, *compute_additions(nft, plan)])


def check(nft: "NftSocket", conf: "FirewallConf", addresses: tuple[str, ...], bridge: str) -> None:
    """See that all rules are there.

    Raises:
        CniError: CHECK_FAILED.
    """
    base = find_base_chain(nft, conf.table) or _BASE_CHAIN
    check_plan(nft, compute_plan(conf, addresses, bridge, base, ""))


def find_base_chain(nft: "NftSocket", table: str) -> str:
    """Return the chain of *table* that forwarded packets pass, "" if it has none."""
    for chain in nft.dump(dump_chains(NFPROTO_INET)):
        hooknum = chain.get("hook", {}).get("hooknum")
        if (chain["table"], chain.get("type"), hooknum) == (table, "filter", NF_INET_FORWARD):
            return chain["name"]
    return ""


def compute_plan(
    conf: "FirewallConf", addresses: tuple[str, ...], bridge: str, base: str, owner: str
) -> IptablesPlan:
    """Return what the table must have."""
    rules = [
        *(_isolation_rules(base, bridge, isolated=conf.policy == "isolated") if bridge else ()),
        _rule(base, [_jump(CNI_FORWARD)], f"jump {CNI_FORWARD}", CNI_FORWARD, is_first=True),
        _rule(
            CNI_FORWARD,
            [_jump(conf.admin_chain)],
            f"jump {conf.admin_chain}",
            conf.admin_chain,
            is_first=True,
        ),
    ]
    told = comment(owner) if owner else b""
    for address in addresses:
        rules += [replace(rule, userdata=told) for rule in address_rules(address)]
    chains = shared_chains(conf.admin_chain, bridge)
    return IptablesPlan(family=INET, table=conf.table, chains=chains, own="", rules=tuple(rules))


def address_rules(address: str) -> list[IptablesRule]:
    """Return the rules that let one address send, and be answered."""
    packed = parse_address(address)
    answered = [load_ct(NFT_CT_STATE), mask(_STATES), compare(bytes(4), NFT_CMP_NEQ)]
    passed = verdict(NF_ACCEPT)
    to = [*match_address(packed, source=False), *answered, passed]
    of = [*match_address(packed, source=True), passed]
    return [
        _rule(CNI_FORWARD, to, f"{address} is answered"),
        _rule(CNI_FORWARD, of, f"{address} sends"),
    ]


def find(nft: "NftSocket", table: str, addresses: "Iterable[str]") -> "Requests":
    """Return the requests that take away the rules of *addresses*."""
    requests: Requests = []
    for address in addresses:
        wanted = [shape_of(rule.expressions or []) for rule in address_rules(address)]
        rules = nft.find_rules(NFPROTO_INET, table, CNI_FORWARD, parse_address(address))
        requests += [
            deletion(rule, NFPROTO_INET, table) for rule in rules if program_of(rule) in wanted
        ]
    return requests


def _isolation_rules(base: str, bridge: str, *, isolated: bool) -> list[IptablesRule]:
    come = match_device(NFT_META_IIFNAME, bridge)
    away, back = (match_device(NFT_META_OIFNAME, bridge, op) for op in (NFT_CMP_NEQ, NFT_CMP_EQ))
    end = [verdict(NFT_RETURN)]
    rules = [
        _rule(base, [_jump(STAGE_1)], f"jump {STAGE_1}", STAGE_1, is_first=True),
        _rule(
            STAGE_1,
            [*come, *away, _jump(STAGE_2)],
            f"iifname {bridge} oifname != {bridge} jump {STAGE_2}",
            is_first=True,
        ),
    ]
    if isolated:
        inside = [*come, *back, verdict(NF_DROP)]
        text = f"iifname {bridge} oifname {bridge} drop"
        rules.append(_rule(STAGE_1, inside, text, is_first=True))
    return [
        *rules,
        _rule(STAGE_1, end, "return"),
        _rule(STAGE_2, [*back, verdict(NF_DROP)], f"oifname {bridge} drop", is_first=True),
        _rule(STAGE_2, end, "return"),
    ]


def _rule(
    chain: str, program: "Program", text: str, jump: str = "", *, is_first: bool = False
) -> IptablesRule:
    return IptablesRule(chain=chain, text=text, expressions=program, jump=jump, is_first=is_first)


def _jump(chain: str) -> "dict[str, Any]":
    return verdict(NFT_JUMP, chain)
