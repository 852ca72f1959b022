"""The wireguard backend: which device carries what, over which family, and who is skipped."""

from ipaddress import ip_address
from typing import Any

import pytest
from msgspec.structs import replace

from podway.compute.backends import backend_of, wireguard
from podway.compute.node import compute_own, compute_peer
from podway.model.addresses import Family
from podway.model.kernel import AllowedIp, Link, WireguardDevice, WireguardPeer
from podway.model.networks import WireguardConfig
from podway.model.nodes import Identity, Node, WireguardData
from podway.model.secret import Secret
from unit.compute.clusters import DUAL, IPV4, IPV6, network_of, node_of, place_of

KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI="


def config(mode: Any = "separate", **fields: Any) -> WireguardConfig:
    return WireguardConfig(mode=mode, **fields)


def reached(node: Node, peer: Node, mode: str) -> list[tuple[str, str, int]]:
    """Return device, endpoint and port of *peer* as *node* has them."""
    place = replace(place_of(network_of(config(mode), DUAL)), me=node)
    found = [item for item in compute_peer(place, peer).objects if isinstance(item, WireguardPeer)]
    return [(item.dev, str(item.endpoint), item.port) for item in found]


def at(number: int, ipv4: str | None, ipv6: str | None, mode: str = "auto") -> Node:
    """Return node *number* with these public addresses."""
    node = node_of(network_of(config(mode), DUAL), number)
    texts = (ipv4, ipv6)
    pairs = zip(node.leases, texts, strict=True)
    return replace(
        node, leases=tuple(replace(a, public_ip=ip_address(b)) for a, b in pairs if b is not None)
    )


@pytest.mark.parametrize(
    ("mode", "devices"),
    [
        pytest.param("separate", {"podway-wg": 51820, "podway-wg-v6": 51821}, id="separate"),
        pytest.param("auto", {"podway-wg": 51820}, id="auto"),
        pytest.param("ipv4", {"podway-wg": 51820}, id="ipv4"),
        pytest.param("ipv6", {"podway-wg": 51820}, id="ipv6"),
    ],
)
def test_devices(mode: str, devices: dict[str, int]) -> None:
    place = place_of(network_of(config(mode), DUAL))
    own = compute_own(place)
    found = {item.dev: item.listen_port for item in own if isinstance(item, WireguardDevice)}
    assert found == devices
    links = [item for item in own if isinstance(item, Link) and item.name != "cni0"]
    assert {item.name: item.mtu for item in links} == dict.fromkeys(devices, 1420)
    published = {
        lease.data.port for lease in place.me.leases if isinstance(lease.data, WireguardData)
    }
    assert published == set(devices.values())


def test_separate_reaches_each_family_over_itself() -> None:
    place = place_of(network_of(config(), DUAL))
    objects = compute_peer(place, node_of(place.network, 2)).objects
    peers = [item for item in objects if isinstance(item, WireguardPeer)]
    assert [(item.dev, str(item.endpoint), item.port) for item in peers] == [
        ("podway-wg", "192.0.2.12", 51820),
        ("podway-wg-v6", "2001:db8:0:1::12", 51821),
    ]
    allowed = [(item.dev, str(item.prefix)) for item in objects if isinstance(item, AllowedIp)]
    assert allowed == [("podway-wg", "10.244.2.0/24"), ("podway-wg-v6", "fd00:10:244:2::/64")]


PUBLIC4, PRIVATE4 = "198.51.100.2", "192.168.0.2"
PUBLIC6, PRIVATE6 = "2001:db8::2", "fd00:aaaa::2"


@pytest.mark.parametrize(
    ("mode", "mine", "theirs", "endpoint"),
    [
        pytest.param("ipv4", (PUBLIC4, PUBLIC6), (PUBLIC4, PUBLIC6), PUBLIC4, id="ipv4"),
        pytest.param("ipv6", (PUBLIC4, PUBLIC6), (PUBLIC4, PUBLIC6), PUBLIC6, id="ipv6"),
        pytest.param("auto", (PUBLIC4, None), (PUBLIC4, PUBLIC6), PUBLIC4, id="I have no IPv6"),
        pytest.param("auto", (PUBLIC4, PUBLIC6), (PRIVATE4, None), PRIVATE4, id="it has no IPv6"),
        pytest.param("auto", (None, PUBLIC6), (PUBLIC4, PUBLIC6), PUBLIC6, id="I have no IPv4"),
        pytest.param("auto", (PUBLIC4, PUBLIC6), (PUBLIC4, PUBLIC6), PUBLIC4, id="public IPv4"),
        pytest.param("auto", (PRIVATE4, PUBLIC6), (PRIVATE4, PUBLIC6), PUBLIC6, id="public IPv6"),
        pytest.param("auto", (PRIVATE4, PRIVATE6), (PRIVATE4, PUBLIC6), PRIVATE4, id="mine is not"),
        pytest.param("auto", (PRIVATE4, PUBLIC6), (PRIVATE4, PRIVATE6), PRIVATE4, id="its is not"),
    ],
)
def test_the_family_outside(
    mode: str,
    mine: tuple[str | None, str | None],
    theirs: tuple[str | None, str | None],
    endpoint: str,
) -> None:
    me, peer = at(1, *mine, mode=mode), at(2, *theirs, mode=mode)
    other = {PUBLIC4: "198.51.100.9", PRIVATE4: "192.168.0.9", PUBLIC6: "2001:db8::9"}
    other[PRIVATE6] = "fd00:aaaa::9"
    leases = tuple(
        replace(lease, public_ip=ip_address(other[str(lease.public_ip)])) for lease in me.leases
    )
    assert reached(replace(me, leases=leases), peer, mode) == [("podway-wg", endpoint, 51820)]


