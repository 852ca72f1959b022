"""No container may send under another's MAC address (``macspoofchk`` of bridge).

In: an attachment, its device on the host and its MAC. Out: requests for an `NftSocket`. Names and
rules are the reference plugin's, so that a node may change between the implementations::

    table bridge nat {
        chain PREROUTING {
            type filter hook prerouting priority -300;
            iifname "veth1234" jump cni-br-iface-c1-eth0      # all: comment "macspoofchk-c1-eth0"
        }
        chain cni-br-iface-c1-eth0     { jump cni-br-iface-c1-eth0-mac }
        chain cni-br-iface-c1-eth0-mac { ether saddr 0a:58:0a:01:00:05 return; drop }
    }
"""

from podway.cni.errors import CHECK_FAILED, CniError
from podway.netlink.constants import NFPROTO_BRIDGE
from podway.netlink.nft_expressions import (
    NFT_JUMP,
    NFT_META_IIFNAME,
    NFT_RETURN,
    match_device,
    match_ether_source,
    verdict,
)
from podway.netlink.nft_rules import (
    NF_ACCEPT,
    NF_BR_PRE_ROUTING,
    NF_DROP,
    add_chain,
    add_table,
    append_rule,
    comment,
    comment_of,
    delete_chain,
    delete_rule,
)
from podway.plugins.bridge_conf import SPOOF_BASE as PREROUTING
from podway.plugins.bridge_conf import SPOOF_TABLE as TABLE
from podway.plugins.digests import sha512_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

    from podway.netlink.messages import Request as NetlinkRequest
    from podway.netlink.nft_rules import NftFields
    from podway.netlink.nft_transactions import NftSocket

_HOOK = {"hooknum": NF_BR_PRE_ROUTING, "priority": -300}
_CHAINS: "Final" = "cni-br-iface-"
_COMMENTS: "Final" = "macspoofchk-"
# A comment has 127 bytes; container ids are 64 in all runtimes.
_MAX_ID: "Final" = 100
_HERE: "NftFields" = {"family": NFPROTO_BRIDGE, "table": TABLE}


def spoof_id(container_id: str, ifname: str) -> str:
    """Return what chains and comments of an attachment are named by."""
    whole = f"{container_id}-{ifname}"
    return whole if len(whole) <= _MAX_ID else sha512_hex(whole)[:64]


def compute_spoof_check(
    spoof: str, host_ifname: str, mac: str, *, has_base: bool
) -> "list[NetlinkRequest[Any]]":
    """Return the requests that make chains and rules; those before are to be gone (`find`).

    Args:
        spoof: see `spoof_id`.
        host_ifname: of the host's end.
        mac: of the container's end.
        has_base: table and base chain are there. To make a chain again is a change, after which
            the end of the process waits for a grace period.
    """
    chain = f"{_CHAINS}{spoof}"
    return [
        *(() if has_base else _base()),
        *(add_chain({**_HERE, "name": name}) for name in (chain, f"{chain}-mac")),
        *(
            append_rule({**_HERE, "chain": name, "userdata": comment(_COMMENTS + spoof)}, rule)
            for name, rule in _rules(chain, host_ifname, mac)
        ),
    ]


def _base() -> "list[NetlinkRequest[Any]]":
    base: NftFields = {**_HERE, "name": PREROUTING, "type": "filter", "policy": NF_ACCEPT}
    return [
        add_table({"family": NFPROTO_BRIDGE, "name": TABLE}),
        add_chain({**base, "hook": _HOOK}),
    ]


def has_spoof_base(nft: "NftSocket") -> bool:
    """Tell whether some container has a spoof check already, or had one."""
    return nft.has_chain(NFPROTO_BRIDGE, TABLE, PREROUTING)


def find_spoof_check(nft: "NftSocket", spoof: str) -> "list[NetlinkRequest[Any]]":
    """Return the requests that take away what an attachment has."""
    chain = f"{_CHAINS}{spoof}"
    chains = [
        name for name in (chain, f"{chain}-mac") if nft.has_chain(NFPROTO_BRIDGE, TABLE, name)
    ]
    if not chains:
        return []
    jumps = nft.find_rules(NFPROTO_BRIDGE, TABLE, PREROUTING, comment(_COMMENTS + spoof))
    return _deletions(jumps, chains)


def find_spoof_garbage(
    nft: "NftSocket", is_gone: "Callable[[str], bool]"
) -> "list[NetlinkRequest[Any]]":
    """Return the requests that take away what belongs to devices that are gone.

    Args:
        nft: to look with.
        is_gone: tells it of the name of a device on the host.
    """
    rules = nft.find_rules(NFPROTO_BRIDGE, TABLE, PREROUTING, _COMMENTS.encode())
    spoofs = [
        comment_of(rule["userdata"]).removeprefix(_COMMENTS)
        for rule in rules
        if is_gone(_device_of(rule))
    ]
    return [request for spoof in dict.fromkeys(spoofs) for request in find_spoof_check(nft, spoof)]


def check_spoof_check(nft: "NftSocket", spoof: str, host_ifname: str, mac: str) -> None:
    """See that all rules are there, for this device and this MAC.

    Raises:
        CniError: CHECK_FAILED.
    """
    chain = f"{_CHAINS}{spoof}"
    for name, wanted in _rules(chain, host_ifname, mac):
        rules = nft.find_rules(NFPROTO_BRIDGE, TABLE, name, comment(_COMMENTS + spoof))
        if wanted not in [rule.get("expressions", {}).get("elem") for rule in rules]:
            raise CniError(CHECK_FAILED, f"nft bridge {TABLE} {name}: a rule is missing")


def _rules(chain: str, host_ifname: str, mac: str) -> "list[tuple[str, list[dict[str, Any]]]]":
    """Return chain and expressions of each rule."""
    return [
        (PREROUTING, [*match_device(NFT_META_IIFNAME, host_ifname), verdict(NFT_JUMP, chain)]),
        (chain, [verdict(NFT_JUMP, f"{chain}-mac")]),
        (f"{chain}-mac", [*match_ether_source(mac), verdict(NFT_RETURN)]),
        (f"{chain}-mac", [verdict(NF_DROP)]),
    ]


def _device_of(rule: "NftFields") -> str:
    """Return the device that a rule of PREROUTING is about."""
    value: bytes = rule["expressions"]["elem"][1]["data"]["data"]["value"]
    return value.rstrip(b"\0").decode(errors="surrogateescape")


def _deletions(
    jumps: "Iterable[NftFields]", chains: "Iterable[str]"
) -> "list[NetlinkRequest[Any]]":
    chains = list(chains)
    return [
        *(delete_rule({**_HERE, "chain": PREROUTING, "handle": rule["handle"]}) for rule in jumps),
        *(delete_rule({**_HERE, "chain": name}) for name in chains),
        *(delete_chain({**_HERE, "name": name}) for name in chains),
    ]
