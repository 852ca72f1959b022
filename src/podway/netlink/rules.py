"""Routing policy rules: RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE.

A message is a `RuleMessage`: the fields of struct fib_rule_hdr and the FRA_* attributes::

    +---------------+---------------+---------------+---------------+
    |    family     |    dst_len    |    src_len    |      tos      |
    +---------------+---------------+---------------+---------------+
    |  table (<256) |             reserved          | action FR_ACT_|
    +---------------+---------------+---------------+---------------+
    |                 flags (FIB_RULE_INVERT, ...)                  |
    +---------------------------------------------------------------+

``table`` is one field: above 255 it travels in FRA_TABLE. The kernel allows many rules at one
priority; only an exact duplicate is EEXIST.

Sources: include/uapi/linux/fib_rules.h, net/core/fib_rules.c.
"""

from __future__ import annotations

from podway.netlink.attribute_types import ADDRESS, BE64, TEXT, U8, U32, Record
from podway.netlink.attributes import AttributeSet
from podway.netlink.constants import (
    FIB_RULE_INVERT,
    FR_ACT_TO_TBL,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    RTM_DELRULE,
    RTM_GETRULE,
    RTM_NEWRULE,
)
from podway.netlink.messages import Request, Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypedDict

    from podway.netlink.messages import NameOf

    class RuleMessage(TypedDict, total=False):
        """One rule. Prefixes are packed bytes with a length, devices are names.

        Attributes:
            family: AF_INET or AF_INET6.
            dst_len: bits of *dst*.
            src_len: bits of *src*.
            tos: type of service of the packet; 0 for any.
            table: RT_TABLE_*, where the route is sought.
            action: FR_ACT_*.
            flags: FIB_RULE_*.
            dst: the packet's destination is in this prefix.
            src: its source is in this one.
            iifname: it came in by this device; "lo" for what the node itself sends.
            oifname: its socket is bound to this device.
            goto: priority of the rule to go on with (FR_ACT_GOTO).
            priority: rules are asked in ascending order.
            fwmark: the packet's mark, in the bits of *fwmask*.
            fwmask: all bits unless given.
            flow: realms, source << 16 | destination.
            tun_id: of the tunnel by which it came.
            suppress_ifgroup: a route by a device of this group is not taken.
            suppress_prefixlen: nor is one whose prefix has no more bits than these.
            l3mdev: 1: the table is that of the VRF which the packet is in.
            uid_range: ``start`` and ``end`` of the users who send, both included.
            protocol: RTPROT_*, who wrote the rule.
            ip_proto: IPPROTO_*.
            sport_range: ``start`` and ``end`` of source ports, both included.
            dport_range: likewise of destination ports.
        """

        family: int
        dst_len: int
        src_len: int
        tos: int
        table: int
        action: int
        flags: int
        dst: bytes
        src: bytes
        iifname: str
        oifname: str
        goto: int
        priority: int
        fwmark: int
        fwmask: int
        flow: int
        tun_id: int
        suppress_ifgroup: int
        suppress_prefixlen: int
        l3mdev: int
        uid_range: Mapping[str, int]
        protocol: int
        ip_proto: int
        sport_range: Mapping[str, int]
        dport_range: Mapping[str, int]


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    from podway.netlink.text import format_prefix  # noqa: PLC0415  # when something failed

    del name_of
    words = [f"rule priority {fields.get('priority', 0)}"]
    if fields.get("flags", 0) & FIB_RULE_INVERT:
        words.append("not")
    words += [
        f"{word} {format_prefix(fields[name], fields.get(name + '_len', 0))}"
        for word, name in (("from", "src"), ("to", "dst"))
        if name in fields
    ]
    if "fwmark" in fields:
        words.append(f"fwmark {fields['fwmark']:#x}/{fields.get('fwmask', 0xFFFFFFFF):#x}")
    words += [f"{key[:3]} {fields[key]}" for key in ("iifname", "oifname") if key in fields]
    if fields.get("table"):
        words.append(f"lookup {fields['table']}")
    return " ".join(words)


_RANGE_RULE = ("start", "end")

RULE: Schema[RuleMessage] = Schema(
    "rule",
    "=BBBBBxxBI",
    ("family", "dst_len", "src_len", "tos", "table", "action", "flags"),
    AttributeSet(
        "FRA",
        (
            (1, "dst", ADDRESS),
            (2, "src", ADDRESS),
            (3, "iifname", TEXT),
            (4, "goto", U32),
            (6, "priority", U32),
            (10, "fwmark", U32),
            (11, "flow", U32),
            (12, "tun_id", BE64),
            (13, "suppress_ifgroup", U32),
            (14, "suppress_prefixlen", U32),
            (15, "table", U32),
            (16, "fwmask", U32),
            (17, "oifname", TEXT),
            (19, "l3mdev", U8),
            (20, "uid_range", Record("=II", _RANGE_RULE)),
            (21, "protocol", U8),
            (22, "ip_proto", U8),
            (23, "sport_range", Record("=HH", _RANGE_RULE)),
            (24, "dport_range", Record("=HH", _RANGE_RULE)),
        ),
    ),
    _describe,
)


def create_rule(fields: RuleMessage) -> Request[RuleMessage]:
    """Return the request that adds a rule; EEXIST for an exact duplicate.

    ``action`` is FR_ACT_TO_TBL unless given: look the route up in ``table``.
    """
    full: RuleMessage = {"action": FR_ACT_TO_TBL, **fields}
    return Request("create", RULE, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, full)


def delete_rule(fields: RuleMessage) -> Request[RuleMessage]:
    """Return the request that deletes the first rule which agrees with *fields*; ENOENT if none."""
    return Request("delete", RULE, RTM_DELRULE, 0, fields)


def dump_rules(family: int = 0) -> Request[RuleMessage]:
    """Return the request that lists rules of one family, or of all."""
    return Request("list", RULE, RTM_GETRULE, NLM_F_DUMP, {"family": family})
