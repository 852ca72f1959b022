"""Attribute types: widths, byte orders, padding, nests, and the errors that name a field."""

from struct import pack
from typing import Any

import pytest

from podway.netlink.attribute_types import (
    ADDRESS,
    BE16,
    BE32,
    BYTES,
    FLAG,
    LLADDR,
    S32,
    TEXT,
    U8,
    U16,
    U32,
    U64,
    Record,
)
from podway.netlink.attributes import AttributeSet, Nested, Repeated, Selected
from podway.netlink.errors import DecodeError, EncodeError
from podway.netlink.links import LINK
from podway.netlink.messages import Schema
from podway.netlink.refusals import locate
from podway.netlink.routes import ROUTE
from podway.netlink.traffic_filters import FILTER

INNER = AttributeSet("INNER", ((1, "low", U8), (2, "port", BE16)))
OTHER = AttributeSet("OTHER", ((1, "wide", U32),))
TABLE = AttributeSet(
    "T",
    (
        (1, "u8", U8),
        (2, "u16", U16),
        (3, "u32", U32),
        (4, "u64", U64),
        (5, "s32", S32),
        (6, "be16", BE16),
        (7, "be32", BE32),
        (8, "text", TEXT),
        (9, "bytes", BYTES),
        (10, "address", ADDRESS),
        (11, "lladdr", LLADDR),
        (12, "flag", FLAG),
        (13, "record", Record("=HH", ("low", "high"))),
        (14, "nest", Nested(INNER)),
        (15, "list", Repeated("list", U8)),
        (16, "kind", TEXT),
        (17, "data", Selected("kind", {"inner": INNER, "other": OTHER})),
        (18, "nests", Repeated("nests", Nested(INNER))),
    ),
)


