"""The node as a router: forwarding on, forwarded pod traffic accepted, the rest masqueraded.

One nftables table, ``inet podway``, replaced as a whole in one transaction. What leaves the network
takes the node's address, because nobody out there has a route to a pod; what stays inside keeps its
own, because every pod shall see who speaks to it. The network is all of its prefixes together,
those that are being drained too: pods live in them still.
"""

from collections.abc import Iterable
from ipaddress import ip_network

from podway.model.addresses import Family, IPNetwork, family_of
from podway.model.instances import TABLE_NAME
from podway.model.kernel import KernelObject, NftTable, Sysctl
from podway.model.networks import Network
from podway.model.nodes import Node

# kube-proxy marks what it wants masqueraded with this bit and does it itself.
KUBE_MASQUERADE_MARK = 0x4000

_MULTICAST = {Family.IPV4: ip_network("224.0.0.0/4"), Family.IPV6: ip_network("ff00::/8")}
_SYSCTLS = {Family.IPV4: "ipv4/ip_forward", Family.IPV6: "ipv6/conf/all/forwarding"}


def compute_forwarding(
    network: Network, me: Node, *, forward: bool = True
) -> tuple[KernelObject, ...]:
    """Return the sysctls and the table that make node *me* a router for its pods.

    *forward*: forwarded packets are accepted, as far as it is for this table to say.
    """
    sysctls = [Sysctl(_SYSCTLS[family], "1") for family in network.families]
    return (*sysctls, NftTable("inet", TABLE_NAME, render_table(network, me, forward=forward)))


def render_table(network: Network, me: Node, *, forward: bool = True) -> str:
    """Return the body of the table, in nft's language."""
    lines = _render_forward(network) if forward else []
    if network.masquerade:
        lines += _render_masquerade(network, me)
    return "\n".join(lines) + "\n"


def _render_forward(network: Network) -> list[str]:
    lines = ["chain forward {", "\ttype filter hook forward priority filter; policy accept;"]
    for family in network.families:
        inside = _set(network.prefixes(family))
        lines += [f"\t{_word(family)} {way} {inside} accept" for way in ("saddr", "daddr")]
    return [*lines, "}"]


def _word(family: Family) -> str:
    return "ip" if family is Family.IPV4 else "ip6"


def _set(prefixes: Iterable[IPNetwork]) -> str:
    """Return *prefixes* as nft writes them: one alone, or a set, in which none may overlap."""
    words = [str(prefix) for prefix in prefixes]
    return words[0] if len(words) == 1 else "{ " + ", ".join(words) + " }"


def _render_masquerade(network: Network, me: Node) -> list[str]:
    lines = [
        "chain postrouting {",
        "\ttype nat hook postrouting priority srcnat; policy accept;",
        f"\tmeta mark & {KUBE_MASQUERADE_MARK:#x} == {KUBE_MASQUERADE_MARK:#x} return",
    ]
    for family in network.families:
        lease = me.lease(family)
        if lease is not None:
            lines += _family_rules(network, lease.subnet)
    return [*lines, "}"]


def _family_rules(network: Network, own_subnet: IPNetwork) -> list[str]:
    family = family_of(own_subnet)
    word, inside = _word(family), _set(network.prefixes(family))
    exempt = [item for item in network.non_masquerade if family_of(item) is family]
    spared = _set([*exempt, _MULTICAST[family]])
    return [
        f"\t{word} saddr {inside} {word} daddr {inside} return",
        f"\t{word} saddr {inside} {word} daddr {spared} return",
        f"\t{word} saddr {inside} masquerade fully-random",
        # From outside to a pod of this node: the pod sees the client. To a pod elsewhere: the
        # answer has to come back through here, unless it was this node itself that asked.
        f"\t{word} daddr {own_subnet} return",
        f"\tfib saddr type != local {word} daddr {inside} masquerade fully-random",
    ]
