"""Routing policy rules: from the model's values to RTM_NEWRULE fields and back. Pure."""

from ipaddress import IPv4Network, IPv6Network

from podway.model.addresses import Family
from podway.model.kernel import Rule
from podway.netlink.constants import FIB_RULE_INVERT, FR_ACT_TO_TBL

# What a rule of another program may look at beside what a `Rule` has.
_SELECTORS = frozenset(
    {
        "oifname", "goto", "flow", "tun_id", "suppress_ifgroup", "l3mdev", "uid_range",
        "ip_proto", "sport_range", "dport_range",
    }
)  # fmt: skip
_ANY_LENGTH = 0xFFFFFFFF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.model.addresses import IPNetwork
    from podway.netlink.rules import RuleMessage


def rule_fields(rule: Rule) -> "RuleMessage":
    """Return the fields of *rule*."""
    fields: RuleMessage = {
        "family": int(rule.family),
        "priority": rule.priority,
        "table": rule.table,
        "protocol": rule.protocol,
    }
    if rule.src is not None:
        fields["src"], fields["src_len"] = rule.src.network_address.packed, rule.src.prefixlen
    if rule.dst is not None:
        fields["dst"], fields["dst_len"] = rule.dst.network_address.packed, rule.dst.prefixlen
    if rule.fwmark or rule.fwmask:
        fields["fwmark"], fields["fwmask"] = rule.fwmark, rule.fwmask
    if rule.iif:
        fields["iifname"] = rule.iif
    return fields


def parse_rule(message: "RuleMessage") -> Rule | None:
    """Return the rule that *message* describes; None for one that says more than a `Rule` can.

    A foreign rule with other selectors, taken for the same rule without them, would be taken away
    or left there by mistake.
    """
    if message["action"] != FR_ACT_TO_TBL or message["flags"] & FIB_RULE_INVERT:
        return None
    if message["tos"] or not _SELECTORS.isdisjoint(message):
        return None
    if message.get("suppress_prefixlen", _ANY_LENGTH) != _ANY_LENGTH:
        return None
    return Rule(
        family=Family(message["family"]),
        priority=message.get("priority", 0),
        table=message["table"],
        src=_prefix(message.get("src"), message["src_len"]),
        dst=_prefix(message.get("dst"), message["dst_len"]),
        fwmark=message.get("fwmark", 0),
        fwmask=message.get("fwmask", 0),
        iif=message.get("iifname", ""),
        protocol=message.get("protocol", 0),
    )


def _prefix(packed: bytes | None, length: int) -> "IPNetwork | None":
    if packed is None:
        return None
    return IPv4Network((packed, length)) if len(packed) == 4 else IPv6Network((packed, length))
