"""flannel's format: segments as a network card would cut them, and joined only where it would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.udp import bare
from podway.udp.segments import header_bytes
from unit.udp.inner_packets import ACK, CWR, FIN, PSH, body_of, icmp_echo, is_sound, tcp, udp

versions = st.sampled_from([4, 6])


@given(st.integers(1, 5000), st.integers(1, 1500), versions)
def test_tcp_is_cut_into_sound_packets(length: int, size: int, version: int) -> None:
    payload = bytes((n * 7) & 0xFF for n in range(length))
    bits = ACK | PSH | FIN | CWR
    packet = tcp(payload, version=version, flags=bits, options=b"\1" * 12, partial=True)
    first = 20 if version == 4 else 40
    whole = list(bare.cut(packet, size, first, first + 32))
    assert all(is_sound(each) for each in whole)
    assert b"".join(body_of(each)[32:] for each in whole) == payload
    assert all(len(each) == first + 32 + size for each in whole[:-1])
    sequences = [int.from_bytes(body_of(each)[4:8], "big") for each in whole]
    assert sequences == list(range(1000, 1000 + length, size))
    assert [body_of(each)[13] & (PSH | FIN) != 0 for each in whole] == [
        number == len(whole) - 1 for number in range(len(whole))
    ]
    assert [body_of(each)[13] & CWR != 0 for each in whole] == [
        number == 0 for number in range(len(whole))
    ]


@given(st.integers(1, 5000), st.integers(1, 1500), versions)
def test_udp_is_cut_into_sound_packets(length: int, size: int, version: int) -> None:
    payload = bytes((n * 7) & 0xFF for n in range(length))
    packet = udp(payload, version=version, partial=True)
    first = 20 if version == 4 else 40
    whole = list(bare.cut(packet, size, first, first + 8))
    assert all(is_sound(each) for each in whole)
    assert b"".join(body_of(each)[8:] for each in whole) == payload
    assert all(int.from_bytes(body_of(each)[4:6], "big") == len(body_of(each)) for each in whole)


@given(st.binary(max_size=100), versions, st.sampled_from([tcp, udp]))
def test_a_checksum_is_finished(payload: bytes, version: int, kind: object) -> None:
    packet = kind(payload, version=version, partial=True)  # type: ignore[operator]
    buffer = bytearray(10) + bytearray(packet)
    first = 20 if version == 4 else 40
    bare.finish_checksum(buffer, 10, len(buffer), first, 16 if kind is tcp else 6)
    assert is_sound(bytes(buffer[10:]))


def test_a_checksum_beyond_the_packet_is_left() -> None:
    buffer = bytearray(b"x" * 30)
    bare.finish_checksum(buffer, 0, 30, 20, 16)
    assert buffer == b"x" * 30


FIRST = tcp(bytes(100), options=b"\1" * 12)


def flow(payload: bytes, **fields: object) -> bytes:
    return tcp(payload, options=b"\1" * 12, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        pytest.param(FIRST, 100, id="data"),
        pytest.param(flow(b"abc", version=6), 3, id="data over IPv6"),
        pytest.param(flow(b"abc", flags=ACK | PSH), 3, id="with PSH"),
        pytest.param(flow(b""), 0, id="no data"),
        pytest.param(flow(b"abc", flags=ACK | FIN), 0, id="FIN"),
        pytest.param(flow(b"abc", flags=ACK | CWR), 0, id="CWR"),
        pytest.param(flow(b"abc", flags=0x02), 0, id="SYN"),
        pytest.param(FIRST[:-1] + b"x", 0, id="wrong checksum"),
        pytest.param(FIRST[:10] + b"\0\0" + FIRST[12:], 0, id="wrong header checksum"),
        pytest.param(flow(b"abc", partial=True), 0, id="checksum left out"),
        pytest.param(udp(b"abc"), 0, id="UDP"),
        pytest.param(icmp_echo(), 0, id="ICMP"),
    ],
)
def test_joinable(packet: bytes, expected: int) -> None:
    assert bare.joinable_bytes(packet, header_bytes(packet, 0, len(packet))) == expected


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        pytest.param(flow(bytes(100), seq=1100), True, id="goes on"),
        pytest.param(flow(bytes(9), seq=1100, flags=ACK | PSH), True, id="goes on and ends"),
        pytest.param(flow(bytes(100), seq=1200), False, id="a gap"),
        pytest.param(flow(bytes(100), seq=1000), False, id="once more"),
        pytest.param(flow(bytes(100), seq=1100, dst="10.244.2.3"), False, id="another host"),
        pytest.param(flow(bytes(100), seq=1100, ttl=63), False, id="another TTL"),
        pytest.param(flow(bytes(100), seq=1100, flags=ACK), True, id="the same flags"),
        pytest.param(tcp(bytes(100), seq=1100, options=b"\0" * 12), False, id="other options"),
        pytest.param(flow(bytes(100), seq=1100, flags=0), False, id="no ACK"),
    ],
)
def test_follows(packet: bytes, expected: bool) -> None:  # noqa: FBT001
    header = header_bytes(FIRST, 0, len(FIRST))
    joinable = bare.joinable_bytes(packet, header) > 0
    assert (joinable and bare.follows(FIRST, 100, packet, header)) is expected


def test_sequence_numbers_wrap_around() -> None:
    first = flow(bytes(100), seq=0xFFFFFFC0)
    second = flow(bytes(100), seq=0xFFFFFFC0 + 100 - (1 << 32))
    assert bare.follows(first, 100, second, 52)


def test_a_run_takes_the_first_headers_and_the_last_push() -> None:
    first, last = flow(bytes(100)), flow(bytes(9), seq=1100, flags=ACK | PSH)
    template = bare.open_run(first + last, 0, len(first), 52)
    assert body_of(bytes(template))[13] == ACK | PSH
    assert template[2:4] == b"\0\0"
    assert (bare.ends_run(first, 52), bare.ends_run(last, 52)) == (False, True)
