"""Addresses between text and bytes."""

import pytest

from podway.netlink import EncodeError, family_of, format_address, format_prefix, pack_address
from podway.netlink.constants import AF_INET, AF_INET6


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        pytest.param("10.244.1.0", b"\x0a\xf4\x01\x00", id="IPv4"),
        pytest.param("2001:db8::1", b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01", id="IPv6"),
        pytest.param("::ffff:10.0.0.1", bytes(10) + b"\xff\xff\x0a\0\0\x01", id="mapped"),
    ],
)
def test_both_ways(text: str, packed: bytes) -> None:
    assert pack_address(text) == packed
    assert format_address(packed) == text
    assert family_of(packed) == (AF_INET if len(packed) == 4 else AF_INET6)


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.1/24", "256.0.0.1", "::g", "fe80::1%eth0"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(EncodeError):
        pack_address(text)


def test_what_is_no_packed_address() -> None:
    with pytest.raises(EncodeError):
        format_address(b"\1\2\3")


def test_prefixes() -> None:
    assert format_prefix(b"\x0a\xf4\x01\x00", 24) == "10.244.1.0/24"
