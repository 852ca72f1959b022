"""Plans of labs: what is made, and which labs cannot be."""

import itertools
from ipaddress import ip_address
from typing import Any, get_args

import msgspec
import pytest
from msgspec import structs

from golden_files import Golden
from podway.errors import ConfigError
from podway.lab.labs import NEIGHBOUR_LIMIT, warning_of
from podway.lab.specs import BY_NEXT_HOP, MAX_NODES, LabSpec, check_spec
from podway.lab.topology import plan_lab
from podway.lab.underlay import (
    plan_cable,
    plan_cut,
    plan_subnets,
    plan_uplink,
    underlay_addresses,
    underlay_neighbours,
)
from podway.model.addresses import Family
from podway.model.backends import BACKEND_NAMES
from podway.model.kernel import Address, Link, Route, Veth
from podway.model.networks import Attach, parse_network

IPV4, IPV6 = (Family.IPV4,), (Family.IPV6,)
DUAL = (Family.IPV4, Family.IPV6)


def spec(**fields: Any) -> LabSpec:
    return LabSpec(**{"name": "blue", "nodes": (1, 2), **fields})


def shown(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=1).decode() + "\n"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        pytest.param("flat-ipv4", {}, id="flat, IPv4"),
        pytest.param("flat-dual", {"families": DUAL, "attach": "routed"}, id="flat, dual stack"),
        pytest.param("flat-host-gw", {"backend": "host-gw", "nodes": (2,)}, id="host-gw"),
        pytest.param("flat-alloc", {"backend": "alloc", "families": DUAL}, id="alloc"),
        pytest.param("flat-extension", {"backend": "extension"}, id="extension"),
        pytest.param("routed-ipv6", {"families": IPV6, "routed_underlay": True}, id="routed, IPv6"),
        pytest.param("routed-dual", {"families": DUAL, "routed_underlay": True}, id="routed, dual"),
    ],
)
def test_plan(golden: Golden, name: str, fields: dict[str, Any]) -> None:
    golden(f"lab/{name}.json", shown(plan_lab(spec(**fields))))


ALL_SPECS = [
    spec(backend=backend, attach=attach, families=families, routed_underlay=routed, nodes=(1, 7))
    for backend, attach, families, routed in itertools.product(
        BACKEND_NAMES, get_args(Attach), (IPV4, IPV6, DUAL), (False, True)
    )
    if not (backend in BY_NEXT_HOP and routed) and not (backend == "ipip" and families != IPV4)
]


@pytest.mark.parametrize("one", ALL_SPECS, ids=str)
def test_network_is_one_that_podway_takes(one: LabSpec) -> None:
    network = parse_network(msgspec.json.encode(plan_lab(one).network))
    assert (network.backend_name, network.attach) == (one.backend, one.attach)
    assert tuple(pool.family for pool in network.pools) == one.families


@pytest.mark.parametrize("one", ALL_SPECS, ids=str)
def test_next_hops_are_on_the_nodes_own_subnet(one: LabSpec) -> None:
    plan = plan_lab(one)
    fabric = {each.address.ip for each in plan.fabric if isinstance(each, Address)}
    for number in one.nodes:
        uplink = plan_uplink(one, number)
        subnets = [each.address.network for each in uplink if isinstance(each, Address)]
        gateways = [each.via for each in uplink if isinstance(each, Route)]
        assert len(gateways) == len(one.families)
        for gateway in gateways:
            assert gateway in fabric
            assert any(gateway in subnet for subnet in subnets)


def test_every_address_is_given_once() -> None:
    for families, routed in itertools.product((IPV4, IPV6, DUAL), (False, True)):
        big = spec(nodes=tuple(range(1, MAX_NODES + 1)), families=families, routed_underlay=routed)
        own = [address for number in (0, *big.nodes) for address in underlay_addresses(big, number)]
        fabric = [item.address.ip for item in plan_lab(big).fabric if isinstance(item, Address)]
        gateways = [address for address in fabric if not address.is_link_local]
        everything = [*own, *gateways]
        assert len(everything) == len(set(everything))


