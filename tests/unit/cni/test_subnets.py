"""Subnets of packed addresses; `ipaddress` is the witness."""

from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.addresses import first_address, last_address, parse_prefix, share_subnet


@given(st.ip_addresses(), st.data())
def test_ends_of_a_subnet(address: IPv4Address | IPv6Address, data: st.DataObject) -> None:
    bits = data.draw(st.integers(0, address.max_prefixlen))
    network = ip_interface(f"{address}/{bits}").network
    assert parse_prefix(f"{address}/{bits}") == (address.packed, bits)
    assert first_address(address.packed, bits) == network.network_address.packed
    assert last_address(address.packed, bits) == network.broadcast_address.packed


@pytest.mark.parametrize(
    ("one", "other", "bits", "expected"),
    [
        pytest.param("10.1.0.5", "10.1.0.250", 24, True, id="near"),
        pytest.param("10.1.0.5", "10.1.1.5", 24, False, id="beside"),
        pytest.param("10.1.0.5", "192.0.2.1", 0, True, id="everything"),
        pytest.param("10.1.0.5", "10.1.0.5", 32, True, id="itself"),
        pytest.param("fd00::5", "fd00::1:5", 64, True, id="IPv6"),
        pytest.param("fd00::5", "10.1.0.5", 0, False, id="two families"),
    ],
)
def test_share_subnet(one: str, other: str, bits: int, *, expected: bool) -> None:
    packed = [ip_interface(each).ip.packed for each in (one, other)]
    assert share_subnet(packed[0], packed[1], bits) is expected
    assert share_subnet(packed[1], packed[0], bits) is expected
