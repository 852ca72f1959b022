"""ARP probes, and who claims an address."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.dhcp.arp import encode_probe, find_claim

ADDRESS, OTHER = IPv4Address("10.1.0.50"), IPv4Address("10.1.0.51")
MAC, THEIRS = bytes.fromhex("0a0000000001"), bytes.fromhex("0a0000000002")
NOBODY = IPv4Address(0)


def arp(
    op: int,
    mac: bytes,
    sender: IPv4Address,
    target: IPv4Address,
    head: str = "000108000604",
) -> bytes:
    packet = bytes.fromhex(f"{head}000{op}") + mac + sender.packed + bytes(6) + target.packed
    return packet + bytes(18)  # padding of Ethernet


def test_a_probe_is_the_one_of_rfc_5227() -> None:
    expected = "00010800060400010a0000000001000000000000000000000a010032"
    assert encode_probe(ADDRESS, MAC).hex() == expected


@pytest.mark.parametrize(
    ("packet", "claimant"),
    [
        pytest.param(arp(2, THEIRS, ADDRESS, NOBODY), THEIRS, id="an answer"),
        pytest.param(arp(2, MAC, ADDRESS, NOBODY), MAC, id="of who shares the MAC address"),
        pytest.param(arp(1, THEIRS, ADDRESS, ADDRESS), THEIRS, id="an announcement"),
        pytest.param(arp(1, THEIRS, ADDRESS, OTHER), THEIRS, id="its owner asks for another"),
        pytest.param(arp(1, THEIRS, NOBODY, ADDRESS), THEIRS, id="somebody else's probe"),
        pytest.param(arp(1, MAC, NOBODY, ADDRESS), None, id="its own probe"),
        pytest.param(arp(1, THEIRS, OTHER, ADDRESS), None, id="somebody asks for it"),
        pytest.param(arp(2, THEIRS, OTHER, NOBODY), None, id="of another address"),
        pytest.param(arp(3, THEIRS, ADDRESS, NOBODY), None, id="RARP"),
        pytest.param(arp(2, THEIRS, ADDRESS, NOBODY, "000608000604"), None, id="no Ethernet"),
        pytest.param(arp(2, THEIRS, ADDRESS, NOBODY)[:27], None, id="too short"),
    ],
)
def test_claims(packet: bytes, claimant: bytes | None) -> None:
    assert find_claim(packet, ADDRESS, MAC) == claimant


@given(st.binary(max_size=60))
def test_any_bytes_are_a_claim_or_none(packet: bytes) -> None:
    claimant = find_claim(packet, ADDRESS, MAC)
    assert claimant is None or len(claimant) == 6
