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
    ifname_of,
    jump_of,
    program_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from podway.netlink.nft_rules import NftFields
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

    Where the container's chain leads to another of its interfaces besides, it stays, without what
    leads to this one.
    """
    requests: Requests = []
    for family, nfproto in NFPROTO.items():
        own = chain_name(wanted.network, wanted.container_id)
        targets = _targets(nft, nfproto, own)
        mine = [rule for rule in targets if _is_mine(rule, wanted, family)]
        if len(mine) < len(targets):
            requests += [deletion(rule, nfproto, TABLE) for rule in mine]
        else:
            requests += find_own_chain(nft, (family, TABLE), own, DNAT)
        old = chain_name(wanted.network, wanted.container_id, "SN")
        requests += find_own_chain(nft, (family, TABLE), old, _OLD_SNAT)
    return requests


def _targets(nft: "NftSocket", nfproto: int, chain: str) -> "list[NftFields]":
    """Return the rules of a container's chain that lead to it: one for each port."""
    rules = nft.find_rules(nfproto, TABLE, chain, b"DNAT\0")
    return [rule for rule in rules if program_of(rule)[-1]["name"] == "target"]


def _is_mine(target: "NftFields", wanted: "Publication", family: int) -> bool:
    """Tell whether *target* leads to the attachment: it says so, or by address (the original's)."""
    ifname, cidr = ifname_of(target), wanted.addresses.get(family)
    if ifname or cidr is None:
        return ifname in {"", wanted.ifname}
    # struct nf_nat_range2: flags, then the first address.
    address = parse_address(cidr.partition("/")[0])
    is_to: bool = program_of(target)[-1]["data"]["info"][4:].startswith(address)
    return is_to


def find_garbage(nft: "NftSocket", network: str, valid: "Iterable[tuple[str, str]]") -> "Requests":
    """Return the requests that take away the rules of attachments that are not *valid*.

    Chains that nobody jumps to are garbage of any network: a plugin was killed before it wrote the
    entry, or after it had removed it.

    Args:
        nft: to look with.
        network: name.
        valid: (container, interface) of attachments that stay.
    """
    kept: dict[str, set[str]] = {}
    for container, ifname in valid:
        kept.setdefault(chain_name(network, container), set()).add(ifname)
    start = comment_start(network)
    requests: Requests = []
    for nfproto in NFPROTO.values():
        entries = nft.find_rules(nfproto, TABLE, DNAT, b"CNI-DN-")
        mine = {jump_of(rule) for rule in entries if comment_in(rule).startswith(start)}
        used = {jump_of(rule) for rule in entries}
        gone = mine - kept.keys()
        gone |= {name for name in _own_chains(nft, nfproto) if name not in used}
        for chain in sorted(mine & kept.keys()):
            stale, is_all = _stale_targets(nft, nfproto, chain, kept[chain])
            if is_all:
                gone.add(chain)
            else:
                requests += stale
        requests += [deletion(rule, nfproto, TABLE) for rule in entries if jump_of(rule) in gone]
        for chain in sorted(gone):
            requests += chain_deletion(nfproto, TABLE, chain)
    return requests


def _stale_targets(
    nft: "NftSocket", nfproto: int, chain: str, ifnames: set[str]
) -> "tuple[Requests, bool]":
    """Return the requests that delete what leads to other interfaces, and whether that is all."""
    targets = _targets(nft, nfproto, chain)
    stale = [rule for rule in targets if ifname_of(rule) not in {"", *ifnames}]
    requests = [deletion(rule, nfproto, TABLE) for rule in stale]
    return requests, bool(stale) and len(stale) == len(targets)


def find_lost(nft: "NftSocket", nfproto: int, network: str) -> str:
    """Return where nothing leads to the ports of *network*, "" if all is well."""
    if not nft.find_rules(nfproto, TABLE, DNAT, comment_start(network).encode()):
        return ""
    for base in ("PREROUTING", "OUTPUT"):
        if not nft.find_rules(nfproto, TABLE, base, DNAT.encode() + b"\0"):
            return f"iptables -t {TABLE} {base} lacks -j {DNAT}"
    return ""


def _own_chains(nft: "NftSocket", nfproto: int) -> "Iterator[str]":
    for chain in nft.dump(dump_chains(nfproto)):
        if chain["table"] == TABLE and chain["name"].startswith("CNI-DN-"):
            yield chain["name"]
