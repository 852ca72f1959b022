"""ICMP errors: whole packets with the right code, MTU and quotation, and never about errors."""

import struct
from ipaddress import ip_address

import pytest

from podway.udp.icmp import Reason, compose_error, may_answer
from unit.udp.inner_packets import (
    HERE,
    HERE6,
    body_of,
    icmp_echo,
    ipv4,
    ipv6,
    is_sound,
    tcp,
    udp,
)

OURS = {4: ip_address("10.244.1.0").packed, 16: ip_address("fd00:10:244:1::").packed}
V4, V6 = udp(b"a" * 1400), udp(b"a" * 1400, version=6)


@pytest.mark.parametrize(
    ("packet", "reason", "head"),
    [
        pytest.param(V4, Reason.UNREACHABLE, (3, 0), id="IPv4 net unreachable"),
        pytest.param(V4, Reason.TIME_EXCEEDED, (11, 0), id="IPv4 time exceeded"),
        pytest.param(V4, Reason.TOO_BIG, (3, 4), id="IPv4 fragmentation needed"),
        pytest.param(V6, Reason.UNREACHABLE, (1, 0), id="IPv6 no route"),
        pytest.param(V6, Reason.TIME_EXCEEDED, (3, 0), id="IPv6 hop limit exceeded"),
        pytest.param(V6, Reason.TOO_BIG, (2, 0), id="IPv6 packet too big"),
    ],
)
def test_errors(packet: bytes, reason: Reason, head: tuple[int, int]) -> None:
    mtu = 1300 if reason is Reason.TOO_BIG else 0
    error = compose_error(packet, reason, OURS, mtu)
    assert error is not None
    assert is_sound(error)
    is_ipv6 = packet[0] >> 4 == 6
    source, target = (error[8:24], error[24:40]) if is_ipv6 else (error[12:16], error[16:20])
    assert (source, target) == (
        OURS[len(source)],
        ip_address(HERE6 if is_ipv6 else HERE).packed,
    )
    message = body_of(error)
    assert (message[0], message[1]) == head
    assert struct.unpack_from(">I", message, 4)[0] == mtu
    assert packet.startswith(message[8:])
    assert len(error) == (1280 if is_ipv6 else 576)


def test_a_short_packet_is_quoted_whole() -> None:
    packet = udp(b"x")
    error = compose_error(packet, Reason.UNREACHABLE, OURS)
    assert error is not None
    assert body_of(error)[8:] == packet


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(tcp(b""), id="TCP"),
        pytest.param(icmp_echo(), id="echo request"),
        pytest.param(icmp_echo(version=6), id="ICMPv6 echo request"),
        pytest.param(udp(b"", flags=0x2000), id="first fragment"),
    ],
)
def test_may_answer(packet: bytes) -> None:
    assert may_answer(packet)


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(ipv4(b"\3\0" + bytes(30), 1), id="about an ICMP error"),
        pytest.param(ipv4(b"", 1), id="about ICMP without a type"),
        pytest.param(ipv6(b"\1\0" + bytes(30), 58), id="about an ICMPv6 error"),
        pytest.param(ipv6(b"", 58), id="about ICMPv6 without a type"),
        pytest.param(udp(b"", flags=0x0001), id="about a later fragment"),
        pytest.param(udp(b"", src="0.0.0.0"), id="to nobody"),
        pytest.param(udp(b"", src="224.0.0.1"), id="to a group"),
        pytest.param(udp(b"", dst="255.255.255.255"), id="about a broadcast"),
        pytest.param(udp(b"", version=6, dst="ff02::1"), id="about a multicast"),
        pytest.param(udp(b"", version=6, src="::"), id="to nobody, IPv6"),
    ],
)
def test_may_not_answer(packet: bytes) -> None:
    assert not may_answer(packet)
    assert compose_error(packet, Reason.UNREACHABLE, OURS) is None


def test_without_an_address_nothing_is_said() -> None:
    assert compose_error(V6, Reason.UNREACHABLE, {4: OURS[4]}) is None
