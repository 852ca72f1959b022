"""Queueing disciplines and their classes: RTM_NEWQDISC, RTM_NEWTCLASS and their siblings.

A message is a `TrafficMessage`: the fields of struct tcmsg and the TCA_* attributes. Filters have
the same header and stand in `traffic_filters`, rates and bursts are reckoned in `traffic_rates`::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+-----------------------------------------------+
    |    family     |                      pad                      |
    +---------------+-----------------------------------------------+
    |                     ifindex of the device                     |
    +-------------------------------+-------------------------------+
    |  handle: major (1: is 0x1)    |  minor (1:30 is 0x1, 0x30)    |
    +-------------------------------+-------------------------------+
    |  parent: a handle, or TC_H_ROOT, TC_H_INGRESS, TC_H_CLSACT    |
    +---------------------------------------------------------------+
    |  info: of a filter, its priority and protocol                 |
    +---------------------------------------------------------------+

What ``options`` holds depends on ``kind``; of a kind without a table here they are bytes, as the
kernel sent them. Statistics stand in ``stats2``: ``basic`` what went through, ``queue`` what waits
or was dropped.

Sources: include/uapi/linux/rtnetlink.h, pkt_sched.h, gen_stats.h, net/sched/sch_api.c, sch_tbf.c,
sch_htb.c, sch_fq_codel.c.
"""

from __future__ import annotations

from podway.netlink.attribute_types import BYTES, TEXT, U8, U32, U64, Record
from podway.netlink.attributes import AttributeSet, Nested, Selected
from podway.netlink.constants import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_ECHO,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_DELQDISC,
    RTM_DELTCLASS,
    RTM_GETQDISC,
    RTM_GETTCLASS,
    RTM_NEWQDISC,
    RTM_NEWTCLASS,
    TC_H_INGRESS,
    TC_H_ROOT,
)
from podway.netlink.messages import Request, Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypedDict

    from podway.netlink.messages import NameOf

    class TrafficMessage(TypedDict, total=False):
        """One queueing discipline, class or filter.

        Attributes:
            family: 0.
            ifindex: the device.
            handle: `make_handle`; of a filter its number in its kind's own sense.
            parent: handle of the class or discipline above, or TC_H_*.
            info: of a filter `traffic_filters.filter_info`, of others the kernel's own.
            kind: "htb", "u32", ...
            options: parameters of the kind.
            stats2: counts of bytes and packets; ``backlog`` in bytes, ``qlen`` in packets.
            chain: of a filter.
            ingress_block: number of a block of filters shared by devices, for what comes in.
            egress_block: likewise, for what goes out.
        """

        family: int
        ifindex: int
        handle: int
        parent: int
        info: int
        kind: str
        options: Any  # Mapping[str, Any], or bytes for a kind without a table
        stats2: Mapping[str, Any]
        chain: int
        ingress_block: int
        egress_block: int


# struct tc_ratespec: what a rate is counted on; ``rate`` in bytes per second, at most 2^32 - 1.
_RATESPEC = "BBHhHI"
_RATESPEC_NAMES = ("cell_log", "linklayer", "overhead", "cell_align", "mpu")


def _ratespec(rate: str) -> tuple[str, ...]:
    return *(f"{rate}_{name}" for name in _RATESPEC_NAMES), rate


# ``limit`` in bytes; ``buffer`` and ``mtu`` (of the peak rate) as time in ticks of 64 ns
# (`traffic_rates.burst_ticks`); rates in bytes per second, bursts in bytes.
_TBF = AttributeSet(
    "TCA_TBF",
    (
        (
            1,
            "parms",
            Record(
                f"={_RATESPEC}{_RATESPEC}III",
                (*_ratespec("rate"), *_ratespec("peakrate"), "limit", "buffer", "mtu"),
            ),
        ),
        (2, "rtab", BYTES),
        (3, "ptab", BYTES),
        (4, "rate64", U64),
        (5, "prate64", U64),
        (6, "burst", U32),
        (7, "pburst", U32),
    ),
)

# One table for the discipline (``init``) and its classes (``parms``): ``buffer`` and ``cbuffer`` as
# time in ticks of 64 ns, ``quantum`` in bytes, ``defcls`` the minor of a handle.
_HTB = AttributeSet(
    "TCA_HTB",
    (
        (
            1,
            "parms",
            Record(
                f"={_RATESPEC}{_RATESPEC}IIIII",
                (
                    *_ratespec("rate"),
                    *_ratespec("ceil"),
                    "buffer",
                    "cbuffer",
                    "quantum",
                    "level",
                    "prio",
                ),
            ),
        ),
        (
            2,
            "init",
            Record("=IIIII", ("version", "rate2quantum", "defcls", "debug", "direct_pkts")),
        ),
        (3, "ctab", BYTES),
        (4, "rtab", BYTES),
        (5, "direct_qlen", U32),
        (6, "rate64", U64),
        (7, "ceil64", U64),
    ),
)

# Times in microseconds, ``limit`` and ``drop_batch_size`` in packets, ``quantum`` and
# ``memory_limit`` in bytes.
_FQ_CODEL = AttributeSet(
    "TCA_FQ_CODEL",
    (
        (1, "target", U32),
        (2, "limit", U32),
        (3, "interval", U32),
        (4, "ecn", U32),
        (5, "flows", U32),
        (6, "quantum", U32),
        (7, "ce_threshold", U32),
        (8, "drop_batch_size", U32),
        (9, "memory_limit", U32),
        (10, "ce_threshold_selector", U8),
        (11, "ce_threshold_mask", U8),
    ),
)

# Without parameters: they are where filters of what comes in are hung up.
_PLAIN = AttributeSet("TCA_OPTIONS", ())

