"""podway's format: what is cut and joined again is what it was, whatever was lost on the way."""

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.udp import segments
from podway.udp.cutting import SEGMENTS_MAX, SEND_BYTES_MAX, Cutter, cut
from podway.udp.heads import is_unsummed, rebuild, unsummed_head
from podway.udp.joining import Joiner, open_run
from podway.udp.segments import END, PART, UNSUMMED, WHOLE, header_bytes, mark, part_of, unmark
from podway.udp.tun import VNET, VNET_BYTES
from unit.udp.inner_packets import (
    ACK,
    CWR,
    FIN,
    PSH,
    body_of,
    icmp_echo,
    ipv4,
    naive_sum,
    pseudo,
    tcp,
    udp,
)

START = 10


def sends_of(packet: bytes, segment_bytes: int) -> list[tuple[bytes, int]]:
    """Return what would be sent for the large *packet*: bytes, and the size of datagrams."""
    buffer = bytearray(START) + bytearray(packet) + bytearray(100)
    header = header_bytes(buffer, START, START + len(packet))
    pieces = Cutter(buffer, START).pieces(START + len(packet), segment_bytes, header)
    return [(b"".join(each), size) for each, size in pieces]


def datagrams_of(packet: bytes, segment_bytes: int) -> list[bytes]:
    """Return the large *packet* as datagrams."""
    return [
        sent[at : at + size]
        for sent, size in sends_of(packet, segment_bytes)
        for at in range(0, len(sent), size)
    ]


def received(data: bytes, size: int) -> list[tuple[bytes, bytes]]:
    """Return what one receive gives to TUN: virtio-net header and packet, run by run."""
    buffer = bytearray(data) + bytearray(100)
    joiner, written, start = Joiner(buffer), [], 0
    while start < len(data):
        header = header_bytes(buffer, start, min(start + size, len(data)))
        count = joiner.run_length(start, len(data), size, header)
        stop = min(start + count * size, len(data))
        template, is_end = open_run(buffer, start, start + (count - 1) * size, header)
        payloads = joiner.payloads(start, stop, size, header, count)
        payload_bytes = stop - start - count * header
        head = rebuild(template, count, size - header, payload_bytes, is_end=is_end)
        written.append((head[:VNET_BYTES], head[VNET_BYTES:] + b"".join(payloads)))
        start = stop
    return written


def has_partial_checksum(packet: bytes, at: int) -> bool:
    """Tell whether the field at *at* behind the IP header holds the pseudo header's sum."""
    field = int.from_bytes(body_of(packet)[at : at + 2], "big")
    return field % 65535 == naive_sum(pseudo(packet)) % 65535


versions = st.sampled_from([4, 6])
segment_sizes = st.integers(20, 1500)
flags = st.sampled_from([ACK, ACK | PSH, ACK | FIN | PSH, ACK | CWR])


