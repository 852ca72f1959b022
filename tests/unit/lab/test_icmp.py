"""ICMP messages against the RFCs' own layout."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.lab.icmp import EchoAnswer, echo_request, internet_checksum, parse_answer
from podway.model.addresses import Family

IPV4_HEADER = bytes.fromhex("45000054 00004000 40010000 0af40102 0af40202")
IPV4_OPTIONS = bytes.fromhex("46000058 00004000 40010000 0af40102 0af40202 01010100")
IPV6_HEADER = bytes.fromhex("60000000 0040 3a 40") + bytes(32)


def message(kind: int, code: int, identifier: int = 0, sequence: int = 0) -> bytes:
    return struct.pack("!BBHHH", kind, code, 0, identifier, sequence)


def test_checksum_of_the_example_in_rfc_1071() -> None:
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D


@given(st.binary(max_size=64).map(lambda data: data + b"\0" * (len(data) % 2)))
def test_a_message_with_its_checksum_sums_to_zero(data: bytes) -> None:
    assert internet_checksum(data + internet_checksum(data).to_bytes(2, "big")) == 0


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 200))
def test_request_ipv4(identifier: int, sequence: int, size: int) -> None:
    request = echo_request(Family.IPV4, identifier, sequence, size)
    assert len(request) == 8 + size
    assert internet_checksum(request) == 0
    assert struct.unpack("!BBxxHH", request[:8]) == (8, 0, identifier, sequence)


def test_request_ipv6_leaves_the_checksum_to_the_kernel() -> None:
    assert echo_request(Family.IPV6, 1, 2, 0) == bytes.fromhex("8000 0000 0001 0002")


@pytest.mark.parametrize(
    ("family", "packet", "answer"),
    [
        pytest.param(Family.IPV4, IPV4_HEADER + message(0, 0, 7, 9), EchoAnswer(7, 9), id="reply"),
        pytest.param(
            Family.IPV4, IPV4_OPTIONS + message(0, 0, 7, 9), EchoAnswer(7, 9), id="reply, options"
        ),
        pytest.param(Family.IPV6, message(129, 0, 7, 9), EchoAnswer(7, 9), id="reply, IPv6"),
        pytest.param(
            Family.IPV4,
            IPV4_HEADER + message(3, 1) + IPV4_HEADER + message(8, 0, 7, 9),
            EchoAnswer(7, 9, "host unreachable"),
            id="host unreachable",
        ),
        pytest.param(
            Family.IPV4,
            IPV4_HEADER + message(3, 4, 0, 1450) + IPV4_OPTIONS + message(8, 0, 7, 9),
            EchoAnswer(7, 9, "packet too big"),
            id="too big, options in the cause",
        ),
        pytest.param(
            Family.IPV6,
            message(2, 0, 0, 1430) + IPV6_HEADER + message(128, 0, 7, 9),
            EchoAnswer(7, 9, "packet too big"),
            id="too big, IPv6",
        ),
        pytest.param(
            Family.IPV4,
            IPV4_HEADER + message(3, 15) + IPV4_HEADER + message(8, 0, 7, 9),
            EchoAnswer(7, 9, "ICMP type 3 code 15"),
            id="a code that has no name here",
        ),
    ],
)
def test_answers(family: Family, packet: bytes, answer: EchoAnswer) -> None:
    assert parse_answer(family, packet) == answer


@pytest.mark.parametrize(
    ("family", "packet"),
    [
        pytest.param(Family.IPV4, IPV4_HEADER + message(8, 0, 7, 9), id="a request"),
        pytest.param(Family.IPV4, b"", id="nothing"),
        pytest.param(Family.IPV4, IPV4_HEADER + b"\0\0\0", id="too short"),
        pytest.param(Family.IPV4, IPV4_HEADER + message(3, 1) + IPV4_HEADER, id="cause cut off"),
        pytest.param(
            Family.IPV4, IPV4_HEADER + message(3, 1) + IPV4_HEADER + message(0, 0), id="other cause"
        ),
        pytest.param(Family.IPV6, message(135, 0), id="neighbour solicitation"),
    ],
)
def test_what_answers_nothing(family: Family, packet: bytes) -> None:
    assert parse_answer(family, packet) is None


@given(st.sampled_from(Family), st.binary(max_size=128))
def test_garbage_is_survived(family: Family, packet: bytes) -> None:
    parse_answer(family, packet)
