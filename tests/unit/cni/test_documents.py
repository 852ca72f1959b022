"""JSON in and out: what is accepted, what is refused and why, and what equals Python's json."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.documents import (
    MAX_DEPTH,
    MAX_DOCUMENT_BYTES,
    decode,
    encode,
    kind_of,
)
from podway.cni.errors import DECODING_FAILURE, CniError

WHAT = "network configuration"


def nested(depth: int) -> bytes:
    """Return an object that nests *depth* deep."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def padded(size: int) -> bytes:
    """Return an object of *size* bytes."""
    return b'{"a":"' + b"x" * (size - 8) + b'"}'


@pytest.mark.parametrize(
    ("text", "document"),
    [
        pytest.param(b"{}", {}, id="empty object"),
        pytest.param(b' \t\r\n{"a": 1}\n ', {"a": 1}, id="blanks around"),
        pytest.param(b'{"a":1,"a":2}', {"a": 2}, id="the last of two keys wins"),
        pytest.param(
            b'{"a":null,"b":[true,false,1.5]}', {"a": None, "b": [True, False, 1.5]}, id="types"
        ),
        pytest.param('{"n":"é\\u00e9\\n"}'.encode(), {"n": "éé\n"}, id="UTF-8 and escapes"),
        pytest.param(b'{"n":"\\ud83d\\uDE00"}', {"n": "\U0001f600"}, id="a surrogate pair"),
        pytest.param(b'{"n":"\\\\ud800"}', {"n": "\\ud800"}, id="only looks like a surrogate"),
        pytest.param(b'{"n":1e300}', {"n": 1e300}, id="large number"),
        pytest.param(nested(MAX_DEPTH), json.loads(nested(MAX_DEPTH)), id="as deep as allowed"),
        pytest.param(b'{"a":"' + b"[" * 900 + b'"}', {"a": "[" * 900}, id="brackets in a string"),
        pytest.param(
            b'{"a":"\\\\","b":"\\"' + b"[" * 900 + b'"}',
            {"a": "\\", "b": '"' + "[" * 900},
            id="brackets after escapes",
        ),
        pytest.param(
            b'{"a":[' + b"[]," * 900 + b"1]}", {"a": [[]] * 900 + [1]}, id="many brackets, not deep"
        ),
        pytest.param(
            padded(MAX_DOCUMENT_BYTES), json.loads(padded(MAX_DOCUMENT_BYTES)), id="1 MiB"
        ),
    ],
)
def test_decode(text: bytes, document: object) -> None:
    assert decode(text, WHAT) == document


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param(b"", "is empty", id="nothing"),
        pytest.param(b" \n", "is empty", id="blanks"),
        pytest.param(b"{", "line 1 column 2", id="cut off"),
        pytest.param(b'{"a": 1,\n "b" 2}', "line 2 column 6", id="missing colon"),
        pytest.param(b'{"a":1}}', "character 7", id="text after the end"),
        pytest.param(b'{"a":1}{"a":2}', "character 7", id="two documents"),
        pytest.param(b"[1]", "is an array", id="array"),
        pytest.param(b"null", "is null", id="null"),
        pytest.param(b'"a"', "is a string", id="string"),
        pytest.param(b"7", "is a number", id="number"),
        pytest.param(b"true", "is a boolean", id="boolean"),
        pytest.param(b'{"a":NaN}', "NaN", id="NaN"),
        pytest.param(b'{"a":-Infinity}', "-Infinity", id="infinity"),
        pytest.param(b'{"a":1e999}', "1e999", id="number beyond a float"),
        pytest.param(b'{"a":1' + b"0" * 5000 + b"}", "5001 digits", id="number of 5001 digits"),
        pytest.param(b'{"a":"\n"}', "control character", id="line feed in a string"),
        pytest.param(b'{"a":"\\x"}', "escape", id="unknown escape"),
        pytest.param(b'{"a":"b', "Unterminated string", id="open string"),
        pytest.param(b"{'a':1}", "double quotes", id="single quotes"),
        pytest.param(b'{"a":"\xff"}', "byte 6", id="not UTF-8"),
        pytest.param(b'{"a":["\\ud800"]}', "surrogate pair", id="first half of a pair"),
        pytest.param(b'{"a":{"\\uDC00":1}}', "surrogate pair", id="second half, in a key"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', "is not JSON", id="byte order mark"),
        pytest.param(b'{"a":1,}', "is not JSON", id="trailing comma"),
        pytest.param(b"\0", "is not JSON", id="zero byte"),
        pytest.param(nested(MAX_DEPTH + 1), "64 deep", id="too deep"),
        pytest.param(b"[" * 100_000, "64 deep", id="far too deep"),
        pytest.param(b'{"a":' * 5000, "64 deep", id="objects too deep"),
        pytest.param(padded(MAX_DOCUMENT_BYTES + 1), "1048576 bytes", id="too long"),
    ],
)
def test_decode_refuses(text: bytes, named: str) -> None:
    with pytest.raises(CniError) as caught:
        decode(text, WHAT)
    assert caught.value.code == DECODING_FAILURE
    assert WHAT in caught.value.msg
    assert named in caught.value.msg


def test_a_repeated_key_stands_where_its_last_value_stood() -> None:
    document = decode(b'{"name":1,"x":0,"NAME":2,"name":3}', WHAT)
    assert list(document.items()) == [("x", 0), ("NAME", 2), ("name", 3)]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_decode_undoes_encode(document: dict[str, object]) -> None:
    assert decode(encode(document).encode(), WHAT) == document


@given(json_values)
def test_encode_is_ascii_that_python_reads_alike(document: object) -> None:
    text = encode(document)
    assert text.isascii()
    assert json.loads(text) == document


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ntrue1.e-', max_size=60).map(str.encode))
def test_decode_raises_nothing_but_cni_errors(data: bytes) -> None:
    try:
        document = decode(data, WHAT)
    except CniError:
        return
    assert document == json.loads(data)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param({"a": object()}, TypeError, id="no JSON type"),
        pytest.param({"a": float("nan")}, ValueError, id="NaN"),
        pytest.param({"a": b"x"}, TypeError, id="bytes"),
    ],
)
def test_encode_refuses(document: object, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        encode(document)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        pytest.param(lambda: None, "null", id="null"),
        pytest.param(lambda: True, "a boolean", id="boolean"),
        pytest.param(lambda: 1.5, "a number", id="number"),
        pytest.param(lambda: "", "a string", id="string"),
        pytest.param(dict, "an object", id="object"),
        pytest.param(list, "an array", id="array"),
    ],
)
def test_kind_of(make: Callable[[], object], kind: str) -> None:
    assert kind_of(make()) == kind
