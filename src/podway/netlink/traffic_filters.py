"""Filters of packets and what is done with them: RTM_NEWTFILTER, RTM_DELTFILTER, RTM_GETTFILTER.

A message is a `TrafficMessage` (`traffic_control`) whose ``info`` is a priority and a protocol::

    +-------------------------------+-------------------------------+
    |  priority (smaller is first)  |  protocol, in network order   |
    +-------------------------------+-------------------------------+

A filter of kind ``u32`` compares words of the packet, counted from the network header, after a
struct tc_u32_sel::

    +---------------+---------------+---------------+---------------+
    |     flags     |   offshift    |     nkeys     |      pad      |
    +---------------+---------------+---------------+---------------+
    |     offmask (network order)   |              off              |
    +-------------------------------+-------------------------------+
    |             offoff            |              hoff             |
    +-------------------------------+-------------------------------+
    |                     hmask (network order)                     |
    +---------------------------------------------------------------+
    |  nkeys times: mask, val (network order), off, offmask         |
    +---------------------------------------------------------------+

Here that is ``{"flags": TC_U32_TERMINAL, "keys": [{"mask": 0xffffff00, "val": 0x0a010000,
"off": 16}]}``: to 10.1.0.0/24. Actions are a list, done one after the other; on the wire each is an
attribute whose number is its place, from 1.

Sources: include/uapi/linux/pkt_cls.h, tc_act/tc_mirred.h, net/sched/cls_api.c, cls_u32.c,
act_api.c, act_mirred.c.
"""

# ruff: noqa: ARG002  # attribute types have one signature, whether they need it or not

from __future__ import annotations

from _struct import Struct
from sys import byteorder

