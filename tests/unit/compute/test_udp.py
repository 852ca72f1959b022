"""The udp backend: one route for all peers, entries of the relay's table, who takes segments."""

from ipaddress import ip_address, ip_network

import pytest
from msgspec.structs import replace

from podway.compute.backends import udp
from podway.compute.node import compute_endpoint, compute_own, compute_peer
from podway.model.addresses import Family
from podway.model.kernel import Address, Link, Route, Tun, UdpPeer, UdpRelay, Veth
from podway.model.networks import UdpConfig, VxlanConfig
from podway.model.nodes import Identity, UdpData
from podway.udp.cutting import cut
from unit.compute.clusters import (
    DUAL,
    IPV4,
    IPV6,
    endpoint_of,
    network_of,
    node_of,
    place_of,
)


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


@pytest.mark.parametrize(
    ("mtus", "expected"),
    [
        pytest.param({Family.IPV4: 1472}, 63_900, id="IPv4"),
        pytest.param({Family.IPV6: 1452}, 62_100, id="IPv6"),
        pytest.param({Family.IPV4: 1472, Family.IPV6: 1452}, 62_100, id="dual stack"),
        pytest.param({Family.IPV4: 8972}, None, id="jumbo frames: all fit anyway"),
    ],
)
def test_what_a_pod_makes_in_one_go_is_one_send(
    mtus: dict[Family, int], expected: int | None
) -> None:
    size = udp.pod_gso_max_size(mtus)
    assert size == expected
    for family, mtu in mtus.items():
        header = (20 if family is Family.IPV4 else 40) + 32
        # net/core/sock.c, sk_setup_caps: room for the longest header is left out, 320 bytes or so.
        segments = ((size or 65536) - 300) // (mtu - header)
        assert len(cut(segments * (mtu - header), mtu - header, header)) == 1
        assert (segments + 1) * mtu > 63_000


def test_pods_of_other_backends_make_what_they_like() -> None:
    for backend, expected in ((UdpConfig(), 62_100), (VxlanConfig(), None)):
        place = place_of(network_of(backend, DUAL))
        link, *_ = compute_endpoint(place, endpoint_of(place, 5))
        assert isinstance(link, Link)
        assert isinstance(link.kind, Veth)
        assert link.kind.pod is not None
        assert link.kind.pod.gso_max_size == expected


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
