"""What an ADD answers: addresses, gateways and routes as the pod really gets them."""

import pytest
from msgspec.structs import replace

from podway.compute.node import compute_endpoint, compute_own
from podway.compute.results import compute_result
from podway.model.kernel import Link, Veth
from podway.model.networks import Attach
from unit.compute.clusters import DUAL, endpoint_of, network_of, place_of


@pytest.mark.parametrize("attach", ["bridge", "routed"])
@pytest.mark.parametrize("mac", ["", "02:00:00:00:00:07"])
def test_the_result_says_what_is_made(attach: Attach, mac: str) -> None:
    place = place_of(network_of(families=DUAL, attach=attach))
    endpoint = replace(endpoint_of(place, 5), mac=mac)
    link = compute_endpoint(place, endpoint)[0]
    assert isinstance(link, Link)
    assert isinstance(link.kind, Veth)
    pod = link.kind.pod
    assert pod is not None
    result = compute_result(endpoint, place)
    *host, inside = result.interfaces
    assert (inside.name, inside.mac, inside.mtu) == (pod.ifname, pod.mac, pod.mtu)
    assert inside.sandbox == pod.netns
    assert [ip.address for ip in result.ips] == [str(item) for item in pod.addresses]
    assert {ip.interface for ip in result.ips} == {len(host)}
    defaults = [route for route in pod.routes if route.dst.prefixlen == 0]
    assert [ip.gateway for ip in result.ips] == [str(route.via) for route in defaults]
    assert [(route.dst, route.gw, route.mtu) for route in result.routes] == [
        (str(route.dst), str(route.via), route.mtu) for route in defaults
    ]


@pytest.mark.parametrize("attach", ["bridge", "routed"])
def test_the_interfaces_of_the_host_are_the_ones_that_the_node_has(attach: Attach) -> None:
    place = place_of(network_of(families=DUAL, attach=attach))
    endpoint = endpoint_of(place, 5)
    objects = [*compute_own(place), *compute_endpoint(place, endpoint)]
    made = {item.name: item for item in objects if isinstance(item, Link)}
    *host, _ = compute_result(endpoint, place).interfaces
    names = ["cni0", endpoint.host_ifname] if attach == "bridge" else [endpoint.host_ifname]
    assert [interface.name for interface in host] == names
    for interface in host:
        assert not interface.sandbox
        assert (interface.mac or None) == made[interface.name].mac
