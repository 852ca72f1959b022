"""Addresses, prefixes and the MACs that are derived from them."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network

import pytest

from podway.model.addresses import (
    Family,
    derive_mac,
    everything,
    family_of,
    host_interface,
    host_prefix,
    interface_in,
    mac_of_address,
    prefix_contains,
)


@pytest.mark.parametrize(
    ("text", "family", "label", "bits"),
    [
        pytest.param("192.0.2.1", Family.IPV4, "IPv4", 32, id="IPv4"),
        pytest.param("2001:db8::1", Family.IPV6, "IPv6", 128, id="IPv6"),
    ],
)
def test_family(text: str, family: Family, label: str, bits: int) -> None:
    address = ip_address(text)
    assert family_of(address) is family
    assert family_of(ip_interface(f"{text}/{bits}")) is family
    assert (family.label, family.bits) == (label, bits)
    assert host_prefix(address) == ip_network(f"{text}/{bits}")
    assert host_interface(address) == ip_interface(f"{text}/{bits}")
    assert everything(family).prefixlen == 0
    assert address in everything(family)


def test_an_interface_address_keeps_its_host_bits() -> None:
    assert interface_in(IPv4Address("10.244.1.5"), 24) == ip_interface("10.244.1.5/24")
    assert interface_in(IPv6Address("fd00::5"), 64) == ip_interface("fd00::5/64")


@pytest.mark.parametrize(
    ("outer", "inner", "contained"),
    [
        pytest.param("10.0.0.0/8", "10.1.0.0/16", True, id="inside"),
        pytest.param("10.0.0.0/8", "10.0.0.0/8", True, id="equal"),
        pytest.param("10.1.0.0/16", "10.0.0.0/8", False, id="the other way round"),
        pytest.param("10.0.0.0/8", "11.0.0.0/16", False, id="beside"),
        pytest.param("::/0", "10.0.0.0/8", False, id="IPv4 in IPv6"),
        pytest.param("0.0.0.0/0", "::/128", False, id="IPv6 in IPv4"),
        pytest.param("fd00::/8", "fd12::/16", True, id="IPv6 inside"),
    ],
)
def test_prefix_contains(outer: str, inner: str, *, contained: bool) -> None:
    assert prefix_contains(ip_network(outer), ip_network(inner)) is contained


def test_a_derived_mac_is_local_unicast_and_depends_on_every_part() -> None:
    macs = [
        derive_mac("vtep", "node-1", "IPv4"),
        derive_mac("vtep", "node-2", "IPv4"),
        derive_mac("vtep", "node-1", "IPv6"),
        derive_mac("vtep", "node-1IPv4"),
        derive_mac("vtepnode-1", "IPv4"),
    ]
    assert len(set(macs)) == len(macs)
    assert derive_mac("vtep", "node-1", "IPv4") == macs[0]
    for mac in macs:
        assert len(mac) == 17
        assert mac == mac.lower()
        # IEEE 802: bit 0 of the first byte is "group", bit 1 "locally administered".
        assert int(mac[:2], 16) & 0b11 == 0b10


def test_a_derived_mac_never_changes_between_releases() -> None:
    # Peers keep it in their neighbour tables while nodes are upgraded one by one.
    assert derive_mac("vtep", "node-1", "IPv4", "1") == "5e:1f:bf:e6:46:17"


@pytest.mark.parametrize(
    ("address", "mac"),
    [
        pytest.param("10.244.1.5", "0a:58:0a:f4:01:05", id="IPv4"),
        pytest.param("fd00::1:0:a", "0a:58:00:00:00:0a", id="IPv6: its last four bytes"),
    ],
)
def test_mac_of_address(address: str, mac: str) -> None:
    assert mac_of_address(ip_address(address)) == mac
