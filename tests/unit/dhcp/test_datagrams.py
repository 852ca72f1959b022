"""IPv4 and UDP headers around a payload."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.dhcp.datagrams import (
    ANSWERS_ONLY,
    Datagram,
    compute_checksum,
    decode_datagram,
    encode_datagram,
)
from podway.dhcp.errors import PacketError

HERE, THERE = IPv4Address("10.1.0.50"), IPv4Address("10.1.0.1")


def answer(payload: bytes) -> bytes:
    """Return a packet from a server's port to a client's: what a client sends, turned round."""
    packet = bytearray(encode_datagram(Datagram(HERE, THERE, payload)))
    packet[20:22], packet[22:24] = packet[22:24], packet[20:22]
    return bytes(packet)


@given(st.binary(max_size=600), st.integers(0, 50), st.booleans())
def test_what_is_encoded_is_decoded(payload: bytes, padding: int, checked: bool) -> None:  # noqa: FBT001
    packet = answer(payload) + bytes(padding)
    assert decode_datagram(packet, has_checksum=checked) == Datagram(HERE, THERE, payload)


def test_checksum_of_rfc_1071() -> None:
    assert compute_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF & ~0xDDF2
    assert compute_checksum(answer(b"abc")[:20]) == 0


@given(st.binary(max_size=100))
def test_any_bytes_are_a_datagram_or_refused(data: bytes) -> None:
    for candidate in (data, answer(b"x")[:10] + data, answer(b"x")[:21] + data):
        try:
            decode_datagram(candidate, has_checksum=False)
        except PacketError:
            continue


@given(st.integers(0, 33), st.integers(1, 255))
def test_every_damage_is_noticed(at: int, change: int) -> None:
    packet = bytearray(answer(b"abcdef"))
    packet[at] ^= change
    try:
        datagram = decode_datagram(bytes(packet), has_checksum=True)
    except PacketError:
        return
    # Without UDP checksum (zero) nobody can tell.
    assert bytes(packet[26:28]) == b"\0\0" or datagram.payload == b"abcdef"


def test_a_checksum_that_hardware_would_have_filled_in() -> None:
    packet = bytearray(answer(b"abc"))
    packet[26:28] = b"\x12\x34"
    assert decode_datagram(bytes(packet), has_checksum=False).payload == b"abc"
    with pytest.raises(PacketError):
        decode_datagram(bytes(packet), has_checksum=True)


def run_filter(packet: bytes) -> int:
    """Return how many bytes the filter lets through: classic BPF, as far as it is used."""
    accumulator = index = at = 0
    while True:
        code, jump_true, jump_false, number = ANSWERS_ONLY[at]
        at += 1
        match code:
            case 0x30:
                accumulator = packet[number]
            case 0x28:
                accumulator = int.from_bytes(packet[number : number + 2], "big")
            case 0x48:
                accumulator = int.from_bytes(packet[index + number : index + number + 2], "big")
            case 0xB1:
                index = 4 * (packet[number] & 0xF)
            case 0x15:
                at += jump_true if accumulator == number else jump_false
            case 0x45:
                at += jump_true if accumulator & number else jump_false
            case 0x06:
                return number
            case _:
                raise AssertionError(code)


@pytest.mark.parametrize(
    ("place", "value", "passes"),
    [
        pytest.param(0, b"\x45", True, id="an answer"),
        pytest.param(9, b"\x06", False, id="TCP"),
        pytest.param(6, b"\x00\x01", False, id="a later fragment"),
        pytest.param(22, b"\x00\x43", False, id="to a server's port"),
        pytest.param(20, b"\x12\x34", True, id="from any port, which is looked at later"),
    ],
)
def test_the_filter(place: int, value: bytes, passes: bool) -> None:  # noqa: FBT001
    packet = bytearray(answer(b"abc"))
    packet[place : place + len(value)] = value
    assert bool(run_filter(bytes(packet))) is passes
