"""DHCP messages: bytes and values, and bytes that are no message."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.dhcp.errors import PacketError
from podway.dhcp.packets import (
    REPLY,
    REQUEST,
    Kind,
    Message,
    decode_message,
    encode_message,
)

MAC = bytes.fromhex("0a0000000001")
DISCOVER = Message(op=REQUEST, kind=Kind.DISCOVER, xid=0x01020304, mac=MAC, broadcast=True)


def with_area(area: bytes, *, sname: bytes = b"", file: bytes = b"") -> bytes:
    """Return an ACK whose options are *area*."""
    fixed = bytearray(encode_message(Message(op=REPLY, kind=Kind.ACK, xid=1, mac=MAC))[:240])
    fixed[44:108] = sname.ljust(64, b"\0")
    fixed[108:236] = file.ljust(128, b"\0")
    return bytes(fixed) + area


def test_the_bytes_of_a_discover() -> None:
    # RFC 2131 figure 1: op, htype, hlen, hops, xid, secs, flags; then four addresses.
    encoded = encode_message(DISCOVER)
    assert encoded[:12] == bytes.fromhex("01 01 06 00 01020304 0000 8000")
    assert encoded[12:28] == bytes(16)
    assert encoded[28:44] == MAC + bytes(10)
    assert encoded[236:244] == bytes.fromhex("63825363 350101 ff")
    assert len(encoded) == 300


OPTIONS = st.dictionaries(
    st.integers(1, 254).filter(lambda code: code not in {52, 53}),
    st.binary(max_size=600),
    max_size=6,
)
ADDRESSES = st.ip_addresses(v=4)


@given(
    st.builds(
        Message,
        op=st.sampled_from([REQUEST, REPLY]),
        kind=st.sampled_from(Kind),
        xid=st.integers(0, 0xFFFFFFFF),
        mac=st.binary(min_size=6, max_size=6),
        secs=st.integers(0, 0xFFFF),
        broadcast=st.booleans(),
        ciaddr=ADDRESSES,
        yiaddr=ADDRESSES,
        options=OPTIONS,
    )
)
def test_what_is_encoded_is_decoded(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for candidate in (data, with_area(data), with_area(b"\x35\x01\x05" + data)):
        try:
            message = decode_message(candidate)
        except PacketError:
            continue
        assert all(0 < code < 255 for code in message.options)


@given(st.integers(0, 299), st.integers(0, 255))
def test_one_byte_changed(at: int, value: int) -> None:
    data = bytearray(encode_message(DISCOVER))
    data[at] = value
    try:
        decode_message(bytes(data))
    except PacketError:
        assert at < 4 or at >= 236


@pytest.mark.parametrize(
    ("area", "options"),
    [
        pytest.param(b"\0\0\x35\x01\x05\0\x03\x04\x0a\x01\x00\x01\xff", {3: b"\x0a\x01\0\x01"},
                     id="padding between options"),
        pytest.param(b"\x35\x01\x05\xff\x03\x09", {}, id="nothing counts after the end"),
        pytest.param(b"\x35\x01\x05", {}, id="no end"),
        pytest.param(b"\x35\x01\x05\x0c\x00\xff", {12: b""}, id="an option without value"),
        pytest.param(b"\x35\x01\x05\x79\x02ab\x0c\x01x\x79\x01c\xff", {121: b"abc", 12: b"x"},
                     id="RFC 3396: pieces"),
    ],
)  # fmt: skip
def test_options(area: bytes, options: dict[int, bytes]) -> None:
    assert decode_message(with_area(area)).options == options


@pytest.mark.parametrize(
    ("overload", "options"),
    [
        pytest.param(0, {}, id="none"),
        pytest.param(1, {12: b"file"}, id="file"),
        pytest.param(2, {12: b"sname"}, id="sname"),
        pytest.param(3, {12: b"filesname"}, id="both, file first"),
    ],
)
def test_options_in_other_fields(overload: int, options: dict[int, bytes]) -> None:
    data = with_area(
        bytes([53, 1, 5, 52, 1, overload, 255]),
        sname=b"\x0c\x05sname\xff",
        file=b"\x0c\x04file\xff",
    )
    assert decode_message(data).options == options


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(239), id="too short"),
        pytest.param(bytes(300), id="no cookie"),
        pytest.param(with_area(b"\xff"), id="no message type"),
        pytest.param(with_area(b"\x35\x01\x09\xff"), id="unknown message type"),
        pytest.param(with_area(b"\x35\x02\x05\x05\xff"), id="two message types"),
        pytest.param(with_area(b"\x35\x01\x05\x0c"), id="option without length"),
        pytest.param(with_area(b"\x35\x01\x05\x0c\x05abc"), id="option beyond the end"),
        pytest.param(with_area(b"\x35\x01\x05\x34\x01\x01\xff", file=b"\x0c\xff"), id="in file"),
        pytest.param(encode_message(DISCOVER)[:1] + b"\x06" + encode_message(DISCOVER)[2:],
                     id="not Ethernet"),
    ],
)  # fmt: skip
def test_refused(data: bytes) -> None:
    with pytest.raises(PacketError):
        decode_message(data)


def test_an_address_is_a_value() -> None:
    message = Message(op=REPLY, kind=Kind.OFFER, xid=1, mac=MAC, yiaddr=IPv4Address("10.1.0.5"))
    assert str(decode_message(encode_message(message)).yiaddr) == "10.1.0.5"
