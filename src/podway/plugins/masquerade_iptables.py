r"""Masquerade by iptables, in the reference plugins' chains.

In: `Masquerade`. Out: rules in table nat. Called by `masquerade_rules` alone. ::

    -A POSTROUTING -s 10.1.0.5/32 -m comment --comment "name: \"net\" id: \"c1\"" -j CNI-<24 digits>
    -A CNI-... -d 10.1.0.0/16 -m comment ... -j ACCEPT
    -A CNI-... ! -d 224.0.0.0/4 -m comment ... -j MASQUERADE

Chain and comment are the container's in its network: two interfaces of one container share them, so
the chain stays until the last jump to it goes. Whose a jump is stands in its ``userdata``, which
iptables neither shows nor minds: DEL and GC need no addresses to know. Jumps without it (the
original's, or written by iptables-restore) are told apart by address, and collected by container.

**Without starting a program.** Where the system's iptables is of the nft kind, its rules are rules
of nf_tables, with a form of their own (comment and MASQUERADE are extensions of iptables); written
in that form through netlink they are the same to iptables, for a sixth of the time, and what DEL
takes away can be one transaction with everything else. Table and base chain are made likewise where
there are none yet. Where the system's iptables is of the legacy kind iptables-restore does it.
"""

from sys import byteorder

