"""The configuration of ``sbr``, and which routes go to which table."""

from typing import TYPE_CHECKING, Any

import pytest

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.results import Interface, Ip, Result
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RTM_DELROUTE,
    RTM_NEWROUTE,
    RTM_NEWRULE,
)
from podway.netlink.text import format_prefix, pack_address
from podway.plugins.sbr_conf import SbrConf, Source, find_sources, parse_conf
from podway.plugins.sbr_plans import Found, SbrPlan, compute_plan
from unit.plugins.plugin_calls import call_of

if TYPE_CHECKING:
    from podway.netlink.route_messages import RouteMessage

FOUR = Source(packed=pack_address("10.1.0.5"), bits=24, gateway=pack_address("10.1.0.1"))
OTHER = Source(packed=pack_address("10.2.0.5"), bits=24, gateway=None)
SIX = Source(packed=pack_address("fd01::5"), bits=64, gateway=None)


def conf_of(**config: Any) -> SbrConf:
    return parse_conf(call_of(config).config)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        pytest.param({"table": "100"}, "table", id="text"),
        pytest.param({"table": 0}, "table", id="zero"),
        pytest.param({"table": 2**32}, "table", id="over 32 bits"),
        pytest.param({"table": 1.5}, "table", id="fraction"),
        pytest.param({"gateways": "10.0.0.1"}, "gateways", id="no list"),
        pytest.param({"gateways": [1]}, "gateways[0]", id="no text"),
        pytest.param({"gateways": ["::1", "10.0.0.1/8"]}, "gateways[1]", id="no address"),
        pytest.param({"gateways": ["::1", "::2"]}, "gateways[1]", id="two of one family"),
        pytest.param({"addSourceHints": 1}, "addSourceHints", id="no switch"),
    ],
)
def test_refusals(config: dict[str, Any], field: str) -> None:
    with pytest.raises(CniError) as caught:
        conf_of(**config)
    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith(f"{field} = ")


def test_a_configuration() -> None:
    assert conf_of() == SbrConf()
    assert conf_of(table=7, gateways=["::1", "10.0.0.1"], addSourceHints=True) == SbrConf(
        table=7, gateways=(pack_address("::1"), pack_address("10.0.0.1")), adds_source_hints=True
    )


def test_addresses_of_the_interface() -> None:
    result = Result(
        interfaces=(Interface(name="eth1"), Interface(name="eth0", sandbox="/c")),
        ips=(
            Ip(address="10.1.0.5/24", gateway="10.1.0.1", interface=1),
            Ip(address="10.9.0.5/24", interface=0),
            Ip(address="fd01::5/64"),
            Ip(address="10.8.0.5/24", interface=7),
        ),
    )
    assert find_sources(result, "eth0") == (FOUR, SIX)


def route(text: str, *, metric: int = 0) -> "RouteMessage":
    """Return a route of a listing: ``10.1.0.0/24 src 10.1.0.5``, ``default via 10.1.0.1``."""
    words = text.split()
    told = dict(zip(words[1::2], map(pack_address, words[2::2]), strict=True))
    is_ipv6 = ":" in text
    message: RouteMessage = {
        "family": AF_INET6 if is_ipv6 else AF_INET,
        "dst_len": 0,
        "table": 254,
        "protocol": 3,
        "type": 1,
        "tos": 0,
        "scope": RT_SCOPE_UNIVERSE if is_ipv6 or "via" in told else RT_SCOPE_LINK,
        "flags": 1 << 9,
        "oif": 7,
    }
    if words[0] != "default":
        address, _, bits = words[0].partition("/")
        message["dst"], message["dst_len"] = pack_address(address), int(bits)
    if "via" in told:
        message["gateway"] = told["via"]
    if "src" in told:
        message["prefsrc"] = told["src"]
    if is_ipv6 or metric:
        message["priority"] = metric or 1024
    return message


def plan_of(
    conf: SbrConf, *routes: "RouteMessage", sources: tuple[Source, ...] = (FOUR,)
) -> SbrPlan:
    return compute_plan(conf, Found(index=7, sources=sources, routes=routes, used=frozenset({101})))


def targets(plan: SbrPlan, table: int) -> list[str]:
    found = []
    for each in plan.moved:
        if each["table"] == table:
            via = f" via {format_prefix(each['gateway'], 0)[:-2]}" if "gateway" in each else ""
            dst = format_prefix(each["dst"], each["dst_len"]) if each["dst_len"] else "default"
            found.append(dst + via)
    return found