from podway.netlink.attribute_types import BYTES, TEXT, U32, Leaf, Record
from podway.netlink.attributes import AttributeSet, Nested, Selected
from podway.netlink.constants import (
    NLA_F_NESTED,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    RTM_DELTFILTER,
    RTM_GETTFILTER,
    RTM_NEWTFILTER,
    TC_ACT_STOLEN,
    TCA_EGRESS_REDIR,
)
from podway.netlink.errors import DecodeError
from podway.netlink.messages import Request, Schema
from podway.netlink.traffic_control import (
    HEADER,
    HEADER_LAYOUT,
    STATS,
    describe_traffic,
    traffic_attributes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from podway.netlink.messages import NameOf
    from podway.netlink.traffic_control import TrafficMessage


_SELECTOR = Struct("=BBBx2sHhh4s")
_KEY = Struct("=4s4sii")
_SELECTOR_NAMES = ("flags", "offshift", "offmask", "off", "offoff", "hoff", "hmask")
_KEY_NAMES = ("mask", "val", "off", "offmask")
_SELECTOR_RULE = f"must be a dict of {', '.join(_SELECTOR_NAMES)} and keys, dicts of mask, val, off"


class _Selector(Leaf):
    """TCA_U32_SEL: a struct tc_u32_sel with its keys as list ``keys``; numbers left out are 0."""

    __slots__ = ()

    def encode(self, value: Mapping[str, Any], siblings: Mapping[str, Any]) -> bytes:
        keys = value.get("keys", ())
        if not value.keys() <= {*_SELECTOR_NAMES, "keys"}:
            raise ValueError
        get = value.get
        head = _SELECTOR.pack(
            get("flags", 0),
            get("offshift", 0),
            len(keys),
            get("offmask", 0).to_bytes(2, "big"),
            get("off", 0),
            get("offoff", 0),
            get("hoff", 0),
            get("hmask", 0).to_bytes(4, "big"),
        )
        return head + b"".join(_pack_key(key) for key in keys)

    def decode(
        self, data: bytes, start: int, stop: int, siblings: dict[str, Any]
    ) -> dict[str, Any]:
        if stop - start < _SELECTOR.size:
            raise DecodeError(f"{stop - start} bytes, {_SELECTOR.size} expected")
        flags, offshift, count, offmask, off, offoff, hoff, hmask = _SELECTOR.unpack_from(
            data, start
        )
        start += _SELECTOR.size
        if stop - start < count * _KEY.size:
            raise DecodeError(f"{stop - start} bytes for {count} keys")
        return {
            "flags": flags,
            "offshift": offshift,
            "offmask": int.from_bytes(offmask, "big"),
            "off": off,
            "offoff": offoff,
            "hoff": hoff,
            "hmask": int.from_bytes(hmask, "big"),
            "keys": [_unpack_key(data, start + n * _KEY.size) for n in range(count)],
        }


def _pack_key(key: Mapping[str, int]) -> bytes:
    if not key.keys() <= set(_KEY_NAMES):
        raise ValueError
    mask, val = (key.get(name, 0).to_bytes(4, "big") for name in ("mask", "val"))
    return _KEY.pack(mask, val, key.get("off", 0), key.get("offmask", 0))


def _unpack_key(data: bytes, start: int) -> dict[str, int]:
    mask, val, off, offmask = _KEY.unpack_from(data, start)
    return {
        "mask": int.from_bytes(mask, "big"),
        "val": int.from_bytes(val, "big"),
        "off": off,
        "offmask": offmask,
    }


# struct tc_mirred: what all actions have, then what it does and to which device.
_MIRRED = AttributeSet(
    "TCA_MIRRED",
    (
        (
            2,
            "parms",
            Record(
                "=IIiiiiI",
                ("index", "capab", "action", "refcnt", "bindcnt", "eaction", "ifindex"),
            ),
        ),
        (4, "blockid", U32),
    ),
)
_ACTION = AttributeSet(
    "TCA_ACT",
    (
        (1, "kind", TEXT),
        (2, "options", Selected("kind", {"mirred": _MIRRED})),
        (4, "stats", Nested(STATS)),
        (6, "cookie", BYTES),
    ),
)
# TCA_ACT_MAX_PRIO
_ACTIONS_MAX = 32
_ORDER = AttributeSet(
    "TCA_ACT", tuple((n, str(n), Nested(_ACTION)) for n in range(1, _ACTIONS_MAX + 1))
)


class _Actions:
    """A list of actions, numbered on the wire by their place."""

    __slots__ = ()
    rule = f"must be a list of at most {_ACTIONS_MAX} dicts of kind and options"
    type_flags = NLA_F_NESTED

    def encode(self, value: Sequence[Mapping[str, Any]], siblings: Mapping[str, Any]) -> bytes:
        return _ORDER.encode({str(n): action for n, action in enumerate(value, 1)})

    def decode(
        self, data: bytes, start: int, stop: int, siblings: dict[str, Any]
    ) -> list[dict[str, Any]]:
        actions = _ORDER.decode(data, start, stop)
        return [actions[place] for place in sorted(actions, key=int)]

    def nest(self, siblings: Mapping[str, Any]) -> tuple[AttributeSet, int]:
        """Return the set of the places."""
        return _ORDER, 0


_ACTIONS = _Actions()
_U32 = AttributeSet(
    "TCA_U32",
    (
        (1, "classid", U32),
        (2, "hash", U32),
        (3, "link", U32),
        (4, "divisor", U32),
        (5, "sel", _Selector(_SELECTOR_RULE)),
        (7, "act", _ACTIONS),
        (8, "indev", TEXT),
        (11, "flags", U32),
    ),
)
_MATCHALL = AttributeSet(
    "TCA_MATCHALL", ((1, "classid", U32), (2, "act", _ACTIONS), (3, "flags", U32))
)
FILTER_KINDS: Mapping[str, AttributeSet] = {"u32": _U32, "matchall": _MATCHALL}


def _describe(fields: Mapping[str, Any], name_of: NameOf) -> str:
    return describe_traffic("filter", fields, name_of)


FILTER: Schema[TrafficMessage] = Schema(
    "filter", HEADER_LAYOUT, HEADER, traffic_attributes(FILTER_KINDS), _describe
)


def filter_info(priority: int, protocol: int) -> int:
    """Return a filter's ``info``: its place among others (from 1), and an ETH_P_*."""
    return priority << 16 | int.from_bytes(protocol.to_bytes(2, "big"), byteorder)


def split_filter_info(info: int) -> tuple[int, int]:
    """Return priority and protocol of a filter's ``info``."""
    return info >> 16, int.from_bytes((info & 0xFFFF).to_bytes(2, byteorder), "big")


def redirect_action(ifindex: int) -> dict[str, Any]:
    """Return the action that sends a packet out of device *ifindex* instead (mirred)."""
    parms = {"action": TC_ACT_STOLEN, "eaction": TCA_EGRESS_REDIR, "ifindex": ifindex}
    return {"kind": "mirred", "options": {"parms": parms}}


def create_filter(fields: TrafficMessage) -> Request[TrafficMessage]:
    """Return the request that adds a filter to the discipline ``parent``; EINVAL without that.

    Give ``info``: `filter_info`.
    """
    return Request("create", FILTER, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, fields)


def delete_filter(fields: TrafficMessage) -> Request[TrafficMessage]:
    """Return the request that deletes a filter, or all of a priority; ENOENT if there is none."""
    return Request("delete", FILTER, RTM_DELTFILTER, 0, fields)


def dump_filters(index: int, parent: int) -> Request[TrafficMessage]:
    """Return the request that lists the filters at *parent* of a device.

    The kernel's own entries, such as the hash tables of u32, are left out: they match nothing.
    """
    fields: TrafficMessage = {"ifindex": index, "parent": parent}
    return Request("list", FILTER, RTM_GETTFILTER, NLM_F_DUMP, fields, _matches_packets)


def _matches_packets(message: TrafficMessage) -> bool:
    is_entry = message["handle"] != 0
    return is_entry and (message.get("kind") != "u32" or "sel" in message.get("options", ()))
