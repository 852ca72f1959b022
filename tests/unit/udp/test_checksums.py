"""The Internet checksum against word-by-word addition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.udp.checksums import checksum, lower_ttl, word_sum
from unit.udp.inner_packets import ipv4, naive_sum


@given(st.binary(max_size=200))
def test_word_sum_is_the_sum_of_words(data: bytes) -> None:
    assert word_sum(data) % 65535 == naive_sum(data) % 65535


@given(st.binary(min_size=2, max_size=60).filter(any))
def test_data_with_its_checksum_sums_up_to_ones(data: bytes) -> None:
    even = data + b"\0" * (len(data) % 2)
    assert naive_sum(even + checksum(word_sum(even)).to_bytes(2, "big")) == 0xFFFF


@given(st.integers(2, 255), st.integers(0, 0xFFFF))
def test_lower_ttl_patches_what_a_new_checksum_would_be(ttl: int, word: int) -> None:
    packet = bytearray(8) + bytearray(ipv4(b"", ttl=ttl, flags=word))
    lower_ttl(packet, 8)
    assert packet[16] == ttl - 1
    assert naive_sum(bytes(packet[8:28])) == 0xFFFF


@pytest.mark.parametrize("value", [0, 65535, 131070])
def test_a_sum_of_ones_gives_zero(value: int) -> None:
    assert checksum(value) == 0