def main_changes(plan: SbrPlan) -> list[tuple[int, int]]:
    """Return kind and prefix length of what happens to the main table."""
    return [
        (step.forward.type, step.forward.fields["dst_len"])
        for step in plan.steps
        if step.forward.type != RTM_NEWRULE and step.forward.fields["table"] == 254
    ]


SUBNET = route("10.1.0.0/24 src 10.1.0.5")
DEFAULT = route("default via 10.1.0.1")


def test_each_address_has_a_table_of_its_own() -> None:
    lists = [
        SUBNET,
        route("10.2.0.0/24 src 10.2.0.5"),
        route("fd01::/64", metric=256),
        route("10.3.0.0/24"),
        route("10.4.0.0/24 via 10.2.0.1"),
        route("10.5.0.0/24 via 192.0.2.1"),
    ]
    plan = plan_of(SbrConf(), *lists, sources=(FOUR, OTHER, SIX))
    rules = [step.forward.fields for step in plan.steps if step.forward.type == RTM_NEWRULE]
    assert [(rule["src"], rule["src_len"], rule["table"]) for rule in rules] == [
        (FOUR.packed, 32, 100),
        (OTHER.packed, 32, 102),
        (SIX.packed, 128, 103),
    ]
    assert targets(plan, 100) == [
        "10.1.0.0/24",
        "10.3.0.0/24",
        "10.5.0.0/24 via 192.0.2.1",
        "default via 10.1.0.1",
    ]
    assert targets(plan, 102) == [
        "10.2.0.0/24",
        "10.3.0.0/24",
        "10.4.0.0/24 via 10.2.0.1",
        "10.5.0.0/24 via 192.0.2.1",
    ]
    assert targets(plan, 103) == ["fd01::/64"]
    assert [kind for kind, _ in main_changes(plan)] == [RTM_DELROUTE] * 6


@pytest.mark.parametrize(
    ("conf", "routes", "expected"),
    [
        pytest.param(
            SbrConf(), [SUBNET], ["10.1.0.0/24", "default via 10.1.0.1"], id="by the address"
        ),
        pytest.param(
            SbrConf(),
            [SUBNET, route("default via 10.1.0.3")],
            ["10.1.0.0/24", "default via 10.1.0.3"],
            id="the one that there is",
        ),
        pytest.param(
            SbrConf(gateways=(pack_address("10.1.0.9"),)),
            [SUBNET, DEFAULT],
            ["10.1.0.0/24", "default via 10.1.0.9"],
            id="by the configuration",
        ),
        pytest.param(
            SbrConf(gateways=(pack_address("fd01::9"),)),
            [DEFAULT, SUBNET],
            ["10.1.0.0/24", "default via 10.1.0.1"],
            id="another family's gateway",
        ),
        pytest.param(
            SbrConf(),
            [route("default via 10.1.0.3", metric=5)],
            ["default via 10.1.0.3", "default via 10.1.0.1"],
            id="of another metric",
        ),
    ],
)
def test_default_routes(conf: SbrConf, routes: list[Any], expected: list[str]) -> None:
    assert targets(plan_of(conf, *routes), 100) == expected


def test_link_local_routes_stay_and_are_copied() -> None:
    plan = plan_of(SbrConf(), route("fe80::/64"), sources=(SIX,))
    assert targets(plan, 100) == ["fe80::/64"]
    assert main_changes(plan) == []


def test_hints_for_who_sends_from_no_address() -> None:
    plan = plan_of(SbrConf(adds_source_hints=True), SUBNET, DEFAULT)
    assert main_changes(plan) == [(RTM_NEWROUTE, 24), (RTM_DELROUTE, 0)]
    hint = next(step for step in plan.steps if step.forward.fields.get("table") == 254)
    assert hint.forward.fields["prefsrc"] == FOUR.packed
    assert hint.backward.fields["dst"] == SUBNET["dst"]


def test_everything_can_be_undone() -> None:
    plan = plan_of(SbrConf(adds_source_hints=True), SUBNET, DEFAULT, route("10.9.0.0/16"))
    for step in plan.steps:
        place = ("family", "dst", "dst_len", "src", "table")
        assert [step.forward.fields.get(key) for key in place] == [
            step.backward.fields.get(key) for key in place
        ]


def test_flags_of_a_listing_are_not_written() -> None:
    assert {each.get("flags", 0) for each in plan_of(SbrConf(), SUBNET, DEFAULT).moved} == {0}


def test_a_table_of_somebody_elses_gets_rules_alone() -> None:
    plan = plan_of(SbrConf(table=7), SUBNET, sources=(FOUR, SIX))
    assert [(s.forward.type, s.forward.fields["table"]) for s in plan.steps] == [
        (RTM_NEWRULE, 7)
    ] * 2
    assert plan.moved == ()
