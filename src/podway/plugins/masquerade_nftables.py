"""Masquerade by nftables, in the reference plugins' table.

In: `Masquerade`. Out: requests for an `NftSocket`. Called by `masquerade_rules` alone. ::

    table inet cni_plugins_masquerade {
        chain masq_checks {
            ip saddr 10.1.0.5 ip daddr != 10.1.0.0/16 masquerade comment "<attachment>, net: ..."
        }
        chain postrouting {
            type nat hook postrouting priority srcnat;
            ip daddr 224.0.0.0/4 return
            ip6 daddr ff00::/8 return
            goto masq_checks
        }
    }

A rule per address; its comment begins with digests of network and attachment, by which it is found
again. The base chain is written only when it is not as it should be: to flush it at every ADD, as
the reference does, would wait for a grace period each time.
"""

from podway.cni.addresses import parse_address
from podway.cni.errors import CHECK_FAILED, CniError
from podway.netlink.constants import NFPROTO_INET
from podway.netlink.nft_expressions import (
    NFT_CMP_NEQ,
    NFT_GOTO,
    NFT_RETURN,
    masquerade,
    match_address,
    verdict,
)
from podway.netlink.nft_rules import (
    NF_INET_POST_ROUTING,
    NF_IP_PRI_NAT_SRC,
    add_chain,
    add_table,
    append_rule,
    comment,
    comment_of,
    delete_rule,
)
from podway.plugins.digests import sha512_hex
from podway.plugins.masquerade import NFT_CHAIN as CHECKS
from podway.plugins.masquerade import NFT_TABLE as TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from podway.netlink.messages import Request as NetlinkRequest
    from podway.netlink.nft_rules import NftFields
    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.masquerade import Masquerade

POSTROUTING: "Final" = "postrouting"
_DIGITS: "Final" = 16
_BASE_RULES: "Final" = 3


def add(nft: "NftSocket", wanted: "Masquerade") -> None:
    """Write the rules of an attachment in place of those that it may have had."""
    stale = find(nft, wanted)
    nft.commit([*_base(nft), *stale, *(_rule(wanted, cidr) for cidr in wanted.cidrs)])


def find(nft: "NftSocket", wanted: "Masquerade") -> "list[NetlinkRequest[Any]]":
    """Return the requests that take away the rules of an attachment."""
    return [_deletion(rule) for rule in _find_rules(nft, instance_digest(wanted))]


def check(nft: "NftSocket", wanted: "Masquerade") -> None:
    """See that each address has its rule, and that packets come by."""
    rules = [_program(rule) for rule in _find_rules(nft, instance_digest(wanted))]
    for cidr in wanted.cidrs:
        if _expressions(cidr) not in rules:
            text = f"nft inet {TABLE} {CHECKS}: the rule of {cidr} is missing"
            raise CniError(CHECK_FAILED, text)
    if len(nft.find_rules(NFPROTO_INET, TABLE, POSTROUTING)) < _BASE_RULES:
        raise CniError(CHECK_FAILED, f"nft inet {TABLE} {POSTROUTING}: rules are missing")


def find_garbage(
    nft: "NftSocket", network: str, valid: "frozenset[tuple[str, str]]"
) -> "list[NetlinkRequest[Any]]":
    """Return the requests that take away the rules of attachments that are not valid."""
    kept = {_attachment_digest(ifname, container) for container, ifname in valid}
    prefix = f"{_network_digest(network)}-"
    return [
        _deletion(rule)
        for rule in _find_rules(nft, prefix)
        if comment_of(rule["userdata"]).removeprefix(prefix)[:_DIGITS] not in kept
    ]


def instance_digest(wanted: "Masquerade") -> str:
    """Return what the comments of an attachment's rules begin with."""
    attachment = _attachment_digest(wanted.ifname, wanted.container_id)
    return f"{_network_digest(wanted.network)}-{attachment}"


def _network_digest(network: str) -> str:
    return sha512_hex(network)[:_DIGITS]


def _attachment_digest(ifname: str, container_id: str) -> str:
    return sha512_hex(f"{ifname}:{container_id}")[:_DIGITS]


def _find_rules(nft: "NftSocket", start: str) -> "list[NftFields]":
    """Return the rules whose comment begins with *start*."""
    rules = nft.find_rules(NFPROTO_INET, TABLE, CHECKS, start.encode())
    return [rule for rule in rules if comment_of(rule.get("userdata", b"")).startswith(start)]


def _deletion(rule: "NftFields") -> "NetlinkRequest[Any]":
    chain: NftFields = {"family": NFPROTO_INET, "table": TABLE, "chain": CHECKS}
    return delete_rule({**chain, "handle": rule["handle"]})


def _rule(wanted: "Masquerade", cidr: str) -> "NetlinkRequest[Any]":
    text = (
        f"{instance_digest(wanted)}, net: {wanted.network}, if: {wanted.ifname}, "
        f"id: {wanted.container_id}"
    )
    chain: NftFields = {"family": NFPROTO_INET, "table": TABLE, "chain": CHECKS}
    return append_rule({**chain, "userdata": comment(text)}, _expressions(cidr))


def _expressions(cidr: str) -> "list[dict[str, Any]]":
    address, _, bits = cidr.partition("/")
    packed = parse_address(address)
    near = match_address(packed, int(bits), source=False, op=NFT_CMP_NEQ, inet=False)
    return [*match_address(packed, source=True), *near, masquerade()]


def _program(rule: "NftFields") -> "list[dict[str, Any]]":
    """Return the expressions of a rule that the kernel gave, as they were written."""
    expressions: list[dict[str, Any]] = rule.get("expressions", {}).get("elem", [])
    for each in expressions:
        if each["name"] == "bitwise":
            each["data"].pop("op", None)
    return expressions


def _base(nft: "NftSocket") -> "list[NetlinkRequest[Any]]":
    """Return the requests that make table and chains as they should be."""
    table: NftFields = {"family": NFPROTO_INET, "table": TABLE}
    chain: NftFields = {**table, "chain": POSTROUTING}
    text = "Masquerading for plugins from github.com/containernetworking/plugins"
    checks = "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet"
    if len(nft.find_rules(NFPROTO_INET, TABLE, POSTROUTING)) == _BASE_RULES:
        return []
    four, six = parse_address("224.0.0.0"), parse_address("ff00::")
    return [
        add_table({"family": NFPROTO_INET, "name": TABLE, "userdata": comment(text)}),
        add_chain({**table, "name": CHECKS, "userdata": comment(checks)}),
        add_chain({**table, "name": POSTROUTING, "type": "nat", "hook": _HOOK}),
        # Another call may be at it at the same time: a transaction leaves three rules, always.
        delete_rule(chain),
        append_rule(chain, [*match_address(four, 4, source=False), verdict(NFT_RETURN)]),
        append_rule(chain, [*match_address(six, 8, source=False), verdict(NFT_RETURN)]),
        append_rule(chain, [verdict(NFT_GOTO, CHECKS)]),
    ]


_HOOK = {"hooknum": NF_INET_POST_ROUTING, "priority": NF_IP_PRI_NAT_SRC}
