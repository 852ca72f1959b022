"""The node as a router: forwarding on, forwarded pod traffic accepted, the rest masqueraded.

One nftables table, ``inet podway``, replaced as a whole in one transaction. What leaves the network
takes the node's address, because nobody out there has a route to a pod; what stays inside keeps its
own, because every pod shall see who speaks to it.
"""

from collections.abc import Iterable

from podway.model.addresses import Family, IPNetwork, family_of
from podway.model.kernel import KernelObject, NftTable, Sysctl
from podway.model.networks import Network, Pool
from podway.model.nodes import Node

TABLE_NAME = "podway"
# kube-proxy marks what it wants masqueraded with this bit and does it itself.
KUBE_MASQUERADE_MARK = 0x4000

_MULTICAST = {Family.IPV4: "224.0.0.0/4", Family.IPV6: "ff00::/8"}
_SYSCTLS = {Family.IPV4: "ipv4/ip_forward", Family.IPV6: "ipv6/conf/all/forwarding"}


def compute_forwarding(network: Network, me: Node) -> tuple[KernelObject, ...]:
    """Return the sysctls and the table that make node *me* a router for its pods."""
    sysctls = [Sysctl(_SYSCTLS[pool.family], "1") for pool in network.pools]
    return (*sysctls, NftTable("inet", TABLE_NAME, render_table(network, me)))


def render_table(network: Network, me: Node) -> str:
    """Return the body of the table, in nft's language."""
    lines = ["chain forward {", "\ttype filter hook forward priority filter; policy accept;"]
    for pool in network.pools:
        lines += [
            f"\t{_word(pool.family)} {way} {pool.prefix} accept" for way in ("saddr", "daddr")
        ]
    lines.append("}")
    if network.masquerade:
        lines += _render_masquerade(network, me)
    return "\n".join(lines) + "\n"


def _word(family: Family) -> str:
    return "ip" if family is Family.IPV4 else "ip6"


def _set(prefixes: Iterable[str]) -> str:
    return "{ " + ", ".join(prefixes) + " }"


def _render_masquerade(network: Network, me: Node) -> list[str]:
    lines = [
        "chain postrouting {",
        "\ttype nat hook postrouting priority srcnat; policy accept;",
        f"\tmeta mark & {KUBE_MASQUERADE_MARK:#x} == {KUBE_MASQUERADE_MARK:#x} return",
    ]
    for pool in network.pools:
        lease = me.lease(pool.family)
        if lease is not None:
            lines += _family_rules(pool, lease.subnet, network.non_masquerade)
    return [*lines, "}"]


def _family_rules(pool: Pool, own_subnet: IPNetwork, exempt: Iterable[IPNetwork]) -> list[str]:
    word, prefix = _word(pool.family), pool.prefix
    spared = [str(item) for item in exempt if family_of(item) is pool.family]
    spared.append(_MULTICAST[pool.family])
    return [
        f"\t{word} saddr {prefix} {word} daddr {prefix} return",
        f"\t{word} saddr {prefix} {word} daddr {_set(spared)} return",
        f"\t{word} saddr {prefix} masquerade fully-random",
        # From outside to a pod of this node: the pod sees the client. To a pod elsewhere: the
        # answer has to come back through here, unless it was this node itself that asked.
        f"\t{word} daddr {own_subnet} return",
        f"\tfib saddr type != local {word} daddr {prefix} masquerade fully-random",
    ]
