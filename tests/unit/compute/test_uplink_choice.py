"""Which interface leads to the peers: flannel's order, and two where the families are apart."""

from ipaddress import ip_address, ip_interface

import pytest

from podway.compute.backends import host_gw, vxlan
from podway.compute.node import compute_own, compute_peer
from podway.compute.onlink import is_on_link
from podway.compute.uplinks import choose_uplink, join_uplinks, local_address, public_addresses
from podway.model.addresses import Family
from podway.model.kernel import Link, Route, Vxlan
from podway.model.networks import HostGwConfig, VxlanConfig
from podway.model.nodes import Uplink, UplinkChoice
from unit.compute.clusters import DUAL, IPV4, IPV6, network_of, node_of, place_of


def device(dev: str, *addresses: str, mtu: int = 1500) -> Uplink:
    return Uplink(dev=dev, mtu=mtu, addresses=tuple(map(ip_interface, addresses)))


LO = device("lo", "127.0.0.1/8", "::1/128")
ETH0 = device("eth0", "192.0.2.11/24", "192.0.2.12/24", "fe80::1/64")
ETH1 = device("eth1", "198.51.100.11/24", "2001:db8:0:1::11/64")
SIX = device("six0", "2001:db8:0:2::11/64", mtu=9000)
BARE = device("bare0")
ALL = (LO, ETH0, ETH1, SIX, BARE)


@pytest.mark.parametrize(
    ("names", "patterns", "devices"),
    [
        pytest.param(("eth1",), (), ("eth1",), id="a name"),
        pytest.param(("nothing", "eth1"), (), ("eth1",), id="the first name that there is"),
        pytest.param(("eth0", "eth1"), (), ("eth0", "eth1"), id="the second for IPv6"),
        pytest.param(("eth1", "eth0"), (), ("eth1",), id="the first has both"),
        pytest.param(("six0", "eth0"), (), ("eth0", "six0"), id="IPv6 first, IPv4 elsewhere"),
        pytest.param(("198.51.100.11",), (), ("eth1",), id="an address"),
        pytest.param(("bare0",), (), ("bare0",), id="one without addresses"),
        pytest.param((), (r"^198\.51\.",), ("eth1",), id="a pattern for an address"),
        pytest.param((), ("eth.*",), ("eth0", "eth1"), id="a pattern for names"),
        pytest.param((), ("11$", "eth1"), ("eth0", "eth1"), id="addresses before names"),
        pytest.param(("nothing",), ("^six",), ("six0",), id="patterns after names"),
    ],
)
def test_choice(
    names: tuple[str, ...], patterns: tuple[str, ...], devices: tuple[str, ...]
) -> None:
    found = choose_uplink(ALL, UplinkChoice(names=names, patterns=patterns))
    assert found is not None
    assert found.devices == devices


def test_nothing_matches() -> None:
    assert choose_uplink(ALL, UplinkChoice(names=("x",), patterns=("^y",))) is None


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(UplinkChoice(names=("192.0.2.12",)), id="named"),
        pytest.param(UplinkChoice(patterns=(r"2\.12$",)), id="found by a pattern"),
    ],
)
def test_an_address_that_was_meant_is_the_public_one(choice: UplinkChoice) -> None:
    found = choose_uplink(ALL, choice)
    assert found is not None
    assert public_addresses(network_of(), found, ()) == {IPV4: ip_address("192.0.2.12")}


APART = join_uplinks([ETH0, SIX])


def test_each_family_has_its_own_interface() -> None:
    assert (APART.of(IPV4).dev, APART.of(IPV6).dev) == ("eth0", "six0")
    assert public_addresses(network_of(families=DUAL), APART, ()) == {
        IPV4: ip_address("192.0.2.11"),
        IPV6: ip_address("2001:db8:0:2::11"),
    }
    assert local_address(APART, ip_address("2001:db8:0:2::11")) == ip_address("2001:db8:0:2::11")
    assert local_address(APART, ip_address("2001:db8:f::1")) == ip_address("2001:db8:0:2::11")
    assert is_on_link(APART, ip_address("2001:db8:0:2::12"))
    assert is_on_link(APART, ip_address("192.0.2.99"))
    assert not is_on_link(APART, ip_address("2001:db8:0:1::12"))


def test_tunnels_stand_on_their_familys_interface_and_have_its_mtu() -> None:
    place = place_of(network_of(VxlanConfig(), DUAL), APART)
    vteps = {
        item.kind.underlay: item.mtu
        for item in compute_own(place)
        if isinstance(item, Link) and isinstance(item.kind, Vxlan)
    }
    assert vteps == {
        "eth0": 1500 - vxlan.overhead(IPV4),
        "six0": 9000 - vxlan.overhead(IPV6),
    }
    assert place.mtus == {IPV4: 1450, IPV6: 8930}


def test_routes_leave_by_their_familys_interface() -> None:
    place = place_of(network_of(HostGwConfig(), DUAL), join_uplinks([ETH0, SIX]))
    plan = compute_peer(place, node_of(place.network, 2))
    found = {item.dst.version: item.dev for item in plan.objects if isinstance(item, Route)}
    assert found == {4: "eth0"}
    assert len(plan.skipped) == 1
    assert "six0" in plan.skipped[0]
    assert [host_gw.overhead(family) for family in Family] == [0, 0]
