"""A network of several prefixes: every backend leads to every one of them, and only to those."""

from collections.abc import Iterable
from ipaddress import ip_network

import pytest
from msgspec.structs import replace

from podway.compute.node import Place, compute_node_program, compute_own, compute_peer
from podway.model.addresses import IPNetwork, family_of, prefix_contains
from podway.model.kernel import AllowedIp, KernelObject, Route, UdpPeer
from podway.model.networks import ExtensionConfig
from podway.model.nodes import Node
from unit.compute.clusters import (
    BACKENDS,
    DUAL,
    IPV4,
    IPV4_ALONE,
    network_of,
    node_of,
    place_of,
)

FURTHER4, FURTHER6 = ip_network("10.99.0.0/16"), ip_network("fd00:99::/48")
IN_FURTHER = {4: ip_network("10.99.7.0/24"), 6: ip_network("fd00:99:0:7::/64")}


def place_in(backend: str) -> Place:
    ipv4 = backend in IPV4_ALONE
    further = (FURTHER4,) if ipv4 else (FURTHER4, FURTHER6)
    families = (IPV4,) if ipv4 else DUAL
    return place_of(network_of(BACKENDS[backend], families, further=map(str, further)))


def moved(node: Node) -> Node:
    """Return *node* with leases in the further prefixes."""
    leases = tuple(replace(lease, subnet=IN_FURTHER[lease.subnet.version]) for lease in node.leases)
    return replace(node, leases=leases)


def routes_to(objects: Iterable[KernelObject], subnet: IPNetwork) -> list[Route]:
    return [
        item for item in objects if isinstance(item, Route) and prefix_contains(item.dst, subnet)
    ]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_peer_is_reached_in_whichever_prefix_it_has_its_lease(backend: str) -> None:
    place = place_in(backend)
    for peer in (node_of(place.network, 2), moved(node_of(place.network, 2))):
        plan = compute_peer(place, peer)
        assert plan.skipped == ()
        for lease in peer.leases:
            (route,) = routes_to([*compute_own(place), *plan.objects], lease.subnet)
            assert route.kind == "unicast"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_node_may_have_its_own_lease_in_any_prefix(backend: str) -> None:
    place = place_in(backend)
    elsewhere = replace(place, me=moved(place.me))
    assert set(elsewhere.mtus) == set(place.mtus)
    peer = node_of(place.network, 2)
    assert compute_peer(elsewhere, peer) == compute_peer(place, peer)


@pytest.mark.parametrize("backend", ["udp", "wireguard"])
def test_backends_that_lead_whole_prefixes_into_their_device(backend: str) -> None:
    place = place_in(backend)
    routes = [item for item in compute_own(place) if isinstance(item, Route)]
    led = [route for route in routes if route.dst in (FURTHER4, FURTHER6)]
    assert len(led) == 2
    firsts = [routes_to(routes, subnet.subnet)[0] for subnet in place.me.leases]
    # They differ in what they lead to, and in nothing else.
    by_family = {family_of(route.dst): route for route in firsts}
    assert [replace(route, dst=by_family[family_of(route.dst)].dst) for route in led] == [
        by_family[family_of(route.dst)] for route in led
    ]
    entries = compute_peer(place, moved(node_of(place.network, 2))).objects
    prefixes = {item.prefix for item in entries if isinstance(item, AllowedIp | UdpPeer)}
    assert prefixes == set(IN_FURTHER.values())


def test_programs_of_an_extension_are_told_all_prefixes() -> None:
    config = ExtensionConfig(post_startup=("post", "$NETWORK"))
    place = place_of(network_of(config, DUAL, further=(str(FURTHER4),)))
    program = compute_node_program(place)
    assert program is not None
    assert program.do == ("post", "10.244.0.0/16,10.99.0.0/16")
    assert program.variables["IPV6NETWORK"] == "fd00:10:244::/48"
