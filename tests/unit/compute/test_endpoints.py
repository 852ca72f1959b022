"""Pods on a bridge and routed pods: the pair, its far end, and what the node adds."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from msgspec.structs import replace

from podway.compute.endpoints import (
    ROUTED_HOST_MAC,
    compute_bridge,
    compute_endpoint,
    compute_unassigned,
)
from podway.compute.gateways import bridge_gateway, gateway, pod_range, routed_gateway
from podway.compute.node import Place
from podway.model.endpoints import Endpoint
from podway.model.instances import BRIDGE_NAME
from podway.model.kernel import Address, KernelObject, Link, PodSide, Route, Sysctl, Veth
from podway.model.networks import Attach
from unit.compute.clusters import DUAL, IPV4, IPV6, endpoint_of, network_of, place_of


def place_with(attach: Attach) -> Place:
    return place_of(network_of(families=DUAL, attach=attach))


def computed(endpoint: Endpoint, place: Place) -> tuple[KernelObject, ...]:
    return compute_endpoint(endpoint, place.subnets, place.mtus)


def split(objects: tuple[KernelObject, ...]) -> tuple[Link, PodSide, tuple[KernelObject, ...]]:
    link, *rest = objects
    assert isinstance(link, Link)
    assert isinstance(link.kind, Veth)
    assert link.kind.pod is not None
    return link, link.kind.pod, tuple(rest)


def test_a_pod_on_the_bridge_is_a_port_and_nothing_else() -> None:
    place = place_with("bridge")
    endpoint = endpoint_of(place, 5)
    link, pod, rest = split(computed(endpoint, place))
    assert rest == ()
    assert (link.name, link.master, link.hairpin) == (endpoint.host_ifname, BRIDGE_NAME, True)
    assert pod.addresses == (
        ip_interface("10.244.1.5/24"),
        ip_interface("fd00:10:244:1::5/64"),
    )
    assert [(route.via, route.dev) for route in pod.routes] == [
        (ip_address("10.244.1.1"), "eth0"),
        (ip_address("fd00:10:244:1::1"), "eth0"),
    ]


def test_a_routed_pod_is_alone_in_its_prefix_and_has_a_route_of_its_own() -> None:
    place = place_with("routed")
    endpoint = endpoint_of(place, 5)
    link, pod, rest = split(computed(endpoint, place))
    host = endpoint.host_ifname
    assert (link.master, link.hairpin, link.mac) == ("", None, ROUTED_HOST_MAC)
    assert pod.addresses == (
        ip_interface("10.244.1.5/32"),
        ip_interface("fd00:10:244:1::5/128"),
    )
    # The way to the gateway comes before the route through it.
    assert [(str(route.dst), str(route.via), route.scope) for route in pod.routes] == [
        ("169.254.1.1/32", "None", "link"),
        ("0.0.0.0/0", "169.254.1.1", "global"),
        ("::/0", "fe80::1", "global"),
    ]
    assert set(rest) == {
        Route(dst=ip_network("10.244.1.5/32"), dev=host, scope="link"),
        Address(host, ip_interface("169.254.1.1/32"), scope="host"),
        Route(dst=ip_network("fd00:10:244:1::5/128"), dev=host, metric=1024),
        Address(host, ip_interface("fe80::1/64")),
        Sysctl(f"ipv6/conf/{host}/accept_ra", "0", host),
    }


@pytest.mark.parametrize("attach", ["bridge", "routed"])
def test_an_address_outside_of_the_nodes_subnets_is_left_out(attach: Attach) -> None:
    """The node leased another subnet while the pod lives on: its address is routed elsewhere."""
    place = place_with(attach)
    endpoint = endpoint_of(place, 5)
    moved = replace(endpoint, addresses=(ip_address("10.244.9.5"), endpoint.addresses[1]))
    link, pod, rest = split(computed(moved, place))
    assert [address.version for address in pod.addresses] == [6]
    assert [route.dst.version for route in pod.routes] == [6]
    assert not any("10.244.9.5" in str(item.key) for item in rest)
    assert link.name == endpoint.host_ifname


@pytest.mark.parametrize("attach", ["bridge", "routed"])
def test_a_family_that_the_node_does_not_have_is_left_out(attach: Attach) -> None:
    dual = place_with(attach)
    ipv6 = place_of(network_of(families=(IPV6,), attach=attach))
    _, pod, _ = split(computed(endpoint_of(dual, 5), ipv6))
    assert pod.addresses == split(computed(endpoint_of(ipv6, 5), ipv6))[1].addresses


@pytest.mark.parametrize("attach", ["bridge", "routed"])
def test_a_requested_mac_wins_over_the_derived_one(attach: Attach) -> None:
    place = place_with(attach)
    endpoint = endpoint_of(place, 5)
    assert split(computed(endpoint, place))[1].mac == "0a:58:0a:f4:01:05"
    asked = replace(endpoint, mac="02:00:00:00:00:07")
    assert split(computed(asked, place))[1].mac == "02:00:00:00:00:07"


@pytest.mark.parametrize("attach", ["bridge", "routed"])
def test_two_interfaces_of_one_container_share_nothing(attach: Attach) -> None:
    place = place_with(attach)
    first = endpoint_of(place, 5)
    second = replace(endpoint_of(place, 6, "net1"), netns=first.netns)
    one, other = computed(first, place), computed(second, place)
    assert not {item.key for item in one} & {item.key for item in other}
    assert split(other)[1].ifname == "net1"
    assert {route.dev for route in split(other)[1].routes} == {"net1"}


# --- names that are too long for the kernel -----------------------------------------------------


@pytest.mark.parametrize("attach", ["bridge", "routed"])
@pytest.mark.parametrize(
    "pod",
    [
        pytest.param("", id="no name"),
        pytest.param("default/" + "p" * 300, id="300 bytes"),
        pytest.param("n" * 63 + "/" + "p" * 253, id="the longest that Kubernetes allows"),
        pytest.param("größe/" + "ü" * 300, id="two bytes per letter"),
        pytest.param("x/" + "ü" * 300, id="two bytes per letter, shifted by one"),
        pytest.param("a/" + "\N{PILE OF POO}" * 100, id="four bytes per letter"),
    ],
)
def test_names_fit_whatever_the_pod_is_called(attach: Attach, pod: str) -> None:
    """IFNAMSIZ is 16 and IFALIASZ 256 bytes, each with a closing zero (linux/if.h)."""
    place = place_with(attach)
    link, _, _ = split(computed(replace(endpoint_of(place, 5), pod=pod), place))
    assert len(link.name.encode()) <= 15
    assert len(link.alias.encode()) <= 255
    assert link.alias.startswith(f"podway:pod {pod}"[:200].encode()[:250].decode(errors="ignore"))


def test_a_short_alias_says_which_pod_and_which_interface() -> None:
    place = place_with("bridge")
    link, _, _ = split(computed(endpoint_of(place, 5), place))
    assert link.alias == "podway:pod default/pod-5 podway/000000000000/eth0"


# --- what the node holds for all its pods -------------------------------------------------------


def test_the_bridge_holds_the_gateway_of_each_subnet_and_a_mac_that_stays() -> None:
    place = place_with("bridge")
    link, *rest = compute_bridge(place.subnets, 1450, ipv6=True)
    assert isinstance(link, Link)
    assert (link.name, link.mtu, link.mac) == (BRIDGE_NAME, 1450, "0a:58:0a:f4:01:01")
    assert rest == [
        Address(BRIDGE_NAME, ip_interface("10.244.1.1/24")),
        Address(BRIDGE_NAME, ip_interface("fd00:10:244:1::1/64")),
        Sysctl(f"ipv6/conf/{BRIDGE_NAME}/accept_ra", "0", BRIDGE_NAME),
    ]


def test_addresses_that_no_pod_has_are_unreachable_on_a_node_without_a_bridge() -> None:
    routes = compute_unassigned(place_with("routed").subnets)
    described = [(str(r.dst), r.kind, r.metric, r.dev) for r in routes if isinstance(r, Route)]
    # Above the metric that anything else has by default, and no longer than any pod's own route.
    assert described == [
        ("10.244.1.0/24", "unreachable", 1, ""),
        ("fd00:10:244:1::/64", "unreachable", 1025, ""),
    ]


# --- gateways and which addresses pods may have -------------------------------------------------


@pytest.mark.parametrize(
    ("attach", "family", "expected"),
    [
        pytest.param("bridge", IPV4, "10.244.1.1", id="bridge IPv4"),
        pytest.param("bridge", IPV6, "fd00:10:244:1::1", id="bridge IPv6"),
        pytest.param("routed", IPV4, "169.254.1.1", id="routed IPv4"),
        pytest.param("routed", IPV6, "fe80::1", id="routed IPv6"),
    ],
)
def test_gateway(attach: Attach, family: int, expected: str) -> None:
    place = place_with(attach)
    chosen = next(item for item in place.subnets if item == family)
    subnet = place.subnets[chosen]
    assert str(gateway(attach, chosen, subnet)) == expected
    assert gateway(attach, chosen, subnet) in (bridge_gateway(subnet), routed_gateway(chosen))


@pytest.mark.parametrize(
    ("subnet", "first", "last"),
    [
        pytest.param("10.244.1.0/24", "10.244.1.2", "10.244.1.254", id="IPv4 /24"),
        pytest.param("10.244.1.4/30", "10.244.1.6", "10.244.1.6", id="IPv4 /30"),
        pytest.param(
            "fd00::/64", "fd00::2", "fd00::ffff:ffff:ffff:ffff", id="IPv6 has no broadcast"
        ),
        pytest.param("fd00::4/126", "fd00::6", "fd00::7", id="IPv6 /126"),
    ],
)
def test_pod_range(subnet: str, first: str, last: str) -> None:
    assert pod_range(ip_network(subnet)) == (int(ip_address(first)), int(ip_address(last)))


def test_a_kernel_without_ipv6_is_asked_for_no_ipv6_sysctl() -> None:
    place = place_with("bridge")
    without = compute_bridge(place.subnets, 1450, ipv6=False)
    assert {item.key.kind for item in without} == {"link", "address"}
