"""What cannot go on: dropped, counted, and its sender told, as a router does (RFC 1812, 4443)."""

import errno
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from netns.udp.worlds import (
    DEV,
    PORT,
    Node,
    address4,
    address6,
    drain,
    own,
    peer4,
    peer6,
    underlay,
    wait_for_counter,
)
from podway.udp.segments import PART, UNSUMMED, WHOLE, mark
from unit.udp.inner_packets import body_of, icmp_echo, is_sound, tcp, udp

IP_RECVERR, IPV6_RECVERR = 11, 25
IP_MTU, IPV6_MTU = 14, 24
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23
PMTUDISC_DONT, PMTUDISC_DO = 0, 2
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


def pod(node: Node, version: int, to: str, *, ttl: int = 64) -> socket.socket:
    """Return a connected socket that hears of every ICMP error."""
    opened = node.bound(own(version, 1), 4242)
    if version == 4:
        opened.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    else:
        opened.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
    opened.connect((to, 53))
    return opened


def error_of(call: Callable[[], object]) -> int | None:
    """Return the errno with which *call* fails."""
    with pytest.raises(OSError) as caught:  # noqa: PT011  (the number is what counts)
        call()
    return caught.value.errno


def gets_through(
    sender: socket.socket,
    datagram: bytes,
    to: tuple[str, int],
    receiver: socket.socket,
    payload: bytes,
) -> bool:
    """Tell whether *receiver* gets *payload*; sent again while the relay's buffer may be full."""
    receiver.settimeout(0.2)
    for _ in range(50):
        sender.sendto(datagram, to)
        with suppress(TimeoutError):
            while receiver.recv(2048) != payload:
                pass
            return True
    return False


@FAMILIES
def test_nobody_has_the_destination(node: Node, version: int) -> None:
    relay = node.start(peer4(2), peer6(2))
    sender = pod(node, version, own(version, 9))
    sender.send(b"x")
    assert error_of(lambda: sender.recv(100)) == errno.ENETUNREACH
    counted = relay.counters()
    assert (counted["no_peer"], counted["icmp_sent"]) == (1, 1)


@FAMILIES
def test_the_last_hop_is_here(node: Node, version: int) -> None:
    """Towards a flanneld each end is a router; a traceroute sees this one."""
    relay = node.start(peer4(2), peer6(2))
    listener = node.open(
        socket.AF_INET if version == 4 else socket.AF_INET6,
        socket.SOCK_RAW,
        socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6,
    )
    sender = pod(node, version, own(version, 2), ttl=1)
    sender.send(b"x")
    assert error_of(lambda: sender.recv(100)) == errno.EHOSTUNREACH
    heard, source = listener.recvfrom(2048)
    message = heard[20:] if version == 4 else heard
    assert source[0] == own(version, 1)
    assert (message[0], message[1]) == ((11, 0) if version == 4 else (3, 0))
    assert relay.counters()["ttl_expired"] == 1


@FAMILIES
def test_between_podway_nodes_the_tunnel_takes_no_hop(
    node: Node, other: Node, version: int
) -> None:
    other.make_tunnel()
    node.start(peer4(2, segments=True), peer6(2, segments=True))
    other.start(peer4(1, segments=True), peer6(1, segments=True))
    receiver = other.bound(own(version, 2), 53)
    pod(node, version, own(version, 2), ttl=1).send(b"x")
    assert receiver.recv(100) == b"x"


@FAMILIES
def test_a_peer_s_packet_without_hops(node: Node, other: Node, version: int) -> None:
    relay = node.start(peer4(2), peer6(2))
    flanneld = other.bound(underlay(version, 2))
    fields: dict[str, Any] = {"ttl": 1} if version == 4 else {"hops": 1}
    sent = udp(b"x", version=version, src=own(version, 2), dst=own(version, 1), **fields)
    flanneld.sendto(sent, (underlay(version, 1), PORT))
    answer = flanneld.recv(2048)
    assert is_sound(answer)
    assert body_of(answer)[:2] == (b"\x0b\0" if version == 4 else b"\3\0")
    assert relay.counters()["ttl_expired"] == 1


