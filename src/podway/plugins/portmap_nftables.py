"""Published ports by nftables, in the reference plugin's tables.

In: what is published for a container. Out: requests for an `NftSocket`. Called by `portmap` and its
siblings. A table of family ip and one of family ip6, as they are since its version 1.9::

    table ip cni_hostport {
        chain hostports {
            ip daddr 192.0.2.1 tcp dport 8080 dnat to 10.1.0.5:80 comment "<container>"
        }
        chain hostip_hostports { }                  # of versions before
        chain hostports_all { jump hostip_hostports; jump hostports }
        chain prerouting { type nat hook prerouting priority dstnat;
                           <conditions> fib daddr type local jump hostports_all }
        chain output     { type nat hook output priority dstnat; the same }
        chain masquerading { type nat hook postrouting priority srcnat;
            ip saddr 10.1.0.5 ip daddr 10.1.0.5 masquerade comment "<container>"
            ip saddr 127.0.0.1 ip daddr 10.1.0.5 masquerade comment "<container>"
        }                                           # masqAll: ct status dnat ip daddr ...
    }

The comment is the container alone, by which the reference plugin finds its rules. Behind it, where
`nft` does not look (a type of user data of podway's own), stand network and interface, so that one
attachment does not take another's rules. Rules without are the reference plugin's.

A container's rules go before those of others: should two publish one port, the last one has it.
The chains that all share: `portmap_nft_chains`.
"""

from sys import byteorder

from podway.cni.addresses import parse_address
from podway.cni.errors import CHECK_FAILED, CniError
from podway.netlink.nft_expressions import (
    NFT_CMP_NEQ,
    NFT_CT_STATUS,
    NFT_REG_2,
    compare,
    destination_nat,
    load_ct,
    load_value,
    mask,
    masquerade,
    match_address,
    match_l4proto,
    match_port,
)
from podway.netlink.nft_rules import comment, comment_of, insert_rule, note, note_of
from podway.plugins.digests import sha512_hex
from podway.plugins.iptables_chains import NFPROTO, deletion, program_of, shape_of
from podway.plugins.iptables_names import PROTOCOLS
from podway.plugins.portmap_conf import NFT_CHAIN as HOSTPORTS
from podway.plugins.portmap_conf import NFT_HOSTIP_CHAIN as HOSTIP
from podway.plugins.portmap_conf import NFT_MASQUERADE_CHAIN as MASQUERADING
from podway.plugins.portmap_conf import NFT_TABLE as TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

    from podway.netlink.nft_rules import NftFields
    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.iptables_chains import Requests
    from podway.plugins.portmap_conf import PortMapping, Publication

_RULE_CHAINS: "Final" = (HOSTPORTS, HOSTIP, MASQUERADING)
# Connections whose destination was replaced: IPS_DST_NAT.
_TRANSLATED: "Final" = [
    load_ct(NFT_CT_STATUS),
    mask((1 << 5).to_bytes(4, byteorder)),
    compare(bytes(4), NFT_CMP_NEQ),
]
# Of the user data of rules: libnftnl knows 0 and 1 (include/libnftnl/udata.h), and nft passes over
# what it does not know.
_OWNER: "Final" = 0x70
_DIGITS: "Final" = 16
# What leads to the ports DEL does without.
# ruff: noqa: PLC0415


def add(nft: "NftSocket", wanted: "Publication") -> None:
    """Write the rules of an attachment in place of those that it may have had.

    Raises:
        NetlinkError: nothing has changed; CniError: the program nft refuses conditions.
    """
    from podway.plugins.portmap_nft_chains import compute_chains, write_conditions

    requests = find(nft, wanted)
    for family in wanted.addresses:
        requests += compute_chains(nft, wanted, family)
        requests += [
            insert_rule(_place(wanted, family, chain), rule)
            for chain, rule in reversed(compute_rules(wanted, family))
        ]
    nft.commit(requests)
    for family in wanted.addresses:
        write_conditions(nft, wanted, family)


def compute_rules(wanted: "Publication", family: int) -> "list[tuple[str, list[dict[str, Any]]]]":
    """Return chain and expressions of each rule of an attachment."""
    packed = parse_address(wanted.addresses[family].partition("/")[0])
    rules = [
        (HOSTPORTS, _mapping_rule(mapping, packed, family))
        for mapping in wanted.conf.mappings_of(family)
    ]
    if wanted.conf.snat:
        sources: list[bytes | None] = [packed]
        if wanted.conf.masq_all:
            sources = [None]
        elif family == 4:
            sources.append(b"\x7f\0\0\x01")
        for source in sources:
            near = _TRANSLATED if source is None else match_address(source, source=True, inet=False)
            to = match_address(packed, source=False, inet=False)
            rules.append((MASQUERADING, [*near, *to, masquerade()]))
    return rules


