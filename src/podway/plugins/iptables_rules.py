"""Rules of iptables as values, and what a table is to have of them.

In: what rules match and do (`iptables_phrases`), names of chains. Out: `IptablesRule`, in the words
of iptables-save and as the nft kind has it, and `IptablesPlan`. Pure; called by `portmap_iptables`,
`firewall_rules` and `firewall_nftables`, carried out by `iptables_changes` and `iptables_lines`.
"""

from podway.cni.addresses import first_address, parse_address, render_address
from podway.cni.values import Value
from podway.netlink.constants import NFPROTO_INET
from podway.netlink.nft_expressions import count, match_address, match_l4proto
from podway.plugins.iptables_chains import NFPROTO
from podway.plugins.iptables_names import PROTOCOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from podway.plugins.iptables_phrases import Expressions, Phrase

# A table of nftables' own, for both families; iptables has none.
INET: "Final" = 0


class IptablesRule(Value):
    """A rule of one chain.

    Attributes:
        chain: in which it stands.
        text: what iptables-save prints behind the chain's name.
        expressions: as the nft kind has it; None where only the program knows.
        jump: the chain that it jumps to, "" for none.
        is_first: it is put before what is there, else behind.
        protocol: IPPROTO_* that it matches, 0 for any; extensions of iptables insist on it.
        userdata: what is said of it where iptables does not look (`nft_rules.comment`).
    """

    chain: str
    text: str
    expressions: "Expressions | None"
    jump: str = ""
    is_first: bool = False
    protocol: int = 0
    userdata: bytes = b""


def make_rule(
    chain: str,
    target: "Phrase",
    *matches: "Phrase",
    protocol: str = "",
    source: str = "",
    destination: str = "",
    is_first: bool = False,
) -> IptablesRule:
    """Return a rule.

    Args:
        chain: in which it stands.
        target: what happens.
        matches: in the order in which the program would be told.
        protocol: a key of PROTOCOLS, "" for any.
        source: prefix that packets come from, "" for any.
        destination: likewise.
        is_first: it goes before what is there.
    """
    words = []
    expressions: Expressions = match_l4proto(PROTOCOLS[protocol]) if protocol else []
    for option, prefix, is_source in (("-s", source, True), ("-d", destination, False)):
        if prefix:
            words.append(f"{option} {network_text(prefix)}")
            expressions += _match_prefix(prefix, source=is_source)
    words += [f"-p {protocol}"] if protocol else []
    words += [phrase.text for phrase in (*matches, target)]
    parts = [phrase.expressions for phrase in (*matches, target)]
    for part in parts[:-1]:
        expressions += part or []
    expressions += [count(), *(parts[-1] or [])]
    return IptablesRule(
        chain=chain,
        text=" ".join(words),
        expressions=None if None in parts else expressions,
        jump=target.jump,
        is_first=is_first,
        protocol=PROTOCOLS.get(protocol, 0),
    )


def network_text(prefix: str) -> str:
    """Return ``10.1.0.5/24`` as iptables prints it: ``10.1.0.0/24``; an address as ``/32``."""
    address, slash, bits = prefix.partition("/")
    packed = parse_address(address)
    length = int(bits) if slash else len(packed) * 8
    return f"{render_address(first_address(packed, length))}/{length}"


def _match_prefix(prefix: str, *, source: bool) -> "Expressions":
    address, _, bits = prefix.partition("/")
    return match_address(parse_address(address), int(bits or 0), source=source, inet=False)


class IptablesPlan(Value):
    """What one table of one family must have.

    Attributes:
        family: IPV4 or IPV6; INET, and then it is no table of iptables.
        table: "nat" or "filter".
        chains: that plugins share; made unless they are there.
        own: chain of the container's, "" for none; likewise.
        rules: in their order.
    """

    family: int
    table: str
    chains: tuple[str, ...]
    own: str
    rules: "tuple[IptablesRule, ...]"

    @property
    def nfproto(self) -> int:
        """The family as netlink numbers it."""
        return NFPROTO.get(self.family, NFPROTO_INET)


def in_order(rules: "Iterable[IptablesRule]") -> "list[IptablesRule]":
    """Return *rules* as they are to be written: of those put first the last one comes first."""
    rules = list(rules)
    return [
        *reversed([rule for rule in rules if rule.is_first]),
        *(rule for rule in rules if not rule.is_first),
    ]
