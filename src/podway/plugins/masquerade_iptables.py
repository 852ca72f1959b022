r"""Masquerade by iptables, in the reference plugins' chains.

In: `Masquerade`. Out: rules in table nat. Called by `masquerade` alone. ::

    -A POSTROUTING -s 10.1.0.5/32 -m comment --comment "name: \"net\" id: \"c1\"" -j CNI-<24 digits>
    -A CNI-... -d 10.1.0.0/16 -m comment ... -j ACCEPT
    -A CNI-... ! -d 224.0.0.0/4 -m comment ... -j MASQUERADE

Chain and comment are the container's in its network: two interfaces of one container share them, so
the chain stays until the last jump to it goes.

**Without starting a program.** Where the system's iptables is of the nft kind, its rules are rules
of nf_tables, with a form of their own (comment and MASQUERADE are extensions of iptables); written
in that form through netlink they are the same to iptables, for a sixth of the time, and what DEL
takes away can be one transaction with everything else. As soon as that is not possible (the table
was never made, or the system's iptables is of the legacy kind) iptables-restore does it.
"""

from sys import byteorder

from podway.cni.addresses import parse_address, render_address
from podway.cni.errors import CHECK_FAILED, CniError
from podway.netlink.constants import NFPROTO_IPV4, NFPROTO_IPV6
from podway.netlink.errors import NetlinkError
from podway.netlink.nft_expressions import (
    NFT_CMP_EQ,
    NFT_CMP_NEQ,
    NFT_JUMP,
    NFT_PAYLOAD_NETWORK_HEADER,
    compare,
    count,
    load_payload,
    mask,
    verdict,
    xt_match,
    xt_target,
)
from podway.netlink.nft_rules import (
    NF_ACCEPT,
    add_chain,
    append_rule,
    delete_chain,
    delete_rule,
    insert_rule,
)
from podway.plugins.digests import sha512_hex
from podway.plugins.iptables import (
    IPV4,
    IPV6,
    has_legacy_table,
    has_program,
    quote,
    read_table,
    restore,
    writes_nft,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

    from podway.netlink.messages import Request as NetlinkRequest
    from podway.netlink.nft_rules import NftFields
    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.masquerade import Masquerade

TABLE: "Final" = "nat"
POSTROUTING: "Final" = "POSTROUTING"
_CHAIN_DIGITS: "Final" = 24
_NFPROTO: "Final" = {IPV4: NFPROTO_IPV4, IPV6: NFPROTO_IPV6}
_BYTES: "Final" = {IPV4: 4, IPV6: 16}
_MULTICAST: "Final" = {IPV4: "224.0.0.0/4", IPV6: "ff00::/8"}
# struct xt_comment_info; struct nf_nat_ipv4_multi_range_compat with one range, and struct
# nf_nat_range, both empty and padded to 8 bytes (XT_ALIGN).
_COMMENT_BYTES: "Final" = 256
_MASQUERADE: "Final" = {IPV4: (1).to_bytes(4, byteorder).ljust(24, b"\0"), IPV6: bytes(40)}


def chain_name(network: str, container_id: str) -> str:
    """Return the chain of a container in a network."""
    return f"CNI-{sha512_hex(network + container_id)[:_CHAIN_DIGITS]}"


def comment_start(network: str) -> str:
    """Return what the comments of all rules of a network begin with."""
    return f'name: "{network}" id: "'


def comment_text(network: str, container_id: str) -> str:
    """Return the comment of a container's rules."""
    return f'{comment_start(network)}{container_id}"'


# --- both kinds ---------------------------------------------------------------------------------


def add(nft: "NftSocket", wanted: "Masquerade") -> None:
    """Write the rules of an attachment; what is there already stays."""
    for family in (IPV4, IPV6):
        cidrs = _cidrs(wanted, family)
        if not cidrs:
            continue
        if writes_nft(family):
            try:
                nft.commit(_additions(nft, wanted, family))
            except NetlinkError as error:
                if not error.is_not_found:
                    raise
            else:
                continue
        restore(family, TABLE, compute_additions(read_table(family, TABLE), wanted, family))


def check(nft: "NftSocket", wanted: "Masquerade") -> None:
    """See that each address has its rules."""
    for family in (IPV4, IPV6):
        if not _cidrs(wanted, family):
            continue
        if writes_nft(family):
            missing = len(_additions(nft, wanted, family)) - 1
        else:
            missing = len(compute_additions(read_table(family, TABLE), wanted, family))
        if missing:
            chain = chain_name(wanted.network, wanted.container_id)
            text = f"iptables {TABLE} {POSTROUTING} and {chain}: {missing} rules are missing"
            raise CniError(CHECK_FAILED, text)


def _cidrs(wanted: "Masquerade", family: int) -> list[str]:
    return [cidr for cidr in wanted.cidrs if (":" in cidr) is (family == IPV6)]


# --- the nft kind, through netlink --------------------------------------------------------------


def find(nft: "NftSocket", wanted: "Masquerade") -> "list[NetlinkRequest[Any]]":
    """Return the requests that take away the rules of an attachment."""
    return [request for family in (IPV4, IPV6) for request in _deletions(nft, wanted, family)]


def find_garbage(
    nft: "NftSocket", network: str, valid: "frozenset[tuple[str, str]]"
) -> "list[NetlinkRequest[Any]]":
    """Return the requests that take away the rules of containers without a valid attachment."""
    kept = {chain_name(network, container) for container, _ in valid}
    requests: list[NetlinkRequest[Any]] = []
    for nfproto in _NFPROTO.values():
        rules = nft.find_rules(nfproto, TABLE, "", comment_start(network).encode())
        chains = {_chain_of(rule) for rule in rules} - kept
        requests += [
            _deletion(rule, nfproto)
            for rule in rules
            if rule["chain"] == POSTROUTING and _chain_of(rule) in chains
        ]
        for chain in sorted(chains):
            requests += _chain_deletion(nfproto, chain)
    return requests


def _additions(nft: "NftSocket", wanted: "Masquerade", family: int) -> "list[NetlinkRequest[Any]]":
    """Return the requests that make the chain, and the rules that are missing."""
    nfproto, chain = _NFPROTO[family], chain_name(wanted.network, wanted.container_id)
    there = [_program(rule) for rule in nft.find_rules(nfproto, TABLE, chain)]
    # A chain that is new has no jumps to it yet: no need to look through those of all others.
    jumps = nft.find_rules(nfproto, TABLE, POSTROUTING, _bytes(chain)) if there else []
    there += [_program(rule) for rule in jumps]
    text = comment_text(wanted.network, wanted.container_id)
    place: NftFields = {"family": nfproto, "table": TABLE, "chain": chain}
    requests = [add_chain({"family": nfproto, "table": TABLE, "name": chain})]

    def need(
        make: "Callable[..., NetlinkRequest[Any]]", where: "NftFields", rule: "list[dict[str, Any]]"
    ) -> None:
        if _shape(rule) not in there:
            requests.append(make(where, rule))

    for cidr in _cidrs(wanted, family):
        near = _match(cidr, source=False)
        need(insert_rule, place, [*near, _comment(text), count(), verdict(NF_ACCEPT)])
    far = _match(_MULTICAST[family], source=False, op=NFT_CMP_NEQ)
    target = xt_target("MASQUERADE", _MASQUERADE[family])
    need(append_rule, place, [*far, _comment(text), count(), target])
    for cidr in _cidrs(wanted, family):
        mine = _match(_host(cidr), source=True)
        rule = [*mine, _comment(text), count(), verdict(NFT_JUMP, chain)]
        need(append_rule, {**place, "chain": POSTROUTING}, rule)
    return requests


def _deletions(nft: "NftSocket", wanted: "Masquerade", family: int) -> "list[NetlinkRequest[Any]]":
    nfproto, chain = _NFPROTO[family], chain_name(wanted.network, wanted.container_id)
    if not nft.has_chain(nfproto, TABLE, chain):
        return []
    jumps = nft.find_rules(nfproto, TABLE, POSTROUTING, _bytes(chain))
    sources = [_shape(_match(_host(cidr), source=True)) for cidr in _cidrs(wanted, family)]
    mine = [
        rule
        for rule in jumps
        if not wanted.cidrs or any(_program(rule)[: len(each)] == each for each in sources)
    ]
    requests = [_deletion(rule, nfproto) for rule in mine]
    return requests if len(mine) < len(jumps) else [*requests, *_chain_deletion(nfproto, chain)]


def _deletion(rule: "NftFields", nfproto: int) -> "NetlinkRequest[Any]":
    place: NftFields = {"family": nfproto, "table": TABLE, "chain": rule["chain"]}
    return delete_rule({**place, "handle": rule["handle"]})


def _chain_deletion(nfproto: int, chain: str) -> "list[NetlinkRequest[Any]]":
    return [
        delete_rule({"family": nfproto, "table": TABLE, "chain": chain}),
        delete_chain({"family": nfproto, "table": TABLE, "name": chain}),
    ]


def _match(cidr: str, *, source: bool, op: int = NFT_CMP_EQ) -> "list[dict[str, Any]]":
    """Match an address as iptables does: only the bytes of the prefix, if it ends with one."""
    address, _, bits_text = cidr.partition("/")
    packed, bits = parse_address(address), int(bits_text)
    size = len(packed)
    offset = (12 if source else 16) if size == _BYTES[IPV4] else (8 if source else 24)
    if bits % 8 == 0:
        load = load_payload(NFT_PAYLOAD_NETWORK_HEADER, offset, bits // 8)
        return [load, compare(packed[: bits // 8], op)]
    network, bitmask = _network(packed, bits)
    load = load_payload(NFT_PAYLOAD_NETWORK_HEADER, offset, size)
    return [load, mask(bitmask), compare(network, op)]


def _network(packed: bytes, bits: int) -> tuple[bytes, bytes]:
    """Return the first address of a subnet, and its mask."""
    size = len(packed)
    bitmask = ((1 << bits) - 1 << size * 8 - bits).to_bytes(size, "big")
    return bytes(a & b for a, b in zip(packed, bitmask, strict=True)), bitmask


def _host(cidr: str) -> str:
    address = cidr.partition("/")[0]
    return f"{address}/{128 if ':' in address else 32}"


def _comment(text: str) -> "dict[str, Any]":
    return xt_match("comment", text.encode()[: _COMMENT_BYTES - 1].ljust(_COMMENT_BYTES, b"\0"))


def _bytes(chain: str) -> bytes:
    return chain.encode() + b"\0"


def _program(rule: "NftFields") -> "list[dict[str, Any]]":
    return _shape(rule.get("expressions", {}).get("elem", []))


def _shape(expressions: "Iterable[dict[str, Any]]") -> "list[dict[str, Any]]":
    """Return expressions as they compare: without counters, and what the kernel adds."""
    return [
        {
            **each,
            "data": {key: value for key, value in each["data"].items() if key != "op" or value},
        }
        for each in expressions
        if each["name"] != "counter"
    ]


def _chain_of(rule: "NftFields") -> str:
    """Return the chain that a rule is in, or that it jumps to from POSTROUTING."""
    if rule["chain"] != POSTROUTING:
        return rule["chain"]
    last: dict[str, Any] = rule["expressions"]["elem"][-1]["data"]
    chain: str = last.get("data", {}).get("verdict", {}).get("chain", "")
    return chain


# --- the legacy kind, through its programs ------------------------------------------------------


def compute_additions(saved: "Iterable[str]", wanted: "Masquerade", family: int) -> list[str]:
    """Return the lines for iptables-restore that make what is missing in *saved*.

    Args:
        saved: table nat as iptables-save prints it.
        wanted: the attachment.
        family: IPV4 or IPV6.
    """
    chain = chain_name(wanted.network, wanted.container_id)
    told = f"-m comment --comment {quote(comment_text(wanted.network, wanted.container_id))}"
    rules = [(f"{chain} -d {_subnet(cidr)} {told} -j ACCEPT") for cidr in _cidrs(wanted, family)]
    first = len(rules)
    rules.append(f"{chain} ! -d {_MULTICAST[family]} {told} -j MASQUERADE")
    rules += [
        f"{POSTROUTING} -s {_host(cidr)} {told} -j {chain}" for cidr in _cidrs(wanted, family)
    ]
    there = set(saved)
    lines = [] if any(line.startswith(f":{chain} ") for line in there) else [f":{chain} - [0:0]"]
    # Subnets go before the line that masquerades.
    commands = ["-I"] * first + ["-A"] * (len(rules) - first)
    return lines + [
        f"{command} {rule}"
        for command, rule in zip(commands, rules, strict=True)
        if f"-A {rule}" not in there
    ]


def compute_deletions(saved: "Iterable[str]", wanted: "Masquerade", family: int) -> list[str]:
    """Return the lines for iptables-restore that take away what *saved* has of an attachment."""
    chain = chain_name(wanted.network, wanted.container_id)
    saved = list(saved)
    if not any(line.startswith(f":{chain} ") for line in saved):
        return []
    jumps = [line for line in saved if line.endswith(f" -j {chain}")]
    sources = [f" -s {_host(cidr)} " for cidr in _cidrs(wanted, family)]
    mine = [line for line in jumps if not wanted.cidrs or any(source in line for source in sources)]
    lines = [f"-D{line.removeprefix('-A')}" for line in mine]
    return lines if len(mine) < len(jumps) else [*lines, f"-F {chain}", f"-X {chain}"]


def delete_legacy(wanted: "Masquerade") -> None:
    """Take away the rules of an attachment that stand in the legacy kind's tables."""
    for family in _legacy_families():
        lines = compute_deletions(read_table(family, TABLE, legacy=True), wanted, family)
        if lines:
            restore(family, TABLE, lines, legacy=True)


def delete_legacy_garbage(network: str, valid: "frozenset[tuple[str, str]]") -> None:
    """Take away what the legacy kind has of containers without a valid attachment."""
    kept = {chain_name(network, container) for container, _ in valid}
    start = quote(comment_start(network))[:-1]
    for family in _legacy_families():
        saved = [line for line in read_table(family, TABLE, legacy=True) if start in line]
        chains = {_chain_of_line(line) for line in saved} - kept
        jumps = [line for line in saved if line.startswith(f"-A {POSTROUTING} ")]
        lines = [f"-D{line.removeprefix('-A')}" for line in jumps if _chain_of_line(line) in chains]
        for chain in sorted(chains):
            lines += (f"-F {chain}", f"-X {chain}")
        if lines:
            restore(family, TABLE, lines, legacy=True)


def _legacy_families() -> list[int]:
    """Return the families that may have rules in the legacy kind's tables."""
    return [
        family
        for family in (IPV4, IPV6)
        if has_legacy_table(family, TABLE)
        and (has_program(family, "legacy-restore") or not writes_nft(family))
    ]


def _chain_of_line(line: str) -> str:
    words = line.split()
    return words[-1] if words[1] == POSTROUTING else words[1]


def _subnet(cidr: str) -> str:
    address, _, bits = cidr.partition("/")
    return f"{render_address(_network(parse_address(address), int(bits))[0])}/{bits}"
