"""The VXLAN backend: device names in 15 bytes, what is published, and direct routes."""

from ipaddress import ip_address

import pytest
from msgspec.structs import replace

from podway.compute.backends import backend_of, host_gw, vxlan
from podway.compute.node import compute_own, compute_peer
from podway.diff.order import device_of
from podway.model.addresses import Family
from podway.model.kernel import FdbEntry, Link, Neighbour, Offload, Route, Vxlan
from podway.model.networks import HostGwConfig, VxlanConfig
from podway.model.nodes import Identity, VtepData
from unit.compute.clusters import DUAL, IPV4, IPV6, UPLINK, network_of, node_of, place_of


@pytest.mark.parametrize(
    ("vni", "family", "name"),
    [
        pytest.param(1, IPV4, "podway.1", id="IPv4 least"),
        pytest.param(16777215, IPV4, "podway.16777215", id="IPv4 greatest: 15 bytes"),
        pytest.param(1, IPV6, "podway-v6.1", id="IPv6 least"),
        pytest.param(99999, IPV6, "podway-v6.99999", id="IPv6, the last that fits: 15 bytes"),
        pytest.param(100000, IPV6, "pw6.100000", id="IPv6, the first that does not"),
        pytest.param(16777215, IPV6, "pw6.16777215", id="IPv6 greatest"),
    ],
)
def test_device_names(vni: int, family: Family, name: str) -> None:
    assert vxlan.device_name(vni, family) == name
    assert len(name.encode()) <= 15


@pytest.mark.parametrize("vni", [1, 4096, 99999, 100000, 16777215])
def test_everything_stands_on_the_device_that_is_made(vni: int) -> None:
    place = place_of(network_of(VxlanConfig(vni=vni), DUAL))
    made = {item.name for item in compute_own(place) if isinstance(item, Link)} - {"cni0"}
    assert len(made) == 2
    peer = compute_peer(place, node_of(place.network, 2)).objects
    assert {device_of(item) for item in peer} == made


def test_the_parameters_of_the_device_are_the_configured_ones() -> None:
    config = VxlanConfig(vni=77, port=4789, gbp=True, learning=True)
    place = place_of(network_of(config))
    link = next(item for item in compute_own(place) if isinstance(item, Link))
    assert link.kind == Vxlan(
        vni=77,
        local=place.me.leases[0].public_ip,
        underlay="eth0",
        port=4789,
        gbp=True,
        learning=True,
    )


def test_what_is_published_differs_by_node_family_and_vni() -> None:
    def mac(name: str, family: Family, vni: int) -> str:
        data = vxlan.publish(network_of(VxlanConfig(vni=vni)), Identity(name=name), family)
        assert isinstance(data, VtepData)
        assert data.vni == vni
        return data.mac

    macs = {mac(name, family, vni) for name in ("a", "b") for family in DUAL for vni in (1, 2)}
    assert len(macs) == 8
    assert mac("a", IPV4, 1) == mac("a", IPV4, 1)


def test_host_gw_publishes_and_holds_nothing() -> None:
    network = network_of(HostGwConfig(), DUAL)
    assert host_gw.publish(network, Identity(name="a"), IPV4) is None
    assert host_gw.compute_node(network, node_of(network, 1), UPLINK) == ()
    assert [backend_of(network).overhead(family) for family in DUAL] == [0, 0]


@pytest.mark.parametrize(
    ("on_link", "direct_routing", "device"),
    [
        pytest.param(True, True, "eth0", id="on the link, direct"),
        pytest.param(False, True, "podway.1", id="elsewhere, direct"),
        pytest.param(True, False, "podway.1", id="on the link, tunnel"),
        pytest.param(False, False, "podway.1", id="elsewhere, tunnel"),
    ],
)
def test_direct_routing(*, on_link: bool, direct_routing: bool, device: str) -> None:
    place = place_of(network_of(VxlanConfig(direct_routing=direct_routing)))
    objects = compute_peer(place, node_of(place.network, 2, on_link=on_link)).objects
    routes = [item for item in objects if isinstance(item, Route)]
    assert [route.dev for route in routes] == [device]
    tunnel = [item for item in objects if isinstance(item, Neighbour | FdbEntry)]
    assert bool(tunnel) == (device != "eth0")
    assert routes[0].onlink == (device != "eth0")


def test_direct_routing_decides_for_each_family() -> None:
    """The uplink has an IPv4 address only, so the peer's IPv6 address is not on its link."""
    uplink = replace(UPLINK, addresses=UPLINK.addresses[:1])
    place = place_of(network_of(VxlanConfig(direct_routing=True), DUAL), uplink)
    objects = compute_peer(place, node_of(place.network, 2)).objects
    devices = {item.dst.version: item.dev for item in objects if isinstance(item, Route)}
    assert devices == {4: "eth0", 6: "podway-v6.1"}


@pytest.mark.parametrize("offload", [None, True, False])
def test_checksum_offload_is_left_alone_unless_configured(offload: bool | None) -> None:  # noqa: FBT001
    place = place_of(network_of(VxlanConfig(checksum_offload=offload), DUAL))
    found = [item for item in compute_own(place) if isinstance(item, Offload)]
    expected = (
        [] if offload is None else [Offload("podway.1", offload), Offload("podway-v6.1", offload)]
    )
    assert found == expected


def test_behind_a_translation_the_vtep_sends_from_the_nodes_own_address() -> None:
    """What peers are told is not an address of the node's: the kernel could not send from it."""
    place = place_of(network_of())
    lease = replace(place.me.leases[0], public_ip=ip_address("203.0.113.7"))
    own = compute_own(replace(place, me=replace(place.me, leases=(lease,))))
    vtep = next(item for item in own if isinstance(item, Link))
    assert isinstance(vtep.kind, Vxlan)
    assert vtep.kind.local == ip_address("192.0.2.11")