QDISC_KINDS: Mapping[str, AttributeSet] = {
    "tbf": _TBF,
    "htb": _HTB,
    "fq_codel": _FQ_CODEL,
    "ingress": _PLAIN,
    "clsact": _PLAIN,
}

STATS = AttributeSet(
    "TCA_STATS",
    (
        (1, "basic", Record("=QI", ("bytes", "packets"))),
        (2, "rate_est", Record("=II", ("bps", "pps"))),
        (3, "queue", Record("=IIIII", ("qlen", "backlog", "drops", "requeues", "overlimits"))),
        (4, "app", BYTES),
        (5, "rate_est64", Record("=QQ", ("bps", "pps"))),
        (7, "basic_hw", Record("=QI", ("bytes", "packets"))),
        (8, "pkt64", U64),
    ),
)
HEADER_LAYOUT = "=BxxxiIII"
HEADER = ("family", "ifindex", "handle", "parent", "info")


def traffic_attributes(kinds: Mapping[str, AttributeSet]) -> AttributeSet:
    """Return the table of TCA_*, whose ``options`` are as *kinds* says."""
    return AttributeSet(
        "TCA",
        (
            (1, "kind", TEXT),
            (2, "options", Selected("kind", kinds)),
            (7, "stats2", Nested(STATS)),
            (11, "chain", U32),
            (13, "ingress_block", U32),
            (14, "egress_block", U32),
        ),
    )


def format_handle(handle: int) -> str:
    """Return a handle as `tc` writes it: ``1:``, ``1:30``, ``root``, ``ingress``."""
    if handle in {TC_H_ROOT, TC_H_INGRESS}:
        return "root" if handle == TC_H_ROOT else "ingress"
    minor = handle & 0xFFFF
    return f"{handle >> 16:x}:{minor:x}" if minor else f"{handle >> 16:x}:"


def make_handle(major: int, minor: int = 0) -> int:
    """Return the handle *major*:*minor*, both as `tc` writes them: 1:30 is (0x1, 0x30)."""
    return major << 16 | minor


def describe_traffic(noun: str, fields: Mapping[str, Any], name_of: NameOf) -> str:
    """Return *noun* (``qdisc``) and which it is, in words."""
    words = [noun, fields.get("kind", "")]
    if fields.get("handle"):
        words.append(format_handle(fields["handle"]))
    if fields.get("ifindex"):
        words.append(f"dev {name_of(fields['ifindex'])}")
    if fields.get("parent"):
        words.append(f"parent {format_handle(fields['parent'])}")
    return " ".join(word for word in words if word)


def _describe_qdisc(fields: Mapping[str, Any], name_of: NameOf) -> str:
    return describe_traffic("qdisc", fields, name_of)


def _describe_class(fields: Mapping[str, Any], name_of: NameOf) -> str:
    return describe_traffic("class", fields, name_of)


_ATTRIBUTES = traffic_attributes(QDISC_KINDS)
QDISC: Schema[TrafficMessage] = Schema("qdisc", HEADER_LAYOUT, HEADER, _ATTRIBUTES, _describe_qdisc)
TCLASS: Schema[TrafficMessage] = Schema(
    "class", HEADER_LAYOUT, HEADER, _ATTRIBUTES, _describe_class
)


def create_qdisc(fields: TrafficMessage) -> Request[TrafficMessage]:
    """Return the request that adds a queueing discipline; EEXIST if one is at that ``parent``.

    The one that the kernel itself has put at the root counts as none. ENOENT: no such kind.
    """
    return Request("create", QDISC, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, fields)


def replace_qdisc(fields: TrafficMessage) -> Request[TrafficMessage]:
    """Return the request that puts a queueing discipline in place of what is at its ``parent``."""
    return Request("replace", QDISC, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, fields)


def delete_qdisc(fields: TrafficMessage) -> Request[TrafficMessage]:
    """Return the request that deletes the queueing discipline at ``parent``, classes and filters.

    A ``kind`` or ``handle`` that it does not have is EINVAL; ENOENT if there is none.
    """
    return Request("delete", QDISC, RTM_DELQDISC, 0, fields)


def get_qdisc(fields: TrafficMessage) -> Request[TrafficMessage]:
    """Return the request that reads the queueing discipline at ``parent``; ENOENT if none.

    The answer is an echo to the notification group, in every kernel.
    """
    return Request("read", QDISC, RTM_GETQDISC, NLM_F_ECHO, fields)


def dump_qdiscs(index: int = 0) -> Request[TrafficMessage]:
    """Return the request that lists queueing disciplines, of one device if *index* is given.

    The kernel lists those of all devices whatever it is asked (tc_dump_qdisc).
    """
    fields: TrafficMessage = {"ifindex": index}

    def keep(message: TrafficMessage) -> bool:
        return not index or message["ifindex"] == index

    return Request("list", QDISC, RTM_GETQDISC, NLM_F_DUMP, fields, keep)


def create_class(fields: TrafficMessage) -> Request[TrafficMessage]:
    """Return the request that adds a class to a discipline that has such; EEXIST if it is there.

    ENOENT where no such discipline is at ``parent``.
    """
    return Request("create", TCLASS, RTM_NEWTCLASS, NLM_F_CREATE | NLM_F_EXCL, fields)


def delete_class(fields: TrafficMessage) -> Request[TrafficMessage]:
    """Return the request that deletes the class ``handle``; ENOENT if there is none."""
    return Request("delete", TCLASS, RTM_DELTCLASS, 0, fields)


def dump_classes(index: int) -> Request[TrafficMessage]:
    """Return the request that lists the classes of a device."""
    return Request("list", TCLASS, RTM_GETTCLASS, NLM_F_DUMP, {"ifindex": index})
