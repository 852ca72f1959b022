"""What goes over the wire: flannel's format to the byte, and podway's between podway nodes."""

import hashlib
import socket

import pytest

from netns.udp.worlds import (
    PLAIN_DEV,
    PORT,
    Node,
    address4,
    connect,
    drain,
    own,
    peer4,
    peer6,
    transfer,
    underlay,
    wait_for_counter,
)
from podway.udp.segments import UNSUMMED, is_ours, part_of
from podway.udp.sockets import UDP_SEGMENT
from unit.udp.inner_packets import body_of, icmp_echo, is_sound, udp

# linux/in.h; the socket module has no name for it.
IP_RECVTTL = 12
DATA = hashlib.shake_256(b"podway").digest(3_000_000)
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


@FAMILIES
def test_a_flanneld_gets_the_bare_packet_one_hop_later(
    node: Node, other: Node, version: int
) -> None:
    node.start(peer4(2), peer6(2))
    flanneld = other.bound(underlay(version, 2))
    sender = node.bound(own(version, 1), 4242)
    sender.sendto(b"hello", (own(version, 2), 53))
    packet, source = flanneld.recvfrom(2048)
    assert source[:2] == (underlay(version, 1), PORT)
    assert packet[0] >> 4 == version
    assert packet[8 if version == 4 else 7] == 63
    assert is_sound(packet)
    assert body_of(packet)[8:] == b"hello"


@FAMILIES
def test_a_flanneld_s_packet_arrives_one_hop_later(node: Node, other: Node, version: int) -> None:
    relay = node.start(peer4(2), peer6(2))
    flanneld = other.bound(underlay(version, 2))
    receiver = node.bound(own(version, 1), 53)
    if version == 4:
        receiver.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    else:
        receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    sent = udp(b"hello", version=version, src=own(version, 2), dst=own(version, 1))
    flanneld.sendto(sent + b"padding", (underlay(version, 1), PORT))
    data, ((_, _, hops),), _, source = receiver.recvmsg(100, 100)
    assert (data, source[:2]) == (b"hello", (own(version, 2), 4242))
    assert int.from_bytes(hops, "little") == 63
    assert wait_for_counter(relay, "received_packets") == 1


@FAMILIES
def test_between_podway_nodes_a_packet_goes_as_it_is(node: Node, other: Node, version: int) -> None:
    node.start(peer4(2, segments=True), peer6(2, segments=True))
    podway = other.bound(underlay(version, 2))
    node.bound(own(version, 1), 4242).sendto(b"hello", (own(version, 2), 53))
    datagram = podway.recv(2048)
    assert is_ours(datagram[0])
    assert part_of(datagram[0]) == UNSUMMED
    assert datagram[8 if version == 4 else 7] == 64


@FAMILIES
@pytest.mark.parametrize("segments", [True, False], ids=["segments", "bare"])
def test_tcp_between_podway_nodes(node: Node, other: Node, version: int, *, segments: bool) -> None:
    other.make_tunnel()
    relays = [
        node.start(peer4(2, segments=segments), peer6(2, segments=segments)),
        other.start(peer4(1, segments=segments), peer6(1, segments=segments)),
    ]
    client, server = connect(node, other, own(version, 2))
    assert transfer(client, server, DATA) == DATA
    assert transfer(server, client, DATA) == DATA
    counted = [relay.counters() for relay in relays]
    for each in counted:
        assert each["malformed"] == each["misrouted"] == each["strangers"] == 0
    # What one read gave went as one, or nearly: far fewer packets than segments.
    assert counted[0]["sent_packets"] < len(DATA) / 1400


@FAMILIES
def test_datagrams_that_a_pod_sends_in_one_go(node: Node, other: Node, version: int) -> None:
    """UDP_SEGMENT in the pod: the kernel hands over one packet, and the receiver gets ten."""
    other.make_tunnel()
    node.start(peer4(2, segments=True), peer6(2, segments=True))
    other.start(peer4(1, segments=True), peer6(1, segments=True))
    receiver = other.bound(own(version, 2), 53)
    sender = node.bound(own(version, 1), 4242)
    sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
    sender.sendto(DATA[:9500], (own(version, 2), 53))
    assert drain(receiver, 10) == [DATA[at : min(at + 1000, 9500)] for at in range(0, 9500, 1000)]


@pytest.mark.parametrize("towards_podway", [True, False], ids=["to podway", "from podway"])
def test_tcp_with_a_peer_of_flannels_wire_rules(
    node: Node, other: Node, relay_in_c: str, *, towards_podway: bool
) -> None:
    other.make_tunnel(PLAIN_DEV)
    relay = node.start(peer4(2))
    other.start_plain(relay_in_c, peer4(1))
    client, server = connect(node, other, "10.244.2.0")
    if towards_podway:
        assert transfer(server, client, DATA) == DATA
    else:
        assert transfer(client, server, DATA) == DATA
    assert relay.counters()["malformed"] == 0


def test_packets_that_a_network_card_joined_are_joined_in_tun(node: Node, other: Node) -> None:
    """A peer that sends bare packets in one go: they come as one receive, and are taken apart."""
    relay = node.start(peer4(2))
    flanneld = other.bound(address4(2))
    receiver = node.bound("10.244.1.0", 53)
    packets = [udp(bytes([n]) * 100, src="10.244.2.0", dst="10.244.1.0") for n in range(10)]
    flanneld.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, len(packets[0]))
    flanneld.sendto(b"".join(packets), (address4(1), PORT))
    assert drain(receiver, 10) == [bytes([n]) * 100 for n in range(10)]
    assert relay.counters()["received_packets"] == 10


def test_peers_come_move_and_go_while_packets_flow(node: Node, other: Node) -> None:
    relay = node.start()
    peer = other.bound(address4(2))
    elsewhere = other.bound(address4(2), 9999)
    sender = node.bound("10.244.1.0", 4242)
    relay.set([peer4(2)])
    sender.sendto(b"1", ("10.244.2.0", 53))
    assert body_of(peer.recv(2048))[8:] == b"1"
    relay.set([peer4(2)._replace(where=(address4(2), 9999))])
    sender.sendto(b"2", ("10.244.2.0", 53))
    assert body_of(elsewhere.recv(2048))[8:] == b"2"
    relay.delete([peer4(2).prefix])
    sender.sendto(b"3", ("10.244.2.0", 53))
    wait_for_counter(relay, "no_peer")


def test_ping_of_a_pod_needs_no_checksum_of_ours(node: Node, other: Node) -> None:
    node.start(peer4(2, segments=True))
    peer = other.bound(address4(2))
    peer.sendto(icmp_echo(src="10.244.2.0", dst="10.244.1.0"), (address4(1), PORT))
    answer = peer.recv(2048)
    assert is_ours(answer[0])
    assert is_sound(b"\x45" + answer[1:])
    assert body_of(b"\x45" + answer[1:])[0] == 0
