"""The ipip backend: one device, one route for each peer, IPv4 alone."""

from ipaddress import IPv4Address, ip_address, ip_interface

import pytest
from msgspec.structs import replace

from podway.compute.node import compute_own, compute_peer
from podway.model.kernel import Ipip, Link, Route
from podway.model.networks import IpipConfig
from unit.compute.clusters import IPV6, UPLINK, network_of, node_of, place_of

NETWORK = network_of(IpipConfig())


@pytest.mark.parametrize(
    ("direct", "on_link", "dev", "onlink"),
    [
        pytest.param(False, True, "podway.ipip", True, id="on the link, tunnel"),
        pytest.param(False, False, "podway.ipip", True, id="behind a router, tunnel"),
        pytest.param(True, True, "eth0", False, id="on the link, DirectRouting"),
        pytest.param(True, False, "podway.ipip", True, id="behind a router, DirectRouting"),
    ],
)
def test_a_peer_is_one_route(direct: bool, on_link: bool, dev: str, onlink: bool) -> None:  # noqa: FBT001
    network = network_of(IpipConfig(direct_routing=direct))
    peer = node_of(network, 2, on_link=on_link)
    (route,) = compute_peer(place_of(network), peer).objects
    assert isinstance(route, Route)
    assert (route.dev, route.onlink, route.via) == (dev, onlink, peer.leases[0].public_ip)


@pytest.mark.parametrize(
    ("public_ip", "local"),
    [
        pytest.param("192.0.2.11", "192.0.2.11", id="an address of its own"),
        pytest.param("203.0.113.7", "192.0.2.11", id="published for it by a translation"),
    ],
)
def test_packets_leave_from_an_address_that_the_node_has(public_ip: str, local: str) -> None:
    place = place_of(NETWORK)
    lease = replace(place.me.leases[0], public_ip=ip_address(public_ip))
    place = replace(place, me=replace(place.me, leases=(lease,)))
    link = next(item for item in compute_own(place) if isinstance(item, Link))
    assert link.kind == Ipip(local=IPv4Address(local))


@pytest.mark.parametrize(
    ("uplink_mtu", "configured", "mtu"),
    [(1500, 0, 1480), (9000, 0, 8980), (1500, 1400, 1380), (1400, 9000, 1380)],
)
def test_mtu(uplink_mtu: int, configured: int, mtu: int) -> None:
    uplink = replace(UPLINK, mtu=uplink_mtu, addresses=(ip_interface("192.0.2.11/24"),))
    place = place_of(network_of(IpipConfig(mtu=configured)), uplink)
    link = next(item for item in compute_own(place) if isinstance(item, Link))
    assert link.mtu == mtu
    assert set(place.mtus.values()) == {mtu}


def test_a_peer_without_an_ipv4_lease_needs_nothing() -> None:
    peer = replace(node_of(network_of(families=(IPV6,)), 2), backend="ipip")
    assert compute_peer(place_of(NETWORK), peer).objects == ()