@FAMILIES
@pytest.mark.parametrize("part", [None, UNSUMMED, WHOLE, PART])
def test_a_packet_for_another_node_goes_no_circles(
    node: Node, other: Node, version: int, part: int | None
) -> None:
    relay = node.start(peer4(2), peer6(2), peer4(3), peer6(3))
    peer = other.bound(underlay(version, 2))
    sent = udp(b"x", version=version, src=own(version, 2), dst=own(version, 3))
    first = sent[:1] if part is None else bytes((mark(sent[0], part),))
    peer.sendto(first + sent[1:], (underlay(version, 1), PORT))
    answer = peer.recv(2048)
    assert body_of(answer)[:2] == (b"\3\0" if version == 4 else b"\1\0")
    assert wait_for_counter(relay, "misrouted") == 1


def test_our_own_packet_in_a_circle(node: Node) -> None:
    """No route to a pod that is gone: its packet comes out of TUN again."""
    relay = node.start(peer4(2))
    sender = pod(node, 4, "10.244.1.77")
    sender.send(b"x")
    assert error_of(lambda: sender.recv(100)) == errno.ENETUNREACH
    assert relay.counters()["misrouted"] == 1


@FAMILIES
@pytest.mark.parametrize("segments", [True, False], ids=["segments", "bare"])
def test_a_way_that_is_narrower(node: Node, other: Node, version: int, *, segments: bool) -> None:
    """`ping -M do`: the sender learns the MTU of the tunnel there, and then it fits."""
    relay = node.start(peer4(2, segments=segments), peer6(2, segments=segments))
    peer = other.bound(underlay(version, 2))
    node.netns.ip("route", "add", underlay(version, 2), "dev", "eth0", "mtu", "1400")
    sender = pod(node, version, own(version, 2))
    if version == 4:
        sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DO)
    else:
        sender.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DO)
    sender.send(b"a" * 1400)
    assert error_of(lambda: sender.recv(100)) == errno.EMSGSIZE
    inner = 1400 - (28 if version == 4 else 48)
    level, option = (0, IP_MTU) if version == 4 else (socket.IPPROTO_IPV6, IPV6_MTU)
    assert sender.getsockopt(level, option) == inner
    assert relay.counters()["too_big"] == 1
    sender.send(b"a" * (inner - (28 if version == 4 else 48)))
    assert len(peer.recv(2048)) == inner


@pytest.mark.parametrize("segments", [True, False], ids=["segments", "bare"])
def test_a_narrower_way_and_a_packet_that_may_be_cut(
    node: Node, other: Node, *, segments: bool
) -> None:
    relay = node.start(peer4(2, segments=segments))
    peer = other.bound(address4(2))
    node.netns.ip("route", "add", address4(2), "dev", "eth0", "mtu", "1400")
    sender = pod(node, 4, "10.244.2.0")
    sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT)
    sender.send(b"a" * 1400)
    assert peer.recv(2048).endswith(b"a" * 1400)
    assert relay.counters()["fragmented"] == 1


def test_strangers_are_not_heard(node: Node, other: Node) -> None:
    relay = node.start(peer4(2))
    receiver = node.bound("10.244.1.0", 53)
    packet = udp(b"x", src="10.244.2.0", dst="10.244.1.0")
    other.netns.ip("address", "add", "192.0.2.7/24", "dev", "eth0")
    other.bound(address4(2), 9999).sendto(packet, (address4(1), PORT))
    other.bound("192.0.2.7").sendto(packet, (address4(1), PORT))
    assert wait_for_counter(relay, "strangers", 2) == 2
    other.bound(address4(2)).sendto(packet, (address4(1), PORT))
    assert drain(receiver, 1) == [b"x"]
    assert relay.counters()["received_packets"] == 1


def test_errors_are_limited(node: Node) -> None:
    """More than a hundred a second are not answered; how they are counted, `test_limits` tells."""
    relay = node.start()
    sender = node.bound("10.244.1.0", 4242)
    sent = 0
    while not relay.counters()["icmp_suppressed"]:
        assert sent < 100_000
        for _ in range(200):
            sender.sendto(b"x", ("10.244.9.9", 53))
        sent += 200
    assert relay.counters()["icmp_sent"] >= 50


MALFORMED = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"\x45", id="one byte"),
    pytest.param(udp(b"x" * 50)[:40], id="cut off"),
    pytest.param(b"\x15" + udp(b"x")[1:], id="version 1"),
    pytest.param(b"\x41" + udp(b"x")[1:], id="header of 4 bytes"),
    pytest.param(bytes((mark(0x45, PART),)) + icmp_echo()[1:], id="a segment of ICMP"),
    pytest.param(bytes((mark(0x45, PART),)) + tcp(b"")[1:30], id="a segment cut off"),
    pytest.param(
        bytes((mark(0x45, UNSUMMED),)) + icmp_echo(src="10.244.2.0", dst="10.244.1.0")[1:],
        id="ICMP without a checksum",
    ),
]


