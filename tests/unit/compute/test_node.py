"""All that a node holds, for every backend, attachment and family: golden files.

Each file shows node-1 with two peers (node-2 on its link, node-3 behind a router) and two pods.
"""

import itertools
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import pytest
from msgspec.structs import replace

from golden_files import GOLDEN_ROOT, Golden
from podway.compute.node import Place, compute_endpoint, compute_own, compute_peer
from podway.compute.plans import PeerPlan
from podway.model.kernel import (
    ALIAS_PREFIX,
    Address,
    AllowedIp,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    NftTable,
    Route,
    Sysctl,
    UdpPeer,
    UdpRelay,
    WireguardDevice,
    WireguardPeer,
    by_key,
)
from podway.model.networks import Attach
from podway.model.nodes import VtepData
from unit.compute.clusters import (
    ATTACHES,
    BACKENDS,
    DUAL,
    FAMILIES,
    IPV4,
    IPV4_ALONE,
    IPV6,
    endpoint_of,
    network_of,
    node_of,
    place_of,
    subnet_of,
)
from unit.compute.rendering import render

# What stands on a device.
STANDING = (
    Route, Address, Neighbour, FdbEntry,
    WireguardDevice, WireguardPeer, AllowedIp, UdpRelay, UdpPeer,
)  # fmt: skip

CASES = [
    (backend, attach, family)
    for backend, attach, family in itertools.product(BACKENDS, ATTACHES, FAMILIES)
    if family == "ipv4" or backend not in IPV4_ALONE
]
MATRIX = [pytest.param(*case, id="-".join(case)) for case in CASES]
OF_BOTH_FAMILIES = [backend for backend in BACKENDS if backend not in IPV4_ALONE]


def place_in(backend: str, attach: Attach, family: str) -> Place:
    return place_of(network_of(BACKENDS[backend], FAMILIES[family], attach=attach))


def peers_of(place: Place) -> list[PeerPlan]:
    peers = [node_of(place.network, 2), node_of(place.network, 3, on_link=False)]
    return [compute_peer(place, peer) for peer in peers]


def everything_of(place: Place) -> list[KernelObject]:
    pods = [compute_endpoint(place, endpoint_of(place, number)) for number in (5, 6)]
    parts = [compute_own(place), *(plan.objects for plan in peers_of(place)), *pods]
    return list(itertools.chain.from_iterable(parts))


def section(title: str, objects: Iterable[KernelObject], skipped: Iterable[str] = ()) -> str:
    reasons = "".join(f"skipped: {reason}\n" for reason in skipped)
    return f"# {title}\n{render(objects)}{reasons}\n"


@pytest.mark.parametrize(("backend", "attach", "family"), MATRIX)
def test_golden(golden: Golden, backend: str, attach: Attach, family: str) -> None:
    place = place_in(backend, attach, family)
    near, far = peers_of(place)
    text = section("node-1 itself", compute_own(place))
    text += section("peer node-2, on node-1's link", near.objects, near.skipped)
    text += section("peer node-3, behind a router", far.objects, far.skipped)
    for number in (5, 6):
        endpoint = endpoint_of(place, number)
        text += section(f"pod {endpoint.pod}", compute_endpoint(place, endpoint))
    golden(f"compute/{backend}-{attach}-{family}.txt", text)


def test_every_golden_file_belongs_to_a_case() -> None:
    files = {path.stem for path in (GOLDEN_ROOT / "compute").glob("*-*.txt")}
    assert files == {"-".join(case) for case in CASES}


# --- what holds for all of them -----------------------------------------------------------------


@pytest.mark.parametrize(("backend", "attach", "family"), MATRIX)
def test_no_two_parts_want_the_same_thing(backend: str, attach: Attach, family: str) -> None:
    objects = everything_of(place_in(backend, attach, family))
    assert len(by_key(*objects)) == len(objects)


@pytest.mark.parametrize(("backend", "attach", "family"), MATRIX)
def test_whatever_stands_on_a_device_names_one_that_is_there(
    backend: str, attach: Attach, family: str
) -> None:
    objects = everything_of(place_in(backend, attach, family))
    names = {item.name for item in objects if isinstance(item, Link)} | {"eth0"}
    for item in objects:
        if isinstance(item, Route) and item.kind != "unicast":
            assert item.dev == ""
        elif isinstance(item, STANDING):
            assert item.dev in names
        elif isinstance(item, Link) and item.master:
            assert item.master in names
        elif isinstance(item, Sysctl):
            parts = item.path.split("/")
            per_device = len(parts) == 4 and parts[2] != "all"
            assert item.dev == (parts[2] if per_device else "")


