"""Hypothesis strategies for messages, made from the very tables that the codec reads.

A table that gains a row is tested with that row from then on.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from podway.netlink import attribute_types as types
from podway.netlink import links, routes
from podway.netlink import traffic_filters as tf
from podway.netlink.addresses import ADDRESS_OF_LINK
from podway.netlink.attributes import AttributeSet, Nested, Repeated, Selected
from podway.netlink.links import LINK
from podway.netlink.messages import Embedded, Schema
from podway.netlink.neighbours import NEIGHBOUR
from podway.netlink.netconf import NETCONF
from podway.netlink.netns_ids import NETNS_ID
from podway.netlink.nftables import NFT_MESSAGES
from podway.netlink.routes import ROUTE
from podway.netlink.rules import RULE
from podway.netlink.traffic_control import QDISC, TCLASS

SCHEMAS: dict[str, Schema[Any]] = {
    "link": LINK,
    "address": ADDRESS_OF_LINK,
    "route": ROUTE,
    "neighbour": NEIGHBOUR,
    "rule": RULE,
    "netconf": NETCONF,
    "netns id": NETNS_ID,
    "qdisc": QDISC,
    "class": TCLASS,
    "filter": tf.FILTER,
    **dict(NFT_MESSAGES.values()),
}
_BITS = {"B": 8, "H": 16, "I": 32, "Q": 64, "h": -16, "i": -32}
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def integers(letter: str) -> st.SearchStrategy[int]:
    """Return the integers that fit a struct format letter."""
    bits = _BITS[letter]
    if bits < 0:
        return st.integers(-(2 ** (-bits - 1)), 2 ** (-bits - 1) - 1)
    return st.integers(0, 2**bits - 1)


def records(layout: str, names: tuple[str, ...]) -> st.SearchStrategy[dict[str, int]]:
    """Return dicts of all fields of a struct."""
    letters = "".join(letter * int(count or 1) for count, letter in _runs(layout) if letter != "x")
    return st.fixed_dictionaries({n: integers(c) for n, c in zip(names, letters, strict=True)})


def _runs(layout: str) -> list[tuple[str, str]]:
    runs, count = [], ""
    for character in layout.lstrip("=<>"):
        if character.isdigit():
            count += character
        else:
            runs.append((count, character))
            count = ""
    return runs


def _scalars(kind: types.Scalar) -> st.SearchStrategy[int]:
    return integers("i" if kind is types.S32 else {1: "B", 2: "H", 4: "I", 8: "Q"}[kind._size])


def _bytes(kind: types.Bytes) -> st.SearchStrategy[bytes]:
    sizes = sorted(kind._lengths) or [0, 1, 8, 33]
    return st.sampled_from(sizes).flatmap(lambda n: st.binary(min_size=n, max_size=n))


def _next_hops(kind: routes._NextHops) -> st.SearchStrategy[list[dict[str, Any]]]:
    del kind
    header = records("=BBi", routes._NEXTHOP_HEADER)
    hop = st.builds(lambda h, f: h | f, header, fields(routes._NEXTHOP_ATTRIBUTES))
    return st.lists(hop, max_size=4)


def _selectors(kind: tf._Selector) -> st.SearchStrategy[dict[str, Any]]:
    del kind
    key = records("=IIii", tf._KEY_NAMES)
    head = records("=BBHHhhI", tf._SELECTOR_NAMES)
    return st.builds(lambda h, keys: {**h, "keys": keys}, head, st.lists(key, max_size=5))


def _actions(kind: tf._Actions) -> st.SearchStrategy[list[dict[str, Any]]]:
    del kind
    return st.lists(fields(tf._ACTION), max_size=3)


def _nested(kind: Nested) -> st.SearchStrategy[Any]:
    return fields(kind._set)


def _embedded(kind: Embedded) -> st.SearchStrategy[Any]:
    return messages(kind._schema)


_BY_TYPE: dict[type, Callable[[Any], st.SearchStrategy[Any]]] = {
    types.Scalar: _scalars,
    types.Text: lambda _: _TEXT,
    types.Bytes: _bytes,
    types.LinkLayer: lambda _: st.binary(max_size=16).map(lambda mac: mac.hex(":")),
    types.Presence: lambda _: st.sampled_from([True]),
    types.Record: lambda kind: records(kind._codec.format, kind._names),
    Nested: _nested,
    Repeated: lambda kind: st.lists(values(kind._item), min_size=1, max_size=3),
    Embedded: _embedded,
    routes._Via: lambda _: st.fixed_dictionaries(
        {"family": integers("H"), "addr": _bytes(types.ADDRESS)}
    ),
    routes._NextHops: _next_hops,
    tf._Selector: _selectors,
    tf._Actions: _actions,
}


# Written in another form than read, by the kernel's choice: nothing to come back as it went.
_ONE_WAY = (links._Ipv4Conf,)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return what a row of this type may hold, save for those that depend on a sibling."""
    return _BY_TYPE[type(kind)](kind)


@st.composite
def fields(draw: st.DrawFn, table: AttributeSet, header: dict[str, Any] | None = None) -> Any:
    """Return some of a table's fields, those that depend on a sibling together with it."""
    rows = {name: kind for _, name, kind in table.rows if not isinstance(kind, _ONE_WAY)}
    chosen = draw(st.lists(st.sampled_from(sorted(rows)), unique=True, max_size=6)) if rows else []
    drawn: dict[str, Any] = {}
    for name in chosen:
        kind = rows[name]
        if not isinstance(kind, Selected):
            drawn[name] = draw(values(kind))
    for name in chosen:
        kind = rows[name]
        if isinstance(kind, Selected):
            known = sorted(kind._sets)
            if kind._key in rows:
                drawn.pop(kind._key, None)
                drawn[kind._key] = draw(st.sampled_from(known))
            selector = {**(header or {}), **drawn}.get(kind._key)
            inner = kind._sets.get(selector, kind._default)
            drawn[name] = draw(st.binary(max_size=9) if inner is None else fields(inner))
    return drawn


@st.composite
def messages(draw: st.DrawFn, schema: Schema[Any]) -> Any:
    """Return whole messages: all header fields and some attributes."""
    header = draw(records(schema._codec.format, schema._header))
    if "family" in header:
        header["family"] = draw(st.sampled_from([0, 2, 7, 10, 255]))
    return header | draw(fields(schema.attributes, header))