def _mapping_rule(mapping: "PortMapping", packed: bytes, family: int) -> "list[dict[str, Any]]":
    host = parse_address(mapping.host_address) if mapping.host_address else b""
    return [
        *(match_address(host, source=False, inet=False) if host else ()),
        *match_l4proto(PROTOCOLS[mapping.protocol]),
        *match_port(mapping.host_port),
        load_value(packed),
        load_value(mapping.container_port.to_bytes(2, "big"), NFT_REG_2),
        destination_nat(NFPROTO[family], with_port=True),
    ]


def find(nft: "NftSocket", wanted: "Publication") -> "Requests":
    """Return the requests that take away the rules of an attachment.

    Of rules that the reference plugin wrote, those of the container go.
    """
    owner = owner_of(wanted.network, wanted.container_id, wanted.ifname)
    needle = wanted.container_id[:_DIGITS].encode()
    return [
        deletion(rule, NFPROTO[family], TABLE)
        for family in NFPROTO
        for chain in _RULE_CHAINS
        for rule in nft.find_rules(NFPROTO[family], TABLE, chain, needle)
        if comment_of(rule["userdata"]) == _cut(wanted.container_id)
        and _owner_in(rule["userdata"]) in {"", owner}
    ]


def find_garbage(nft: "NftSocket", network: str, valid: "Iterable[tuple[str, str]]") -> "Requests":
    """Return the requests that take away rules of attachments of *network* not in *valid*.

    Args:
        nft: to look with.
        network: name.
        valid: (container, interface) of attachments that stay.
    """
    kept = {owner_of(network, container, ifname) for container, ifname in valid}
    start = f"{sha512_hex(network)[:_DIGITS]}-"
    return [
        deletion(rule, NFPROTO[family], TABLE)
        for family in NFPROTO
        for chain in _RULE_CHAINS
        for rule in nft.find_rules(NFPROTO[family], TABLE, chain, start.encode())
        if _owner_in(rule["userdata"]).startswith(start) and _owner_in(rule["userdata"]) not in kept
    ]


def check(nft: "NftSocket", wanted: "Publication") -> None:
    """See that every rule is there, and that packets come by.

    Raises:
        CniError: CHECK_FAILED.
    """
    from podway.plugins.portmap_nft_chains import find_gap

    for family in wanted.addresses:
        nfproto = NFPROTO[family]
        there = {
            chain: [_comparable(program_of(rule)) for rule in nft.find_rules(nfproto, TABLE, chain)]
            for chain in _RULE_CHAINS
        }
        # The reference plugin before 1.9 had rules for one address in a chain of their own.
        there[HOSTPORTS] += there[HOSTIP]
        for chain, rule in compute_rules(wanted, family):
            if _comparable(shape_of(rule)) not in there[chain]:
                name = "ip" if family == 4 else "ip6"
                raise CniError(CHECK_FAILED, f"nft {name} {TABLE} {chain}: lacks a rule")
        gap = find_gap(nft, nfproto)
        if gap:
            raise CniError(CHECK_FAILED, gap)


def find_lost(nft: "NftSocket", nfproto: int, network: str) -> str:
    """Return where nothing leads to the ports of *network*, "" if all is well."""
    start = f"{sha512_hex(network)[:_DIGITS]}-".encode()
    if not nft.find_rules(nfproto, TABLE, HOSTPORTS, start):
        return ""
    from podway.plugins.portmap_nft_chains import find_gap

    return find_gap(nft, nfproto)


def _comparable(program: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """Return a program without what the kernel adds to a translation: ends of ranges, flags."""
    added = ("reg_addr_max", "reg_proto_max", "flags")
    return [
        {**each, "data": {key: value for key, value in each["data"].items() if key not in added}}
        if each["name"] == "nat"
        else each
        for each in program
    ]


def owner_of(network: str, container_id: str, ifname: str) -> str:
    """Return what stands behind the comment of an attachment's rules."""
    digests = (sha512_hex(network), sha512_hex(f"{ifname}:{container_id}"))
    return "-".join(digest[:_DIGITS] for digest in digests)


def _place(wanted: "Publication", family: int, chain: str) -> "NftFields":
    owner = owner_of(wanted.network, wanted.container_id, wanted.ifname).encode() + b"\0"
    data = comment(wanted.container_id) + note(_OWNER, owner)
    return {"family": NFPROTO[family], "table": TABLE, "chain": chain, "userdata": data}


def _owner_in(userdata: bytes) -> str:
    return note_of(userdata, _OWNER).rstrip(b"\0").decode(errors="replace")


def _cut(container_id: str) -> str:
    """Return a container's id as a comment holds it."""
    return comment_of(comment(container_id))
