"""What is a packet, and what of it can be read where it lies."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.udp import packets
from unit.udp.inner_packets import HERE, HERE6, THERE, THERE6, icmp_echo, ipv4, tcp, udp

V4, V6 = udp(b"abc"), udp(b"abc", version=6)
START = 3


def placed(packet: bytes, behind: bytes = b"") -> tuple[bytearray, int]:
    """Return *packet* in a buffer, at `START`, and where the buffer's contents end."""
    return bytearray(START) + packet + behind + bytes(20), START + len(packet) + len(behind)


@pytest.mark.parametrize(
    ("packet", "behind", "length"),
    [
        pytest.param(V4, b"", len(V4), id="IPv4"),
        pytest.param(V4, b"padding", len(V4), id="IPv4 with padding"),
        pytest.param(V6, b"", len(V6), id="IPv6"),
        pytest.param(V6, b"padding", len(V6), id="IPv6 with padding"),
        pytest.param(V4[:-1], b"", 0, id="IPv4 cut off"),
        pytest.param(V6[:-1], b"", 0, id="IPv6 cut off"),
        pytest.param(V4[:19], b"", 0, id="shorter than a header"),
        pytest.param(V6[:39], b"", 0, id="shorter than an IPv6 header"),
        pytest.param(b"", b"", 0, id="nothing"),
        pytest.param(b"\x44" + V4[1:], b"", 0, id="header length 16"),
        pytest.param(b"\x4f" + V4[1:], b"", 0, id="header longer than the packet"),
        pytest.param(V4[:2] + b"\x00\x13" + V4[4:], b"", 0, id="total length 19"),
        pytest.param(b"\x55" + V4[1:], b"", 0, id="version 5"),
        pytest.param(ipv4(b"", options=b"\1" * 40), b"", 60, id="longest header"),
    ],
)
def test_length(packet: bytes, behind: bytes, length: int) -> None:
    buffer, end = placed(packet, behind)
    assert packets.length_of(buffer, START, end) == length


@given(st.binary(max_size=120))
def test_any_bytes_are_a_whole_packet_or_none(data: bytes) -> None:
    assert 0 <= packets.length_of(bytearray(data), 0, len(data)) <= len(data)


@pytest.mark.parametrize(
    ("packet", "source", "destination"),
    [
        pytest.param(V4, HERE, THERE, id="IPv4"),
        pytest.param(V6, HERE6, THERE6, id="IPv6"),
    ],
)
def test_addresses(packet: bytes, source: str, destination: str) -> None:
    buffer, _ = placed(packet)
    assert ip_address(packets.source_of(buffer, START)) == ip_address(source)
    assert ip_address(packets.destination_of(buffer, START)) == ip_address(destination)


@pytest.mark.parametrize("packet", [V4, V6], ids=["IPv4", "IPv6"])
def test_a_hop_is_taken(packet: bytes) -> None:
    buffer, _ = placed(packet)
    before = packets.ttl_of(buffer, START)
    packets.take_hop(buffer, START)
    assert packets.ttl_of(buffer, START) == before - 1 == 63


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        pytest.param(V4, False, id="IPv4 with DF"),
        pytest.param(udp(b"", flags=0), True, id="IPv4 without"),
        pytest.param(V6, False, id="IPv6: never"),
    ],
)
def test_may_fragment(packet: bytes, expected: bool) -> None:  # noqa: FBT001
    assert packets.may_fragment(*placed(packet)[:1], START) is expected


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        pytest.param(V4, True, id="UDP"),
        pytest.param(tcp(b""), True, id="TCP"),
        pytest.param(V6, True, id="UDP over IPv6"),
        pytest.param(icmp_echo(), False, id="ICMP"),
        pytest.param(icmp_echo(version=6), False, id="ICMPv6"),
        pytest.param(udp(b"", options=b"\1\1\1\1"), False, id="with options"),
        pytest.param(udp(b"", flags=0x2000), False, id="first fragment"),
        pytest.param(udp(b"", flags=0x0001), False, id="another fragment"),
        pytest.param(udp(b"", flags=0), True, id="no DF"),
    ],
)
def test_has_plain_header(packet: bytes, expected: bool) -> None:  # noqa: FBT001
    assert packets.has_plain_header(placed(packet)[0], START) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.244.1.2", True),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("127.0.0.1", False),
        ("fd00::1", True),
        ("ff02::1", False),
        ("::", False),
        ("::1", False),
    ],
)
def test_is_unicast(text: str, expected: bool) -> None:  # noqa: FBT001
    assert packets.is_unicast(ip_address(text).packed) is expected
