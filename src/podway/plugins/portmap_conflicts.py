"""Two containers that publish the same port of the host: whom the last one takes it from.

In: what is to be published. Out: a sentence for each port that another container has. Called by
ADD, which then goes on: the last one has the port, as with the reference plugin's documentation
(its rules would give it to the first, for as long as nobody removes them). A refusal would keep a
pod from starting because of a container that was never deleted.
"""

from sys import byteorder

from podway.cni.addresses import parse_address
from podway.netlink.nft_expressions import match_address, match_l4proto, match_port
from podway.netlink.nft_rules import comment_of
from podway.plugins.iptables_chains import NFPROTO, comment_in, jump_of, program_of, shape_of
from podway.plugins.iptables_names import PROTOCOLS
from podway.plugins.iptables_phrases import to_port
from podway.plugins.portmap_chains import DNAT, TABLE, chain_name
from podway.plugins.portmap_conf import NFT_CHAIN, NFT_TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeAlias

    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.portmap_conf import PortMapping, Publication

    Program: TypeAlias = list[dict[str, Any]]


def find_conflicts(nft: "NftSocket", wanted: "Publication", backend: str) -> list[str]:
    """Return a sentence for each port that another container has published."""
    find = _in_nftables if backend == "nftables" else _in_iptables
    sentences = (
        f"hostPort {mapping.host_port}/{mapping.protocol} is published for {other} already: "
        "it leads to this container now"
        for family in wanted.addresses
        for mapping, other in find(nft, wanted, family)
    )
    return list(dict.fromkeys(sentences))


def _in_nftables(
    nft: "NftSocket", wanted: "Publication", family: int
) -> "Iterator[tuple[PortMapping, str]]":
    mappings = wanted.conf.mappings_of(family)
    needles = [each.host_port.to_bytes(2, "big") for each in mappings]
    for rule in nft.find_rules(NFPROTO[family], NFT_TABLE, NFT_CHAIN, *needles):
        owner = comment_of(rule.get("userdata", b""))
        for mapping in mappings:
            if owner != wanted.container_id and _overlaps(program_of(rule), mapping):
                yield mapping, f"container {owner}"


def _in_iptables(
    nft: "NftSocket", wanted: "Publication", family: int
) -> "Iterator[tuple[PortMapping, str]]":
    mappings = wanted.conf.mappings_of(family)
    nfproto, own = NFPROTO[family], chain_name(wanted.network, wanted.container_id)
    needles = [each.host_port.to_bytes(2, byteorder) for each in mappings]
    for entry in nft.find_rules(nfproto, TABLE, DNAT, *needles):
        chain = jump_of(entry)
        if chain in {"", own}:
            continue
        rules = nft.find_rules(nfproto, TABLE, chain, b"DNAT\0")
        for mapping in mappings:
            if any(_overlaps(program_of(rule), mapping) for rule in rules):
                yield mapping, comment_in(entry).removeprefix("dnat ")


def _overlaps(program: "Program", mapping: "PortMapping") -> bool:
    """Tell whether a rule that forwards has packets that *mapping* is about."""
    protocol = match_l4proto(PROTOCOLS[mapping.protocol])
    ports = (
        match_port(mapping.host_port),
        to_port(mapping.protocol, mapping.host_port).expressions,
    )
    if not _holds(program, protocol) or not any(_holds(program, port or []) for port in ports):
        return False
    host = mapping.host_address
    if not host:
        return True
    to = match_address(parse_address(host), source=False, inet=False)
    return not _holds(program, to[:-1]) or _holds(program, to)


def _holds(program: "Program", part: "Program") -> bool:
    wanted = shape_of(part)
    size = len(wanted)
    return any(program[at : at + size] == wanted for at in range(len(program) - size + 1))