def attribute(number: int, payload: bytes) -> bytes:
    return pack("=HH", 4 + len(payload), number) + payload + bytes(-len(payload) % 4)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"u8": 0xAB}, attribute(1, b"\xab"), id="u8 is padded, its length is not"),
        pytest.param({"u16": 0x1234}, attribute(2, pack("=H", 0x1234)), id="u16"),
        pytest.param({"u32": 0x12345678}, attribute(3, pack("=I", 0x12345678)), id="u32"),
        pytest.param({"u64": 1 << 63}, attribute(4, pack("=Q", 1 << 63)), id="u64"),
        pytest.param({"s32": -2}, attribute(5, b"\xfe\xff\xff\xff"), id="s32"),
        pytest.param({"be16": 8472}, attribute(6, b"\x21\x18"), id="be16: VXLAN's port"),
        pytest.param({"be32": 1}, attribute(7, b"\0\0\0\1"), id="be32"),
        pytest.param({"text": "eth0"}, attribute(8, b"eth0\0"), id="text ends with NUL"),
        pytest.param({"bytes": b"abc"}, attribute(9, b"abc"), id="bytes"),
        pytest.param({"address": b"\x0a\0\0\1"}, attribute(10, b"\x0a\0\0\1"), id="IPv4"),
        pytest.param({"address": bytes(16)}, attribute(10, bytes(16)), id="IPv6"),
        pytest.param(
            {"lladdr": "0a:58:0a:f4:01:02"}, attribute(11, b"\x0aX\x0a\xf4\1\2"), id="MAC"
        ),
        pytest.param({"lladdr": "c0:00:02:01"}, attribute(11, b"\xc0\0\2\1"), id="MAC of ipip"),
        pytest.param({"flag": True}, attribute(12, b""), id="flag set"),
        pytest.param({"flag": False}, b"", id="flag not set"),
        pytest.param({"record": {"high": 2}}, attribute(13, b"\0\0\2\0"), id="struct"),
        pytest.param(
            {"nest": {"port": 1}}, attribute(14 | 0x8000, attribute(2, b"\0\1")), id="nest"
        ),
        pytest.param({"nest": {}}, attribute(14 | 0x8000, b""), id="empty nest"),
        pytest.param({"list": [7, 8]}, attribute(15, b"\7") + attribute(15, b"\x08"), id="list"),
        pytest.param(
            {"data": {"wide": 1}, "kind": "other"},
            attribute(17 | 0x8000, attribute(1, pack("=I", 1))) + attribute(16, b"other\0"),
            id="chosen by a field that comes later",
        ),
        pytest.param(
            {"kind": "new", "data": b"\1\2\3\4"},
            attribute(16, b"new\0") + attribute(17 | 0x8000, b"\1\2\3\4"),
            id="bytes for an unknown kind",
        ),
        pytest.param(
            {"nests": [{"low": 1}, {"low": 2}]},
            b"".join(attribute(18 | 0x8000, attribute(1, bytes([n]))) for n in (1, 2)),
            id="list of nests",
        ),
    ],
)
def test_encoding(fields: dict[str, Any], expected: bytes) -> None:
    assert TABLE.encode(fields) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(attribute(6, b"\x21\x18"), {"be16": 8472}, id="be16"),
        pytest.param(attribute(8, b"eth0\0"), {"text": "eth0"}, id="text"),
        pytest.param(attribute(8, b"eth0"), {"text": "eth0"}, id="text without NUL"),
        pytest.param(attribute(8, b"a\0b\0"), {"text": "a"}, id="text up to the first NUL"),
        pytest.param(attribute(8, b"\xff\0"), {"text": "\udcff"}, id="text that is no UTF-8"),
        pytest.param(attribute(12, b""), {"flag": True}, id="flag"),
        pytest.param(attribute(12, b"\0"), {"flag": False}, id="flag told as a u8, not set"),
        pytest.param(attribute(12, b"\1"), {"flag": True}, id="flag told as a u8, set"),
        pytest.param(
            attribute(13, b"\1\0\2\0\3\0"), {"record": {"low": 1, "high": 2}}, id="longer struct"
        ),
        pytest.param(
            attribute(13, b"\1\0"), {"record": {"low": 1, "high": 0}}, id="shorter struct"
        ),
        pytest.param(
            attribute(14, attribute(1, b"\1")), {"nest": {"low": 1}}, id="nest without the N bit"
        ),
        pytest.param(
            attribute(2 | 0x4000, b"\1\0"), {"u16": 1}, id="the O bit is no part of the number"
        ),
        pytest.param(attribute(99, b"?") + attribute(1, b"\1"), {"u8": 1}, id="unknown is skipped"),
        pytest.param(attribute(1, b"\1")[:5], {"u8": 1}, id="last one without its padding"),
        pytest.param(attribute(17, b"\1"), {"data": b"\1"}, id="chosen by nothing: bytes"),
        pytest.param(
            attribute(15, b"\1") + attribute(1, b"\0") + attribute(15, b"\2"),
            {"list": [1, 2], "u8": 0},
            id="a list need not be in one piece",
        ),
    ],
)
def test_decoding(data: bytes, expected: dict[str, Any]) -> None:
    assert TABLE.decode(data, 0, len(data)) == expected


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"nope": 1}, "nope", id="unknown field"),
        pytest.param({"u8": 256}, "u8", id="too large"),
        pytest.param({"u32": -1}, "u32", id="negative"),
        pytest.param({"u32": "1"}, "u32", id="text for a number"),
        pytest.param({"u32": None}, "u32", id="None"),
        pytest.param({"text": "a\0b"}, "text", id="NUL in text"),
        pytest.param({"text": 5}, "text", id="number for text"),
        pytest.param({"text": "x" * 70_000}, "text", id="longer than nla_len can say"),
        pytest.param({"address": b"\1\2\3"}, "address", id="address of 3 bytes"),
        pytest.param({"address": "10.0.0.1"}, "address", id="address as text"),
        pytest.param({"lladdr": "0a:58:0"}, "lladdr", id="half a byte of MAC"),
        pytest.param({"lladdr": "0:1:2:3:4:5"}, "lladdr", id="MAC without leading zeros"),
        pytest.param({"lladdr": b"\1\2"}, "lladdr", id="MAC as bytes"),
        pytest.param({"record": {"middle": 1}}, "record", id="unknown field of a struct"),
        pytest.param({"record": 1}, "record", id="number for a struct"),
        pytest.param({"nest": {"port": 1 << 16}}, "nest.port", id="inside a nest"),
        pytest.param({"nest": 5}, "nest", id="number for a nest"),
        pytest.param({"kind": "inner", "data": {"low": -1}}, "data.low", id="inside a chosen nest"),
        pytest.param({"kind": "inner", "data": b""}, "data", id="bytes for a known kind"),
        pytest.param({"kind": "new", "data": {}}, "data", id="dict for an unknown kind"),
        pytest.param({"list": [1, 999]}, "list", id="one of a list"),
        pytest.param({"nests": [{"low": 1}, {"lw": 1}]}, "nests.lw", id="one of a list of nests"),
    ],
)
def test_what_cannot_be_encoded_names_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(EncodeError) as caught:
        TABLE.encode(fields)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("schema", "message", "field"),
    [
        pytest.param(
            LINK, {"af_spec": {"inet": {"conf": {"x": 1}}}}, "link.af_spec.inet.conf", id="conf"
        ),
        pytest.param(ROUTE, {"via": {"addr": bytes(16)}}, "route.via", id="via without family"),
        pytest.param(ROUTE, {"multipath": [{"metric": 1}]}, "route.multipath.metric", id="hop"),
        pytest.param(
            FILTER,
            {"kind": "u32", "options": {"sel": {"keys": [{"x": 1}]}}},
            "filter.options.sel",
            id="key",
        ),
    ],
)
def test_types_of_one_table_name_their_field_too(
    schema: Schema[Any], message: dict[str, Any], field: str
) -> None:
    with pytest.raises(EncodeError) as caught:
        schema.encode(message)
    assert caught.value.field == field