def test_one_device_carries_both_families() -> None:
    place = place_of(network_of(config("ipv4"), DUAL))
    objects = compute_peer(place, node_of(place.network, 2)).objects
    assert {str(item.prefix) for item in objects if isinstance(item, AllowedIp)} == {
        "10.244.2.0/24",
        "fd00:10:244:2::/64",
    }


def test_a_peer_that_publishes_the_wrong_port_for_ipv6_is_reached_by_the_ipv4_one() -> None:
    """As flanneld does with one device for both families."""
    peer = at(2, PRIVATE4, PUBLIC6)
    wrong = replace(peer.leases[1], data=WireguardData(public_key=KEY, port=51821))
    peer = replace(peer, leases=(peer.leases[0], wrong))
    assert reached(at(1, "192.168.0.9", "2001:db8::9"), peer, "auto") == [
        ("podway-wg", PUBLIC6, 51820)
    ]


def test_a_peer_that_publishes_no_port_listens_on_ours() -> None:
    place = place_of(network_of(config(listen_port=7777)))
    peer = node_of(place.network, 2)
    lease = replace(peer.leases[0], data=WireguardData(public_key=KEY))
    (target, _) = compute_peer(place, replace(peer, leases=(lease,))).objects
    assert isinstance(target, WireguardPeer)
    assert target.port == 7777


@pytest.mark.parametrize(
    ("mode", "families"),
    [pytest.param("ipv4", (IPV6,), id="ipv4"), pytest.param("ipv6", (IPV4,), id="ipv6")],
)
def test_a_peer_without_the_family_outside_is_skipped(
    mode: str, families: tuple[Family, ...]
) -> None:
    place = place_of(network_of(config(mode), DUAL))
    plan = compute_peer(place, node_of(place.network, 2, families=families))
    assert plan.objects == ()
    assert len(plan.skipped) == 1
    assert mode in plan.skipped[0]


@pytest.mark.parametrize("key", ["", "short", "A" * 44, "A" * 43 + "\n"])
def test_a_peer_without_a_key_is_skipped(key: str) -> None:
    place = place_of(network_of(config()))
    peer = node_of(place.network, 2)
    lease = replace(peer.leases[0], data=WireguardData(public_key=key, port=1))
    plan = compute_peer(place, replace(peer, leases=(lease,)))
    assert plan.objects == ()
    assert plan.skipped == ("node-2 publishes no WireGuard key",)


@pytest.mark.parametrize("mode", ["separate", "auto"])
def test_a_peer_with_this_nodes_own_key_is_skipped(mode: str) -> None:
    """A machine that was copied with its disk: the kernel would say yes, and have no such peer."""
    place = place_of(network_of(config(mode), DUAL))
    peer = node_of(place.network, 2)
    pairs = zip(peer.leases, place.me.leases, strict=True)
    twin = replace(peer, leases=tuple(replace(its, data=own.data) for its, own in pairs))
    plan = compute_peer(place, twin)
    assert plan.objects == ()
    assert plan.skipped
    assert all("own key" in text for text in plan.skipped)


def test_what_is_configured_is_on_every_peer() -> None:
    psk = Secret(KEY)
    place = place_of(network_of(config(psk=psk, keepalive_s=25), DUAL))
    for item in compute_peer(place, node_of(place.network, 2)).objects:
        if isinstance(item, WireguardPeer):
            assert (item.psk, item.keepalive_s) == (psk, 25)


def test_a_node_without_a_key_publishes_nothing() -> None:
    network = network_of(config())
    assert backend_of(network) is wireguard
    assert wireguard.publish(network, Identity(name="a"), IPV4) is None
