"""The udp backend: one route for all peers, entries of the relay's table, who takes segments."""

from ipaddress import ip_address, ip_network

import pytest
from msgspec.structs import replace

from podway.compute.backends import udp
from podway.compute.node import compute_own, compute_peer
from podway.model.addresses import Family
from podway.model.kernel import Address, Link, Route, Tun, UdpPeer, UdpRelay
from podway.model.networks import UdpConfig
from podway.model.nodes import Identity, UdpData
from unit.compute.clusters import DUAL, IPV4, IPV6, network_of, node_of, place_of


def test_the_mtu_of_the_device_is_flannels() -> None:
    place = place_of(network_of(UdpConfig()))
    link = next(item for item in compute_own(place) if isinstance(item, Link))
    assert (link.name, link.kind, link.mtu) == ("podway0", Tun(), 1500 - 28)


def test_dual_stack_has_the_larger_mtu_and_a_route_with_the_smaller() -> None:
    place = place_of(network_of(UdpConfig(), DUAL))
    own = compute_own(place)
    link = next(item for item in own if isinstance(item, Link))
    routes = {item.dst.version: item for item in own if isinstance(item, Route)}
    assert link.mtu == 1472
    assert (routes[4].mtu, routes[6].mtu) == (0, 1452)
    assert {route.dev for route in routes.values()} == {"podway0"}
    assert [str(routes[4].dst), str(routes[6].dst)] == ["10.244.0.0/16", "fd00:10:244::/48"]


def test_the_address_is_the_first_of_the_subnet_alone() -> None:
    own = compute_own(place_of(network_of(UdpConfig(), DUAL)))
    held = [
        str(item.address) for item in own if isinstance(item, Address) and item.dev == "podway0"
    ]
    assert held == ["10.244.1.0/32", "fd00:10:244:1::/128"]


def test_the_relay_knows_its_own() -> None:
    own = compute_own(place_of(network_of(UdpConfig(port=9000), DUAL)))
    assert [item for item in own if isinstance(item, UdpRelay)] == [
        UdpRelay(
            dev="podway0",
            port=9000,
            addresses=(ip_address("192.0.2.11"), ip_address("2001:db8:0:1::11")),
            subnets=(ip_network("10.244.1.0/24"), ip_network("fd00:10:244:1::/64")),
        )
    ]


@pytest.mark.parametrize(
    ("data", "port", "segments"),
    [
        pytest.param(UdpData(formats=("segments",)), 8285, True, id="podway"),
        pytest.param(UdpData(formats=("segments", "later")), 8285, True, id="a newer podway"),
        pytest.param(UdpData(formats=("later",)), 8285, False, id="another format alone"),
        pytest.param(UdpData(formats=("segments",), port=9), 9, True, id="a port of its own"),
        pytest.param(None, 8285, False, id="flanneld"),
    ],
)
def test_peers(data: UdpData | None, port: int, segments: bool) -> None:  # noqa: FBT001
    place = place_of(network_of(UdpConfig()))
    peer = node_of(place.network, 2, on_link=False)
    peer = replace(peer, leases=(replace(peer.leases[0], data=data),))
    assert compute_peer(place, peer).objects == (
        UdpPeer(
            dev="podway0",
            prefix=ip_network("10.244.2.0/24"),
            public_ip=ip_address("198.51.100.12"),
            port=port,
            segments=segments,
        ),
    )


@pytest.mark.parametrize("family", [IPV4, IPV6])
def test_a_node_publishes_its_format(family: Family) -> None:
    network = network_of(UdpConfig(), DUAL)
    published = udp.publish(network, Identity(name="node-1"), family)
    assert published == UdpData(formats=("segments",))
