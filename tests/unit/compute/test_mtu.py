"""MTUs in bytes, per family and per way; where they end up on devices and routes."""

import pytest
from msgspec.structs import replace

from podway.compute.mtu import interface_mtu, path_mtus, too_small, underlay_mtu
from podway.compute.node import compute_endpoint, compute_own
from podway.model.addresses import Family
from podway.model.kernel import Link, Veth
from podway.model.networks import Attach, BackendConfig, HostGwConfig, VxlanConfig
from unit.compute.clusters import (
    DUAL,
    IPV4,
    IPV6,
    UPLINK,
    endpoint_of,
    network_of,
    place_of,
)


@pytest.mark.parametrize(
    ("backend", "uplink_mtu", "underlay"),
    [
        pytest.param(VxlanConfig(), 1500, 1500, id="vxlan takes the uplink's"),
        pytest.param(VxlanConfig(), 9000, 9000, id="jumbo frames"),
        pytest.param(VxlanConfig(mtu=1400), 1500, 1400, id="a smaller one is configured"),
        pytest.param(VxlanConfig(mtu=9000), 1500, 1500, id="never more than the uplink carries"),
        pytest.param(HostGwConfig(), 1500, 1500, id="host-gw"),
    ],
)
def test_underlay(backend: BackendConfig, uplink_mtu: int, underlay: int) -> None:
    network = network_of(backend)
    assert underlay_mtu(network, replace(UPLINK, mtu=uplink_mtu), Family.IPV4) == underlay


# RFC 7348: outer IP (20 or 40) + UDP (8) + VXLAN (8) + inner Ethernet (14).
@pytest.mark.parametrize(
    ("backend", "families", "paths", "interface"),
    [
        pytest.param(VxlanConfig(), (IPV4,), {IPV4: 1450}, 1450, id="vxlan IPv4"),
        pytest.param(VxlanConfig(), (IPV6,), {IPV6: 1430}, 1430, id="vxlan IPv6"),
        pytest.param(VxlanConfig(), DUAL, {IPV4: 1450, IPV6: 1430}, 1450, id="vxlan dual"),
        pytest.param(
            VxlanConfig(mtu=1400), DUAL, {IPV4: 1350, IPV6: 1330}, 1350, id="vxlan configured"
        ),
        pytest.param(
            VxlanConfig(direct_routing=True),
            DUAL,
            {IPV4: 1450, IPV6: 1430},
            1450,
            id="direct routing: some peers are still behind the tunnel",
        ),
        pytest.param(HostGwConfig(), DUAL, {IPV4: 1500, IPV6: 1500}, 1500, id="host-gw dual"),
    ],
)
def test_paths(
    backend: BackendConfig, families: tuple[Family, ...], paths: dict[Family, int], interface: int
) -> None:
    place = place_of(network_of(backend, families))
    assert place.mtus == paths
    assert interface_mtu(place.mtus) == interface


def test_a_path_costs_what_the_backend_says() -> None:
    network = network_of(families=DUAL)
    costs = {IPV4: 1, IPV6: 2}
    assert path_mtus(network, UPLINK, costs.__getitem__) == {IPV4: 1499, IPV6: 1498}


@pytest.mark.parametrize(
    ("paths", "small"),
    [
        pytest.param({IPV4: 500}, False, id="IPv4 may be small"),
        pytest.param({IPV6: 1280}, False, id="IPv6 at its least"),
        pytest.param({IPV4: 1300, IPV6: 1280}, False, id="dual at its least"),
        pytest.param({IPV6: 1279}, True, id="IPv6 one byte short"),
        pytest.param({IPV4: 1450, IPV6: 1230}, True, id="dual, IPv6 too small"),
    ],
)
def test_too_small(paths: dict[Family, int], *, small: bool) -> None:
    reason = too_small(paths)
    assert (reason is not None) == small
    if reason is not None:
        missing = 1280 - paths[IPV6]
        assert str(paths[IPV6]) in reason
        assert f"raise the underlay's MTU by {missing} bytes" in reason


def links_of(place_families: tuple[Family, ...], attach: Attach) -> dict[str, Link]:
    place = place_of(network_of(families=place_families, attach=attach))
    objects = [*compute_own(place), *compute_endpoint(place, endpoint_of(place, 5))]
    return {item.name: item for item in objects if isinstance(item, Link)}


def test_devices_of_a_dual_stack_node() -> None:
    links = links_of(DUAL, "bridge")
    assert {name: link.mtu for name, link in links.items() if not name.startswith("pw")} == {
        "podway.1": 1450,
        "podway-v6.1": 1430,
        "cni0": 1450,
    }


@pytest.mark.parametrize("attach", ["bridge", "routed"])
@pytest.mark.parametrize(
    ("families", "mtus"),
    [
        pytest.param((IPV4,), {4: 0}, id="IPv4: the device's"),
        pytest.param((IPV6,), {6: 0}, id="IPv6: the device's"),
        pytest.param(DUAL, {4: 0, 6: 1430}, id="dual: IPv6 has its own"),
    ],
)
def test_default_routes_of_a_pod(
    attach: Attach, families: tuple[Family, ...], mtus: dict[int, int]
) -> None:
    link = next(link for link in links_of(families, attach).values() if link.kind.__class__ is Veth)
    assert isinstance(link.kind, Veth)
    pod = link.kind.pod
    assert pod is not None
    assert pod.mtu == link.mtu == (1430 if families == (IPV6,) else 1450)
    defaults = [route for route in pod.routes if route.dst.prefixlen == 0]
    assert {route.dst.version: route.mtu for route in defaults} == mtus
