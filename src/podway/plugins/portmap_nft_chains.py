"""How packets come by the ports that nftables publishes: table, chains, and jumps to them.

In: what is published, for whose sake they must be there. Out: requests for an `NftSocket`; or where
the way is broken. Called by `portmap_nftables`, whose text shows the table. All containers share
these chains, and nothing takes them away. Conditions are a user's words, which only `nft`
understands.
"""

from sys import byteorder

from podway.netlink.nft_expressions import (
    NFT_FIB_RESULT_ADDRTYPE,
    NFT_JUMP,
    NFTA_FIB_F_DADDR,
    compare,
    load_fib,
    verdict,
)
from podway.netlink.nft_rules import (
    NF_INET_LOCAL_OUT,
    NF_INET_POST_ROUTING,
    NF_INET_PRE_ROUTING,
    NF_IP_PRI_NAT_DST,
    NF_IP_PRI_NAT_SRC,
    add_chain,
    add_table,
    append_rule,
    comment,
    delete_rule,
)
from podway.plugins.digests import sha512_hex
from podway.plugins.iptables_chains import NFPROTO, program_of, shape_of
from podway.plugins.portmap_conf import NFT_CHAIN as HOSTPORTS
from podway.plugins.portmap_conf import NFT_HOSTIP_CHAIN as HOSTIP
from podway.plugins.portmap_conf import NFT_MASQUERADE_CHAIN as MASQUERADING
from podway.plugins.portmap_conf import NFT_TABLE as TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.netlink.nft_rules import NftFields
    from podway.netlink.nft_transactions import NftSocket
    from podway.plugins.iptables_chains import Requests
    from podway.plugins.portmap_conf import Publication

_ALL: "Final" = "hostports_all"
_DNAT_CHAINS: "Final" = {"prerouting": NF_INET_PRE_ROUTING, "output": NF_INET_LOCAL_OUT}
_TO_THIS_HOST: "Final" = (
    load_fib(NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR),
    compare((2).to_bytes(4, byteorder)),  # RTN_LOCAL
)
_COMMENT: "Final" = "CNI portmap plugin"
_DIGITS: "Final" = 16
_CONDITIONS: "Final" = "conditions "
_FAMILY_NAMES: "Final" = {NFPROTO[4]: "ip", NFPROTO[6]: "ip6"}


def compute_chains(nft: "NftSocket", wanted: "Publication", family: int) -> "Requests":
    """Return the requests that make table and chains, and lead packets to them.

    What is there is left alone: to flush a chain or to make it again is a change, after which
    closing the socket waits for a grace period.
    """
    nfproto = NFPROTO[family]
    table: NftFields = {"family": nfproto, "table": TABLE}
    chains: list[NftFields] = [{**table, "name": each} for each in (HOSTPORTS, HOSTIP, _ALL)]
    for chain, hook in _DNAT_CHAINS.items():
        chains.append(_base_chain(table, chain, hook, NF_IP_PRI_NAT_DST))
    if wanted.conf.snat:
        hook = NF_INET_POST_ROUTING
        chains.append(_base_chain(table, MASQUERADING, hook, NF_IP_PRI_NAT_SRC))
    requests: Requests = [
        add_table({"family": nfproto, "name": TABLE, "userdata": comment(_COMMENT)}),
        *(add_chain(each) for each in chains if not nft.has_chain(nfproto, TABLE, each["name"])),
    ]
    if len(nft.find_rules(nfproto, TABLE, _ALL)) != 2:
        requests.append(delete_rule({**table, "chain": _ALL}))
        requests += [
            append_rule({**table, "chain": _ALL}, [verdict(NFT_JUMP, chain)])
            for chain in (HOSTIP, HOSTPORTS)
        ]
    if not wanted.conf.conditions[family]:
        requests += _entries(nft, nfproto)
    return requests


def _base_chain(table: "NftFields", name: str, hook: int, priority: int) -> "NftFields":
    told = {"hooknum": hook, "priority": priority}
    return {**table, "name": name, "type": "nat", "hook": told}


def _entries(nft: "NftSocket", nfproto: int) -> "Requests":
    """Return the requests that lead all packets to this host through the chains."""
    wanted = [*_TO_THIS_HOST, verdict(NFT_JUMP, _ALL)]
    requests: Requests = []
    for chain in _DNAT_CHAINS:
        rules = nft.find_rules(nfproto, TABLE, chain)
        if [program_of(rule) for rule in rules] != [shape_of(wanted)]:
            place: NftFields = {"family": nfproto, "table": TABLE, "chain": chain}
            requests += [delete_rule(place), append_rule(place, wanted)]
    return requests


def write_conditions(nft: "NftSocket", wanted: "Publication", family: int) -> None:
    """Lead the packets that the user's conditions match through the chains.

    Only `nft` understands them. Their digest is the comment by which they are found next time.
    """
    words = " ".join(wanted.conf.conditions[family])
    if not words:
        return
    mark = _CONDITIONS + sha512_hex(words)[:_DIGITS]
    if all(nft.find_rules(NFPROTO[family], TABLE, chain, mark.encode()) for chain in _DNAT_CHAINS):
        return
    from podway.plugins.nft_program import run_nft  # noqa: PLC0415 - rarely needed

    lines = []
    for chain in _DNAT_CHAINS:
        place = f"{_FAMILY_NAMES[NFPROTO[family]]} {TABLE} {chain}"
        rule = f'{words} fib daddr type local jump {_ALL} comment "{mark}"'
        lines += [f"flush chain {place}", f"add rule {place} {rule}"]
    run_nft(lines)


def find_gap(nft: "NftSocket", nfproto: int) -> str:
    """Return where packets do not come by the published ports of a family, "" if they do."""
    place = f"nft {_FAMILY_NAMES[nfproto]} {TABLE}"
    for chain in _DNAT_CHAINS:
        if not nft.find_rules(nfproto, TABLE, chain, _ALL.encode()):
            return f"{place} {chain}: lacks a jump to {_ALL}"
    jumps = [program_of(rule) for rule in nft.find_rules(nfproto, TABLE, _ALL)]
    for chain in (HOSTPORTS, HOSTIP):
        # Of the second one only rules of older versions need a jump.
        is_used = chain == HOSTPORTS or nft.find_rules(nfproto, TABLE, chain)
        if is_used and shape_of([verdict(NFT_JUMP, chain)]) not in jumps:
            return f"{place} {_ALL}: lacks a jump to {chain}"
    return ""