@pytest.mark.parametrize(("backend", "attach", "family"), MATRIX)
def test_only_families_of_the_network_appear(backend: str, attach: Attach, family: str) -> None:
    # Sysctls are set whatever the family: a device must not take router advertisements.
    versions = {4 if member is IPV4 else 6 for member in FAMILIES[family]}
    for item in everything_of(place_in(backend, attach, family)):
        match item:
            case Route(dst=value) | Address(address=value) | Neighbour(address=value):
                assert value.version in versions
            case FdbEntry(dst=value):
                assert value.version in versions
            case _:
                pass


@pytest.mark.parametrize(("backend", "attach", "family"), MATRIX)
def test_every_device_and_route_bears_our_mark(backend: str, attach: Attach, family: str) -> None:
    for item in everything_of(place_in(backend, attach, family)):
        if isinstance(item, Link):
            assert item.alias.startswith(ALIAS_PREFIX)
            assert len(item.alias) > len(ALIAS_PREFIX)
        elif isinstance(item, Route):
            assert item.protocol == 112
            assert (item.metric == 0) == (item.dst.version == 4 and item.kind == "unicast")
        elif isinstance(item, NftTable):
            assert (item.family, item.name) == ("inet", "podway")


@pytest.mark.parametrize(("backend", "attach", "family"), MATRIX)
def test_a_peers_part_depends_on_nothing_but_the_peer_and_the_place(
    backend: str, attach: Attach, family: str
) -> None:
    place = place_in(backend, attach, family)
    assert peers_of(place) == peers_of(place_in(backend, attach, family))
    keys = [set(by_key(*plan.objects)) for plan in peers_of(place)]
    assert not keys[0] & keys[1]


# --- peers that cannot be reached, or not wholly ------------------------------------------------


def test_a_peer_with_another_backend_is_skipped_with_a_reason() -> None:
    place = place_in("vxlan", "bridge", "ipv4")
    peer = replace(node_of(place.network, 2), backend="host-gw")
    assert compute_peer(place, peer) == PeerPlan(
        skipped=('node-2 uses backend "host-gw", this network "vxlan"',)
    )


@pytest.mark.parametrize("family", list(FAMILIES))
def test_host_gw_skips_a_peer_behind_a_router_in_each_family(family: str) -> None:
    near, far = peers_of(place_in("host-gw", "bridge", family))
    assert far.objects == ()
    assert len(far.skipped) == len(FAMILIES[family])
    assert all("node-3" in reason and "eth0" in reason for reason in far.skipped)
    assert near.skipped == ()


def test_a_peer_without_a_vtep_is_skipped_in_that_family_alone() -> None:
    place = place_in("vxlan", "bridge", "dual")
    peer = node_of(place.network, 2)
    silent = replace(peer, leases=(peer.leases[0], replace(peer.leases[1], data=None)))
    plan = compute_peer(place, silent)
    assert plan.skipped == ("node-2 publishes no IPv6 VTEP",)
    whole = compute_peer(place, peer).objects
    assert plan.objects == tuple(item for item in whole if not is_ipv6(item))


def test_a_peer_of_another_vni_is_skipped_since_its_packets_would_be_dropped() -> None:
    place = place_in("vxlan", "bridge", "ipv4")
    peer = node_of(place.network, 2)
    data = VtepData(vni=7, mac="02:00:00:00:00:07")
    strange = replace(peer, leases=(replace(peer.leases[0], data=data),))
    assert compute_peer(place, strange) == PeerPlan(skipped=("node-2 uses VNI 7, this network 1",))


def skipped_subnet(backend: str, subnet: str) -> str:
    """Give node-2 *subnet* in IPv4; return why it is skipped, in that family alone."""
    place = place_in(backend, "bridge", "dual")
    peer = node_of(place.network, 2)
    first, second = peer.leases
    plan = compute_peer(
        place, replace(peer, leases=(replace(first, subnet=ip_network(subnet)), second))
    )
    assert plan.objects == compute_peer(place, replace(peer, leases=(second,))).objects
    (reason,) = plan.skipped
    return reason


@pytest.mark.parametrize("backend", OF_BOTH_FAMILIES)
@pytest.mark.parametrize(
    "subnet",
    [
        pytest.param("10.244.1.0/24", id="the same"),
        pytest.param("10.244.1.128/25", id="a part of it"),
        pytest.param("10.244.0.0/22", id="one that holds it"),
    ],
)
def test_a_peer_that_claims_this_nodes_subnet_is_skipped_in_that_family(
    backend: str, subnet: str
) -> None:
    """Its route would replace the one to this node's own pods."""
    reason = skipped_subnet(backend, subnet)
    assert reason == f"{subnet} of node-2 overlaps this node's own 10.244.1.0/24"


