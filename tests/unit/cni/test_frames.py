"""Frames between the executable and the agent: round trips, limits, and whatever else arrives."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.documents import MAX_DOCUMENT_BYTES
from podway.cni.frames import (
    HEADER_BYTES,
    MAX_REQUEST_BYTES,
    MAX_RESPONSE_BYTES,
    FrameBuffer,
    FrameError,
    check_descriptors,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

utf8_text = st.text(alphabet=st.characters(codec="utf-8"))


def payload_of(frame: bytes, limit_bytes: int = MAX_REQUEST_BYTES) -> bytes:
    """Return the payload of a whole frame."""
    payload = FrameBuffer(limit_bytes).feed(frame)
    assert payload is not None
    return payload


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def test_a_request_on_the_wire() -> None:
    frame = encode_request({"CNI_COMMAND": "ADD"}, '{"name":"é"}\n')
    assert frame == framed(
        '{"v":1,"env":{"CNI_COMMAND":"ADD"},"stdin":"{\\"name\\":\\"é\\"}\\n"}'.encode()
    )


def test_a_response_on_the_wire() -> None:
    assert encode_response(1, '{"code":7}') == framed(b'{"code":1,"stdout":"{\\"code\\":7}"}')


@given(st.dictionaries(utf8_text, utf8_text, max_size=4), utf8_text)
def test_requests_round_trip(environment: dict[str, str], stdin: str) -> None:
    frame = encode_request(environment, stdin)
    assert decode_request(payload_of(frame)) == (environment, stdin.encode())


@given(st.integers(0, 255), utf8_text)
def test_responses_round_trip(code: int, stdout: str) -> None:
    frame = encode_response(code, stdout)
    assert decode_response(payload_of(frame, MAX_RESPONSE_BYTES)) == (code, stdout)


@given(utf8_text, st.data())
def test_a_frame_may_come_in_any_pieces(stdout: str, data: st.DataObject) -> None:
    rest = encode_response(0, stdout)
    buffer = FrameBuffer(MAX_RESPONSE_BYTES)
    assert buffer.empty
    payload = None
    while payload is None:
        size = data.draw(st.integers(1, max(1, buffer.wanted_bytes)))
        piece, rest = rest[:size], rest[size:]
        payload = buffer.feed(piece)
        assert not buffer.empty
    assert (rest, buffer.wanted_bytes) == (b"", 0)
    assert decode_response(payload) == (0, stdout)


def test_no_more_is_wanted_than_belongs_to_the_frame() -> None:
    buffer = FrameBuffer(100)
    assert buffer.wanted_bytes == HEADER_BYTES
    buffer.feed(b"\0\0\0")
    assert buffer.wanted_bytes == 1
    buffer.feed(b"\x0a")
    assert buffer.wanted_bytes == 10
    large = FrameBuffer(MAX_REQUEST_BYTES)
    large.feed(MAX_REQUEST_BYTES.to_bytes(HEADER_BYTES, "big"))
    assert large.wanted_bytes == 65536


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\0\0\0\0", id="empty frame"),
        pytest.param(b"\0\0\0\x65", id="one byte beyond the limit"),
        pytest.param(b"\xff\xff\xff\xff", id="4 GiB"),
        pytest.param(b"GET / HTTP/1.1\r\n", id="HTTP"),
        pytest.param(b"\0\0\0\x02{}{", id="a byte after the frame"),
    ],
)
def test_buffer_refuses(data: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        FrameBuffer(100).feed(data)
    assert caught.value.kind == "size"


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        pytest.param(b"", "syntax", id="nothing"),
        pytest.param(b"\xff", "syntax", id="not UTF-8"),
        pytest.param(b"{", "syntax", id="not JSON"),
        pytest.param(b"[]", "syntax", id="array"),
        pytest.param(b'{"v":1,"env":' + b"[" * 1000, "syntax", id="deep"),
        pytest.param(b"{}", "shape", id="no protocol"),
        pytest.param(b'{"v":2,"env":{},"stdin":""}', "shape", id="another protocol"),
        pytest.param(b'{"v":1,"stdin":""}', "shape", id="no env"),
        pytest.param(b'{"v":1,"env":[],"stdin":""}', "shape", id="env's type"),
        pytest.param(b'{"v":1,"env":{"A":1},"stdin":""}', "shape", id="value's type"),
        pytest.param(b'{"v":1,"env":{}}', "shape", id="no stdin"),
        pytest.param(b'{"v":1,"env":{},"stdin":{}}', "shape", id="stdin's type"),
        pytest.param(b'{"v":1,"env":{},"stdin":"\\ud800"}', "syntax", id="stdin not UTF-8"),
    ],
)
def test_decode_request_refuses(payload: bytes, kind: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode_request(payload)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        pytest.param(b"null", "syntax", id="null"),
        pytest.param(b'{"stdout":""}', "shape", id="no code"),
        pytest.param(b'{"code":0}', "shape", id="no stdout"),
        pytest.param(b'{"code":"0","stdout":""}', "shape", id="code's type"),
        pytest.param(b'{"code":true,"stdout":""}', "shape", id="code true"),
        pytest.param(b'{"code":-1,"stdout":""}', "shape", id="negative code"),
        pytest.param(b'{"code":256,"stdout":""}', "shape", id="large code"),
        pytest.param(b'{"code":0,"stdout":null}', "shape", id="stdout's type"),
        pytest.param(b'{"code":0,"stdout":"\\udc00"}', "syntax", id="stdout not UTF-8"),
    ],
)
def test_decode_response_refuses(payload: bytes, kind: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode_response(payload)
    assert caught.value.kind == kind


@given(st.binary(max_size=80))
def test_fuzz(data: bytes) -> None:
    """Whatever arrives, nothing but FrameError is raised."""
    for decode in (decode_request, decode_response, FrameBuffer(50).feed):
        try:
            decode(data)
        except FrameError as error:
            assert error.kind in {"size", "syntax", "shape"}  # noqa: PT017


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
shapes = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("v", "env", "stdin", "code", "stdout"), json_values),
)


@given(shapes)
def test_fuzz_shapes(document: dict[str, object]) -> None:
    payload = json.dumps(document).encode()
    for decode in (decode_request, decode_response):
        try:
            decode(payload)
        except FrameError as error:
            assert error.kind in {"syntax", "shape"}  # noqa: PT017


def test_the_largest_configuration_fits() -> None:
    config = '{"a":"' + "x" * (MAX_DOCUMENT_BYTES - 8) + '"}'
    environment, stdin = decode_request(payload_of(encode_request({}, config)))
    assert (environment, len(stdin)) == ({}, MAX_DOCUMENT_BYTES)


@pytest.mark.parametrize(
    ("stdin", "kind"),
    [
        pytest.param("\n" * MAX_DOCUMENT_BYTES, "size", id="too long once escaped"),
        pytest.param("\ud800", "syntax", id="not UTF-8"),
    ],
)
def test_encode_refuses(stdin: str, kind: str) -> None:
    with pytest.raises(FrameError) as request:
        encode_request({}, stdin)
    with pytest.raises(FrameError) as response:
        encode_response(0, stdin)
    assert (request.value.kind, response.value.kind) == (kind, kind)


RIGHT = {"ADD": {1}, "CHECK": {1}, "DEL": {0, 1}, "GC": {0}, "STATUS": {0}, "": {0}}


@pytest.mark.parametrize("command", RIGHT)
@pytest.mark.parametrize("count", [0, 1, 2, 253])
def test_descriptors(command: str, count: int) -> None:
    if count in RIGHT[command]:
        check_descriptors(command, count)
        return
    with pytest.raises(FrameError) as caught:
        check_descriptors(command, count)
    assert caught.value.kind == "descriptors"