from podway.cni.addresses import parse_address
from podway.cni.errors import CHECK_FAILED, CniError
from podway.netlink.errors import NetlinkError
from podway.netlink.nft_expressions import (
    NFT_CMP_EQ,
    NFT_CMP_NEQ,
    NFT_JUMP,
    count,
    match_address,
    verdict,
    xt_match,
    xt_target,
)
from podway.netlink.nft_rules import (
    NF_ACCEPT,
    NF_INET_POST_ROUTING,
    NF_IP_PRI_NAT_SRC,
    add_chain,
    add_table,
    append_rule,
    insert_rule,
)
from podway.plugins.iptables_chains import (
    NFPROTO,
    chain_deletion,
    comment_in,
    deletion,
    find_jumps,
    ifname_note,
    ifname_of,
    jump_of,
    program_of,
    shape_of,
)
from podway.plugins.iptables_kinds import IPV4, IPV6, writes_nft
from podway.plugins.masquerade import (
    MULTICAST,
    POSTROUTING,
    TABLE,
    chain_name,
    cidrs_of,
    comment_start,
    comment_text,
    host_prefix,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from podway.netlink.messages import Request as NetlinkRequest
    from podway.netlink.nft_rules import NftFields
    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.masquerade import Masquerade

# struct xt_comment_info; struct nf_nat_ipv4_multi_range_compat with one range, and struct
# nf_nat_range, both empty and padded to 8 bytes (XT_ALIGN).
_COMMENT_BYTES: "Final" = 256
_MASQUERADE: "Final" = {IPV4: (1).to_bytes(4, byteorder).ljust(24, b"\0"), IPV6: bytes(40)}


def add(nft: "NftSocket", wanted: "Masquerade") -> None:
    """Write the rules of an attachment; what is there already stays."""
    for family in (IPV4, IPV6):
        cidrs = cidrs_of(wanted, family)
        if not cidrs:
            continue
        if writes_nft(family):
            _write(nft, wanted, family)
        else:
            from podway.plugins.masquerade_lines import add_lines  # noqa: PLC0415 - rarely needed

            add_lines(wanted, family)


def _write(nft: "NftSocket", wanted: "Masquerade", family: int) -> None:
    try:
        nft.commit(_additions(nft, wanted, family))
    except NetlinkError as error:
        if not error.is_not_found:
            raise
        # Nobody has used iptables' table nat in this namespace yet.
        nft.commit([*_base(family), *_additions(nft, wanted, family)])


def _base(family: int) -> "list[NetlinkRequest[Any]]":
    """Return the requests that make table and chain as iptables makes them."""
    place: NftFields = {"family": NFPROTO[family], "name": TABLE}
    chain: NftFields = {"family": NFPROTO[family], "table": TABLE, "name": POSTROUTING}
    hook = {"hooknum": NF_INET_POST_ROUTING, "priority": NF_IP_PRI_NAT_SRC}
    return [
        add_table(place),
        add_chain({**chain, "type": "nat", "hook": hook, "policy": NF_ACCEPT}),
    ]


def check(nft: "NftSocket", wanted: "Masquerade") -> None:
    """See that each address has its rules."""
    from podway.plugins.masquerade_lines import count_missing_lines  # noqa: PLC0415

    for family in (IPV4, IPV6):
        if not cidrs_of(wanted, family):
            continue
        if writes_nft(family):
            missing = len(_additions(nft, wanted, family)) - 1
        else:
            missing = count_missing_lines(wanted, family)
        if missing:
            chain = chain_name(wanted.network, wanted.container_id)
            text = f"iptables {TABLE} {POSTROUTING} and {chain}: {missing} rules are missing"
            raise CniError(CHECK_FAILED, text)


def find(nft: "NftSocket", wanted: "Masquerade") -> "list[NetlinkRequest[Any]]":
    """Return the requests that take away the rules of an attachment."""
    return [request for family in (IPV4, IPV6) for request in _deletions(nft, wanted, family)]


def find_garbage(
    nft: "NftSocket", network: str, valid: "frozenset[tuple[str, str]]"
) -> "list[NetlinkRequest[Any]]":
    """Return the requests that take away the rules of attachments that are not valid."""
    kept: dict[str, set[str]] = {}
    for container, ifname in valid:
        kept.setdefault(chain_name(network, container), set()).add(ifname)
    requests: list[NetlinkRequest[Any]] = []
    for nfproto in NFPROTO.values():
        rules = _find_commented(nft, nfproto, comment_start(network))
        jumps = [rule for rule in rules if rule["chain"] == POSTROUTING]
        stale = [jump for jump in jumps if not _is_kept(jump, kept)]
        requests += [deletion(jump, nfproto, TABLE) for jump in stale]
        # A chain to which no jump leads any more does nothing.
        used = {_chain_of(jump) for jump in jumps if jump not in stale}
        for chain in sorted({_chain_of(rule) for rule in rules} - used):
            requests += chain_deletion(nfproto, TABLE, chain)
    return requests


def _find_commented(nft: "NftSocket", nfproto: int, start: str) -> "list[NftFields]":
    """Return the rules whose comment begins with *start*; portmap's have it further on."""
    rules = nft.find_rules(nfproto, TABLE, "", start.encode())
    return [rule for rule in rules if comment_in(rule).startswith(start)]


def _is_kept(jump: "NftFields", kept: "dict[str, set[str]]") -> bool:
    """Tell whether *jump* is of an attachment in *kept*: chain -> interfaces."""
    ifnames, ifname = kept.get(_chain_of(jump), ()), ifname_of(jump)
    return ifname in ifnames if ifname else bool(ifnames)


def _additions(nft: "NftSocket", wanted: "Masquerade", family: int) -> "list[NetlinkRequest[Any]]":
    """Return the requests that make the chain, and the rules that are missing."""
    nfproto, chain = NFPROTO[family], chain_name(wanted.network, wanted.container_id)
    there = [program_of(rule) for rule in nft.find_rules(nfproto, TABLE, chain)]
    # A chain that is new has no jumps to it yet: no need to look through those of all others.
    jumps = nft.find_rules(nfproto, TABLE, POSTROUTING, _bytes(chain)) if there else []
    there += [program_of(jump) for jump in jumps if ifname_of(jump) in {"", wanted.ifname}]
    text = comment_text(wanted.network, wanted.container_id)
    place: NftFields = {"family": nfproto, "table": TABLE, "chain": chain}
    requests = [add_chain({"family": nfproto, "table": TABLE, "name": chain})]

    def need(
        make: "Callable[..., NetlinkRequest[Any]]", where: "NftFields", rule: "list[dict[str, Any]]"
    ) -> None:
        if shape_of(rule) not in there:
            requests.append(make(where, rule))

    for cidr in cidrs_of(wanted, family):
        near = _match(cidr, source=False)
        need(insert_rule, place, [*near, _comment(text), count(), verdict(NF_ACCEPT)])
    far = _match(MULTICAST[family], source=False, op=NFT_CMP_NEQ)
    target = xt_target("MASQUERADE", _MASQUERADE[family])
    need(append_rule, place, [*far, _comment(text), count(), target])
    told = ifname_note(wanted.ifname)
    start: NftFields = {**place, "chain": POSTROUTING, "userdata": told}
    for cidr in cidrs_of(wanted, family):
        mine = _match(host_prefix(cidr), source=True)
        need(append_rule, start, [*mine, _comment(text), count(), verdict(NFT_JUMP, chain)])
    return requests


def _deletions(nft: "NftSocket", wanted: "Masquerade", family: int) -> "list[NetlinkRequest[Any]]":
    nfproto, chain = NFPROTO[family], chain_name(wanted.network, wanted.container_id)
    jumps = find_jumps(nft, (nfproto, TABLE), chain, POSTROUTING)
    if jumps is None:
        return []
    sources = [
        shape_of(_match(host_prefix(cidr), source=True)) for cidr in cidrs_of(wanted, family)
    ]
    mine = [jump for jump in jumps if _is_mine(jump, wanted, sources)]
    requests = [deletion(jump, nfproto, TABLE) for jump in mine]
    return (
        requests if len(mine) < len(jumps) else [*requests, *chain_deletion(nfproto, TABLE, chain)]
    )


def _is_mine(
    jump: "NftFields", wanted: "Masquerade", sources: "list[list[dict[str, Any]]]"
) -> bool:
    """Tell whether *jump*, of the container, is of the interface: it says so, or by address."""
    ifname = ifname_of(jump)
    if ifname:
        return ifname == wanted.ifname
    if not wanted.cidrs:
        return True
    program = program_of(jump)
    return any(program[: len(each)] == each for each in sources)


def _match(cidr: str, *, source: bool, op: int = NFT_CMP_EQ) -> "list[dict[str, Any]]":
    address, _, bits = cidr.partition("/")
    return match_address(parse_address(address), int(bits), source=source, op=op, inet=False)


def _comment(text: str) -> "dict[str, Any]":
    return xt_match("comment", text.encode()[: _COMMENT_BYTES - 1].ljust(_COMMENT_BYTES, b"\0"))


def _bytes(chain: str) -> bytes:
    return chain.encode() + b"\0"


def _chain_of(rule: "NftFields") -> str:
    """Return the chain that a rule is in, or that it jumps to from POSTROUTING."""
    return jump_of(rule) if rule["chain"] == POSTROUTING else rule["chain"]
