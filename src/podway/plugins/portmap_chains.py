"""Published ports in iptables: names as the reference plugin has them, what is there, garbage.

In: whose ports. Out: requests that delete them, for an `NftSocket`. Called by DEL and GC, and by
`portmap_iptables`, which writes them.
"""

from podway.cni.addresses import parse_address
from podway.netlink.nft_rules import dump_chains
from podway.plugins.digests import sha512_hex
from podway.plugins.iptables_chains import (
    NFPROTO,
    chain_deletion,
    comment_in,
    deletion,
    find_own_chain,
    jump_of,
    program_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.iptables_chains import Requests
    from podway.plugins.portmap_conf import Publication

TABLE: "Final" = "nat"
DNAT: "Final" = "CNI-HOSTPORT-DNAT"
_OLD_SNAT: "Final" = "CNI-HOSTPORT-SNAT"
_CHAIN_DIGITS: "Final" = 21
_MAX_COMMENT: "Final" = 255


def chain_name(network: str, container_id: str, kind: str = "DN") -> str:
    """Return the chain of a container in a network; *kind* "SN" is of old versions."""
    return f"CNI-{kind}-{sha512_hex(network + container_id)[:_CHAIN_DIGITS]}"


def comment_start(network: str) -> str:
    """Return what the comments of all of a network's entries begin with."""
    return f'dnat name: "{network}" id: "'


def comment_text(network: str, container_id: str) -> str:
    """Return the comment of a container's entries."""
    text = f'{comment_start(network)}{container_id}"'
    return text if len(text) <= _MAX_COMMENT else f"{text[: _MAX_COMMENT - 2]}..."


def find(nft: "NftSocket", wanted: "Publication") -> "Requests":
    """Return the requests that take away the rules of an attachment.

    Where the container's chain leads to other addresses besides, another interface of the container
    has them: then the chain stays, without what leads to this one's.
    """
    requests: Requests = []
    for family in NFPROTO:
        own = chain_name(wanted.network, wanted.container_id)
        mine, others = _targets(nft, wanted, family, own)
        if others:
            requests += mine
        else:
            requests += find_own_chain(nft, (family, TABLE), own, DNAT)
        old = chain_name(wanted.network, wanted.container_id, "SN")
        requests += find_own_chain(nft, (family, TABLE), old, _OLD_SNAT)
    return requests


def _targets(
    nft: "NftSocket", wanted: "Publication", family: int, own: str
) -> "tuple[Requests, int]":
    """Return the requests that delete DNAT to the attachment, and how many go elsewhere."""
    cidr = wanted.addresses.get(family)
    if cidr is None:
        return [], 0
    nfproto = NFPROTO[family]
    rules = [
        rule
        for rule in nft.find_rules(nfproto, TABLE, own, b"DNAT\0")
        if program_of(rule)[-1]["name"] == "target"
    ]
    packed = parse_address(cidr.partition("/")[0])
    # struct nf_nat_range2: flags, then the first address.
    mine = [rule for rule in rules if program_of(rule)[-1]["data"]["info"][4:].startswith(packed)]
    return [deletion(rule, nfproto, TABLE) for rule in mine], len(rules) - len(mine)


def find_garbage(nft: "NftSocket", network: str, valid: "Iterable[str]") -> "Requests":
    """Return the requests that take away the rules of containers that are not *valid*.

    Chains that nobody jumps to are garbage of any network: a plugin was killed before it wrote the
    entry, or after it had removed it.
    """
    kept = {chain_name(network, container) for container in valid}
    start = comment_start(network)
    requests: Requests = []
    for nfproto in NFPROTO.values():
        entries = nft.find_rules(nfproto, TABLE, DNAT, b"CNI-DN-")
        mine = [rule for rule in entries if comment_in(rule).startswith(start)]
        used = {jump_of(rule) for rule in entries}
        gone = {jump_of(rule) for rule in mine} - kept
        gone |= {name for name in _own_chains(nft, nfproto) if name not in used}
        requests += [deletion(rule, nfproto, TABLE) for rule in entries if jump_of(rule) in gone]
        for chain in sorted(gone):
            requests += chain_deletion(nfproto, TABLE, chain)
    return requests


def _own_chains(nft: "NftSocket", nfproto: int) -> "Iterator[str]":
    for chain in nft.dump(dump_chains(nfproto)):
        if chain["table"] == TABLE and chain["name"].startswith("CNI-DN-"):
            yield chain["name"]