@pytest.mark.parametrize("backend", OF_BOTH_FAMILIES)
@pytest.mark.parametrize(
    "subnet",
    [
        pytest.param("0.0.0.0/0", id="everything"),
        pytest.param("192.0.2.128/25", id="other nodes"),
        pytest.param("10.0.0.0/8", id="more than the network"),
    ],
)
def test_a_peer_gets_no_packets_of_what_is_outside_of_the_network(
    backend: str, subnet: str
) -> None:
    reason = skipped_subnet(backend, subnet)
    assert reason == f"{subnet} of node-2 lies outside of the network 10.244.0.0/16"


@pytest.mark.parametrize("backend", OF_BOTH_FAMILIES)
def test_a_peer_that_claims_this_nodes_address_is_skipped_in_that_family(backend: str) -> None:
    place = place_in(backend, "bridge", "dual")
    peer = node_of(place.network, 2)
    first, second = peer.leases
    mine = place.me.leases[1].public_ip
    plan = compute_peer(place, replace(peer, leases=(first, replace(second, public_ip=mine))))
    assert plan.skipped == (f"node-2 claims this node's own address {mine}",)
    assert plan.objects == compute_peer(place, replace(peer, leases=(first,))).objects


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "224.0.0.1"])
def test_a_peer_that_is_nowhere_is_skipped_in_that_family(address: str) -> None:
    place = place_in("vxlan", "bridge", "dual")
    peer = node_of(place.network, 2)
    first, second = peer.leases
    nowhere = replace(first, public_ip=ip_address(address))
    plan = compute_peer(place, replace(peer, leases=(nowhere, second)))
    assert [address in text for text in plan.skipped] == [True]
    assert plan.objects == compute_peer(place, replace(peer, leases=(second,))).objects


def test_a_peer_on_the_link_needs_no_vtep_with_direct_routing() -> None:
    place = place_in("vxlan-direct", "bridge", "ipv4")
    peer = node_of(place.network, 2)
    silent = replace(peer, leases=(replace(peer.leases[0], data=None),))
    assert compute_peer(place, silent) == compute_peer(place, peer)
    assert not compute_peer(place, silent).skipped


def is_ipv6(item: KernelObject) -> bool:
    match item:
        case Route(dst=dst):
            return dst.version == 6
        case Neighbour(address=address):
            return address.version == 6
        case FdbEntry(dst=address):
            return address.version == 6
        case WireguardPeer(endpoint=address):
            return address.version == 6
        case AllowedIp(prefix=prefix) | UdpPeer(prefix=prefix):
            return prefix.version == 6
        case _:
            raise AssertionError(f"a peer needs no {item}")


@pytest.mark.parametrize("backend", OF_BOTH_FAMILIES)
def test_a_family_that_this_node_does_not_have_is_left_out(backend: str) -> None:
    dual = network_of(BACKENDS[backend], DUAL)
    ipv4_place = place_of(network_of(BACKENDS[backend], (IPV4,)))
    plan = compute_peer(ipv4_place, node_of(dual, 2))
    assert plan == compute_peer(ipv4_place, node_of(dual, 2, families=(IPV4,)))
    assert plan.objects
    assert not any(is_ipv6(item) for item in plan.objects)


@pytest.mark.parametrize("backend", OF_BOTH_FAMILIES)
def test_a_family_that_the_peer_does_not_have_is_left_out(backend: str) -> None:
    place = place_of(network_of(BACKENDS[backend], DUAL))
    plan = compute_peer(place, node_of(place.network, 2, families=(IPV6,)))
    assert plan.objects
    assert plan.skipped == ()
    assert all(is_ipv6(item) for item in plan.objects)


def test_a_peer_without_a_lease_needs_nothing() -> None:
    place = place_in("vxlan", "bridge", "dual")
    assert compute_peer(place, node_of(place.network, 2, families=())) == PeerPlan()


def test_a_place_knows_its_subnets_and_mtus() -> None:
    place = place_in("vxlan", "bridge", "dual")
    assert place.subnets == {IPV4: subnet_of(1, IPV4), IPV6: subnet_of(1, IPV6)}
    assert place.mtus == {IPV4: 1450, IPV6: 1430}


def test_the_vteps_mac_is_the_nodes_and_the_same_for_all_its_peers() -> None:
    place = place_in("vxlan", "bridge", "ipv4")
    vtep = next(item for item in compute_own(place) if isinstance(item, Link))
    elsewhere = replace(place, me=node_of(place.network, 2))
    told = compute_peer(elsewhere, place.me).objects
    assert {item.mac for item in told if isinstance(item, Neighbour | FdbEntry)} == {vtep.mac}


def test_a_subnet_of_the_peer_is_routed_whatever_its_length() -> None:
    place = place_in("host-gw", "bridge", "ipv4")
    peer = node_of(place.network, 2)
    wide = replace(peer.leases[0], subnet=ip_network("10.244.8.0/22"))
    plan = compute_peer(place, replace(peer, leases=(wide,)))
    assert [item.dst for item in plan.objects if isinstance(item, Route)] == [wide.subnet]