@pytest.mark.parametrize("datagram", MALFORMED)
def test_malformed(node: Node, other: Node, datagram: bytes) -> None:
    relay = node.start(peer4(2))
    other.bound(address4(2)).sendto(datagram, (address4(1), PORT))
    assert wait_for_counter(relay, "malformed") == 1
    assert relay.counters()["received_packets"] == 0


def test_no_datagram_ends_the_relay(node: Node, other: Node) -> None:
    """Random bytes, and sound packets with some bytes changed, cut off or repeated."""
    relay = node.start(peer4(2), peer6(2))
    peer, peer_6 = other.bound(address4(2)), other.bound(address6(2))
    chance = random.Random(1)  # the same in every run
    sound = [
        make(bytes(200), version=version, src=own(version, 2), dst=own(version, 1))
        for make in (tcp, udp)
        for version in (4, 6)
    ]
    for _ in range(1500):
        packet = bytearray(chance.choice(sound))
        if chance.random() < 0.7:
            packet[0] = mark(packet[0], chance.randrange(4))
        for _ in range(chance.randrange(4)):
            packet[chance.randrange(len(packet))] = chance.randrange(256)
        data = bytes(packet[: chance.randrange(1, len(packet) + 1)]) * chance.choice((1, 1, 3))
        if chance.random() < 0.1:
            data = chance.randbytes(chance.randrange(1, 100))
        peer.sendto(data, (address4(1), PORT))
        peer_6.sendto(data, (address6(1), PORT))
    receiver = node.bound("10.244.1.0", 53)
    alive = udp(b"alive", src="10.244.2.0", dst="10.244.1.0")
    assert gets_through(peer, alive, (address4(1), PORT), receiver, b"alive")
    assert relay.counters()["malformed"] > 0


@FAMILIES
def test_no_batch_of_datagrams_ends_the_relay(node: Node, other: Node, version: int) -> None:
    """The same, many at once, as a network card joins them: runs that break anywhere."""
    relay = node.start(peer4(2), peer6(2))
    peer = other.bound(underlay(version, 2))
    chance = random.Random(2)
    sound = [
        make(bytes(60), version=version, src=own(version, 2), dst=own(version, 1))
        for make in (tcp, udp)
    ]
    for _ in range(200):
        size, datagrams = chance.randrange(20, 120), bytearray()
        for _ in range(chance.randrange(2, 20)):
            packet = bytearray(chance.choice(sound).ljust(size, b"\0")[:size])
            packet[0] = mark(packet[0], chance.choice((0, 0, 0, 1, 2, 3)))
            packet[chance.randrange(size)] ^= chance.choice((0, 0, 1))
            datagrams += packet
        peer.setsockopt(socket.IPPROTO_UDP, 103, size)
        peer.sendto(bytes(datagrams), (underlay(version, 1), PORT))
    peer.setsockopt(socket.IPPROTO_UDP, 103, 0)
    receiver = node.bound(own(version, 1), 53)
    alive = udp(b"alive", version=version, src=own(version, 2), dst=own(version, 1))
    assert gets_through(peer, alive, (underlay(version, 1), PORT), receiver, b"alive")
    assert relay.counters()["received_packets"] > 0


@pytest.mark.parametrize("segments", [True, False], ids=["segments", "bare"])
def test_nothing_from_the_device_ends_the_relay(node: Node, *, segments: bool) -> None:
    """A packet socket of root's puts anything into the device, whole or not."""
    relay = node.start(peer4(2, segments=segments), peer6(2, segments=segments))
    raw = node.open(socket.AF_PACKET, socket.SOCK_DGRAM)
    chance = random.Random(3)
    sound = [
        make(bytes(100), version=version, src=own(version, 1), dst=own(version, 2))
        for make in (tcp, udp)
        for version in (4, 6)
    ]
    for _ in range(1000):
        packet = bytearray(chance.choice(sound))
        for _ in range(chance.randrange(4)):
            packet[chance.randrange(len(packet))] = chance.randrange(256)
        data = bytes(packet[: chance.randrange(1, len(packet) + 1)])
        raw.sendto(data, (DEV, chance.choice((0x0800, 0x86DD))))
    node.bound("10.244.1.0", 4242).sendto(b"x", ("10.244.9.9", 53))
    wait_for_counter(relay, "no_peer")
    assert not relay.has_ended()