def test_a_node_that_is_added_later_is_like_one_of_the_first() -> None:
    small, big = spec(nodes=(1,)), spec(nodes=(1, 2))
    assert plan_lab(big).fabric == (*plan_lab(small).fabric, *plan_cable(big, 2))


def test_names_of_devices_fit_the_kernel() -> None:
    big = spec(name="abcdefghijklmno", nodes=tuple(range(1, MAX_NODES + 1)))
    names = [_ends(item) for item in plan_lab(big).fabric if isinstance(item, Link)]
    assert all(len(name) <= 15 for ends in names for name in ends)


def _ends(link: Link) -> list[str]:
    pod = link.kind.pod if isinstance(link.kind, Veth) else None
    return [link.name, *([pod.ifname] if pod else [])]


def test_sockets_fit_into_their_addresses() -> None:
    longest = spec(name="abcdefghijklmno", nodes=(MAX_NODES,))
    plan = plan_lab(longest)
    for process in (*plan.stores, *plan.agents):
        assert len(str(process.directory / "run" / "agent.sock")) < 108
        assert len(str(process.directory / "agent.notify")) < 108


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"nodes": ()}, "--nodes", id="no node"),
        pytest.param({"nodes": tuple(range(1, 252))}, "--nodes", id="too many nodes"),
        pytest.param({"mtu": 1279}, "--mtu", id="too small for IPv6"),
        pytest.param({"mtu": 65536}, "--mtu", id="MTU too large"),
        pytest.param({"name": "a-b"}, "--name", id="hyphen in the name"),
        pytest.param({"name": ""}, "--name", id="no name"),
        pytest.param({"name": "../x"}, "--name", id="path as a name"),
        pytest.param({"name": "a" * 16}, "--name", id="long name"),
        pytest.param(
            {"backend": "host-gw", "routed_underlay": True}, "--backend", id="host-gw, no subnet"
        ),
        pytest.param({"backend": "ipip", "families": DUAL}, "--backend", id="ipip, no IPv6"),
    ],
)
def test_impossible(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_spec(spec(**fields))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("routed", "family"),
    [pytest.param(False, "bridge", id="flat"), pytest.param(True, "inet", id="routed")],
)
def test_cut(*, routed: bool, family: str) -> None:
    table = plan_cut(spec(routed_underlay=routed), frozenset({2, 1}))
    assert table.family == family
    assert 'iifname { "n1", "n2" } oifname != { "n1", "n2" } drop' in table.body


def test_the_hub_and_the_agents_agree_where_the_hub_is() -> None:
    plan = plan_lab(spec(families=IPV6))
    assert "--listen=tcp:[fd30::2]:7472" in plan.stores[0].arguments
    assert all("--store=tcp:[fd30::2]:7472" in agent.arguments for agent in plan.agents)
    assert underlay_addresses(spec(families=IPV6), 0) == (ip_address("fd30::2"),)


def test_neighbours_grow_with_the_square_on_a_flat_underlay_alone() -> None:
    flat = spec(nodes=tuple(range(1, 41)))
    assert underlay_neighbours(flat) == 41 * 40
    assert underlay_neighbours(structs.replace(flat, routed_underlay=True)) == 82


def test_subnets_have_the_numbers_of_their_nodes() -> None:
    dual = spec(families=DUAL)
    assert [str(each) for each in plan_subnets(dual, 3)] == ["10.244.3.0/24", "fd00:10:244:3::/64"]
    network = parse_network(msgspec.json.encode(plan_lab(dual).network))
    for number in (1, MAX_NODES):
        for subnet in plan_subnets(dual, number):
            pool = network.pool_around(subnet)
            assert pool is not None
            assert subnet.prefixlen == pool.subnet_len
            lowest, highest = pool.subnet_min.network_address, pool.subnet_max.network_address
            assert int(lowest) <= int(subnet.network_address) <= int(highest)


def test_a_machine_too_small_is_told_of() -> None:
    assert warning_of(spec()) == ""
    flat = spec(nodes=tuple(range(1, MAX_NODES + 1)))
    limit = int(NEIGHBOUR_LIMIT.read_text(encoding="ascii"))
    assert bool(warning_of(flat)) == (limit < (MAX_NODES + 1) * MAX_NODES)
    assert warning_of(structs.replace(flat, routed_underlay=True)) == ""