@given(st.integers(1, 65483), segment_sizes, st.integers(28, 100))
def test_cut_covers_everything_within_the_limits(payload: int, size: int, header: int) -> None:
    sends = cut(payload, size, header)
    assert [first for first, _ in sends] == [
        sum(n for _, n in sends[:i]) for i in range(len(sends))
    ]
    assert sum(count for _, count in sends) == -(-payload // size)
    for _, count in sends:
        assert 1 <= count <= SEGMENTS_MAX
        assert count * (header + size) <= SEND_BYTES_MAX or count == 1
    assert max(n for _, n in sends) - min(n for _, n in sends) <= len(sends)


@given(st.integers(1, 5000), segment_sizes, versions, flags)
def test_tcp_is_what_it_was(length: int, size: int, version: int, bits: int) -> None:
    payload = bytes((n * 7) & 0xFF for n in range(length))
    packet = tcp(payload, version=version, flags=bits, options=b"\1" * 12, partial=True)
    if length <= size:
        return
    whole = [run for sent, each in sends_of(packet, size) for run in received(sent, each)]
    rest = b"".join(body_of(each)[32:] for _, each in whole)
    assert rest == payload
    ip_bytes = 20 if version == 4 else 40
    for number, (vnet, each) in enumerate(whole):
        sequence, seen = struct.unpack_from(">I", body_of(each), 4)[0], body_of(each)[13]
        assert sequence == 1000 + sum(len(body_of(before)) - 32 for _, before in whole[:number])
        is_first, is_last = number == 0, number == len(whole) - 1
        assert seen == bits & (0xFF if is_first else ~CWR) & (0xFF if is_last else ~(FIN | PSH))
        assert has_partial_checksum(each, 16)
        needs, gso_type, header, gso_size, first, at = VNET.unpack(vnet)
        assert (needs, header, first, at) == (1, ip_bytes + 32, ip_bytes, 16)
        several = len(body_of(each)) - 32 > size
        assert (gso_type, gso_size) == (({4: 1, 6: 4}[version], size) if several else (0, 0))
    if len(whole) == 1:
        assert whole[0][1][:ip_bytes] == packet[:ip_bytes]


@given(st.integers(2, 5000), segment_sizes, versions)
def test_udp_is_what_it_was(length: int, size: int, version: int) -> None:
    payload = bytes((n * 7) & 0xFF for n in range(length))
    packet = udp(payload, version=version, partial=True)
    if length <= size:
        return
    whole = [run for sent, each in sends_of(packet, size) for run in received(sent, each)]
    assert b"".join(body_of(each)[8:] for _, each in whole) == payload
    for vnet, each in whole:
        assert struct.unpack_from(">H", body_of(each), 4)[0] == len(body_of(each))
        assert has_partial_checksum(each, 6)
        several = len(body_of(each)) - 8 > size
        assert VNET.unpack(vnet)[1:4:2] == ((5, size) if several else (0, 0))


@given(st.data(), versions)
def test_no_loss_makes_a_wrong_stream(data: st.DataObject, version: int) -> None:
    """Two large packets of one flow; any datagrams are lost, what is left comes in any batches."""
    size, length = 100, 1000
    streams = []
    for seq in (5000, 5000 + length):
        payload = bytes((seq + n * 7) & 0xFF for n in range(length))
        streams.append(tcp(payload, version=version, seq=seq, partial=True))
    sent = [each for packet in streams for each in datagrams_of(packet, size)]
    kept = [each for each in sent if data.draw(st.booleans())]
    expected = {at: byte for packet in streams for at, byte in _bytes_of(body_of(packet))}
    for _, each in received(b"".join(kept), len(sent[0])):
        for at, byte in _bytes_of(body_of(each)):
            assert expected[at] == byte


def _bytes_of(segment: bytes) -> list[tuple[int, int]]:
    sequence = struct.unpack_from(">I", segment, 4)[0]
    return [(sequence + n, byte) for n, byte in enumerate(segment[20:])]


def test_runs_of_other_flows_are_not_joined() -> None:
    one = datagrams_of(tcp(bytes(1000), partial=True), 100)
    other = datagrams_of(tcp(bytes(1000), partial=True, dst="10.244.2.3"), 100)
    mixed = [one[0], one[1], other[2], other[3], one[4]]
    lengths = [len(packet) for _, packet in received(b"".join(mixed), len(one[0]))]
    assert lengths == [240, 240, 140]


def test_the_end_of_one_and_the_start_of_the_next_are_two() -> None:
    """Of equal datagrams, as a network card joins them, without a shorter one between."""
    first, second = tcp(bytes(300), partial=True), tcp(bytes(300), seq=1300, partial=True)
    data = b"".join(datagrams_of(first, 100) + datagrams_of(second, 100))
    assert [packet for _, packet in received(data, 140)] == [first, second]


@pytest.mark.parametrize("part", [PART, END, UNSUMMED, WHOLE])
@pytest.mark.parametrize("first_byte", [0x45, 0x4F, 0x60, 0x6E])
def test_marks(first_byte: int, part: int) -> None:
    marked = mark(first_byte, part)
    assert segments.is_ours(marked)
    assert not segments.is_ours(first_byte)
    assert (part_of(marked), unmark(marked)) == (part, first_byte)
    assert segments.is_small(marked) is (part in (UNSUMMED, WHOLE))
    assert not segments.is_small(first_byte)


def test_all_marks_differ() -> None:
    marks = {mark(first, part) for first in (0x45, 0x60) for part in (PART, END, UNSUMMED, WHOLE)}
    assert {each >> 4 for each in marks} == set(range(8, 16))


@pytest.mark.parametrize(
    ("packet", "place"),
    [
        pytest.param(tcp(b""), (20, 16), id="TCP"),
        pytest.param(udp(b""), (20, 6), id="UDP"),
        pytest.param(tcp(b"", version=6), (40, 16), id="TCP over IPv6"),
        pytest.param(udp(b"", version=6), (40, 6), id="UDP over IPv6"),
        pytest.param(icmp_echo(), None, id="ICMP"),
        pytest.param(icmp_echo(version=6), None, id="ICMPv6"),
        pytest.param(udp(b"", options=b"\1" * 4), None, id="with options"),
    ],
)
def test_unsummed_head(packet: bytes, place: tuple[int, int] | None) -> None:
    head = unsummed_head(bytearray(packet), 0)
    found = None if head is None else VNET.unpack(head)
    assert found == (None if place is None else (1, 0, place[0] + 8, 0, *place))
    for first, at in ((20, 16), (20, 6), (40, 16), (40, 6), (24, 6), (20, 2)):
        number = int.from_bytes(struct.pack("=HH", first, at), sys.byteorder)
        assert is_unsummed(bytearray(packet), 0, number) is (place == (first, at))


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        pytest.param(tcp(b"x", options=b"\1" * 12), 52, id="TCP with timestamps"),
        pytest.param(tcp(b"x", version=6), 60, id="TCP over IPv6"),
        pytest.param(udp(b"x"), 28, id="UDP"),
        pytest.param(udp(b"x", version=6), 48, id="UDP over IPv6"),
        pytest.param(tcp(b"")[:39], 0, id="TCP header cut off"),
        pytest.param(tcp(b"", options=b"\1" * 12)[:40], 0, id="TCP options cut off"),
        pytest.param(ipv4(bytes(12) + b"\x40" + bytes(7), 6), 0, id="TCP header of 16 bytes"),
        pytest.param(udp(b"")[:27], 0, id="UDP header cut off"),
        pytest.param(icmp_echo(), 0, id="ICMP has none"),
    ],
)
def test_header_bytes(packet: bytes, expected: int) -> None:
    assert header_bytes(packet, 0, len(packet)) == expected


@given(st.binary(min_size=1, max_size=400), st.integers(1, 200))
def test_any_bytes_come_to_an_end(data: bytes, size: int) -> None:
    """Whatever a stranger sends in a peer's name: no exception, and all of it is passed over."""
    buffer = bytearray(data) + bytearray(100)
    joiner, start = Joiner(buffer), 0
    while start < len(data):
        stop = min(start + size, len(data))
        header = header_bytes(buffer, start, stop)
        if header and header < size:
            count = joiner.run_length(start, len(data), size, header)
            template, is_end = open_run(buffer, start, start + (count - 1) * size, header)
            stop = min(start + count * size, len(data))
            rebuild(template, count, size - header, stop - start - count * header, is_end=is_end)
            start += count * size
        else:
            start += size