def test_an_encode_error_says_field_value_and_rule() -> None:
    with pytest.raises(EncodeError) as caught:
        TABLE.encode({"nest": {"port": 70_000}})
    assert str(caught.value) == "nest.port = 70000: must be an integer from 0 to 65535"


def test_fields_of_the_header_are_passed_over() -> None:
    assert TABLE.encode({"family": 2, "u8": 1}, frozenset({"family"})) == attribute(1, b"\1")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        pytest.param(b"\x04", "", id="one stray byte"),
        pytest.param(attribute(1, b"\1") + b"\0\0\0", "", id="three stray bytes"),
        pytest.param(pack("=HH", 0, 1), "", id="length 0"),
        pytest.param(pack("=HH", 3, 1), "", id="length below the header's"),
        pytest.param(pack("=HH", 9, 1) + bytes(4), "", id="length past the end"),
        pytest.param(pack("=HH", 99, 200) + bytes(4), "", id="also of an unknown one"),
        pytest.param(attribute(3, b"\1\2"), "u32", id="too short for u32"),
        pytest.param(attribute(3, bytes(8)), "u32", id="too long for u32"),
        pytest.param(attribute(10, bytes(5)), "address", id="address of 5 bytes"),
        pytest.param(attribute(14, attribute(2, b"\1")), "nest.port", id="inside a nest"),
        pytest.param(attribute(14, b"\x20\0\1\0"), "nest", id="past the end of a nest"),
    ],
)
def test_what_cannot_be_decoded_names_its_field(data: bytes, field: str) -> None:
    with pytest.raises(DecodeError) as caught:
        TABLE.decode(data, 0, len(data))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        pytest.param(0, "u32", id="first"),
        pytest.param(8, "nest", id="the nest itself"),
        pytest.param(12, "nest.low", id="inside the nest"),
        pytest.param(20, "nest.port", id="second inside the nest"),
        pytest.param(28, "text", id="after the nest"),
        pytest.param(99, "", id="behind all"),
        pytest.param(-16, "", id="before all: the kernel gave no offset"),
    ],
)
def test_an_offset_leads_back_to_a_field(offset: int, expected: str) -> None:
    data = TABLE.encode({"u32": 1, "nest": {"low": 1, "port": 2}, "text": "x"})
    assert locate(TABLE, data, 0, len(data), offset) == expected


def test_names_of_unknown_numbers_show_the_prefix() -> None:
    assert (TABLE.name(3), TABLE.name(3 | 0x8000), TABLE.name(77)) == ("u32", "u32", "T#77")
