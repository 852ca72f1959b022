"""What ptp reads in its configuration, and what both ends are to have."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from podway.cni.addresses import first_address
from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.results import Ip, Result, Route
from podway.netlink.constants import IFA_F_NODAD, IFA_F_NOPREFIXROUTE
from podway.netlink.text import format_address, format_prefix
from podway.plugins.ptp_conf import PtpConf, parse_conf
from podway.plugins.ptp_plans import PtpPlan, compute_ptp_plan
from unit.plugins.plugin_calls import call_of

FOUR = Ip(address="10.1.0.5/24", gateway="10.1.0.1", interface=1)
SIX = Ip(address="fd01::5/64", gateway="fd01::1", interface=1)


@pytest.mark.parametrize(
    ("config", "conf"),
    [
        pytest.param({}, (False, "", 0), id="defaults"),
        pytest.param(
            {"ipMasq": True, "ipMasqBackend": "nftables", "mtu": 1400},
            (True, "nftables", 1400),
            id="everything",
        ),
    ],
)
def test_configuration(config: dict[str, Any], conf: tuple[bool, str, int]) -> None:
    masquerades, backend, mtu_bytes = conf
    assert parse_conf(call_of(config)) == PtpConf(
        masquerades=masquerades, backend=backend, mtu_bytes=mtu_bytes
    )


@pytest.mark.parametrize(
    ("config", "field"),
    [
        pytest.param({"ipMasq": "yes"}, "ipMasq", id="string for a boolean"),
        pytest.param({"ipMasqBackend": "ebtables"}, "ipMasqBackend", id="no such back end"),
        pytest.param({"ipMasqBackend": 1}, "ipMasqBackend", id="number for a back end"),
        pytest.param({"mtu": 60}, "mtu", id="too small"),
    ],
)
def test_refused(config: dict[str, Any], field: str) -> None:
    with pytest.raises(CniError) as caught:
        parse_conf(call_of(config))
    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith(f"{field} = ")


def plan_of(*ips: Ip, routes: tuple[Route, ...] = ()) -> PtpPlan:
    return compute_ptp_plan(Result(ips=ips, routes=routes), 1)


def shown(routes: Any) -> list[str]:
    """Return routes in the words of iproute2."""
    lines = []
    for route in routes:
        dst = format_prefix(route["dst"], route["dst_len"]) if "dst" in route else "default"
        words = [dst]
        for key, word in (("gateway", "via"), ("prefsrc", "src")):
            if key in route:
                words += [word, format_address(route[key])]
        lines.append(f"{' '.join(words)} scope {route['scope']}")
    return lines


def test_both_ends_of_both_families() -> None:
    plan = plan_of(FOUR, SIX, routes=(Route(dst="0.0.0.0/0"), Route(dst="::/0")))
    assert shown(plan.container.routes) == [
        "10.1.0.1/32 src 10.1.0.5 scope 253",
        "10.1.0.0/24 via 10.1.0.1 src 10.1.0.5 scope 0",
        "fd01::1/128 src fd01::5 scope 253",
        "fd01::/64 via fd01::1 src fd01::5 scope 0",
        "default via 10.1.0.1 scope 0",
        "default via fd01::1 scope 0",
    ]
    assert [each["flags"] for each in plan.container.addresses] == [
        IFA_F_NOPREFIXROUTE,
        IFA_F_NOPREFIXROUTE | IFA_F_NODAD,
    ]
    assert shown(plan.host.routes) == ["10.1.0.5/32 scope 254", "fd01::5/128 scope 254"]
    assert [format_prefix(each["local"], each["prefixlen"]) for each in plan.host.addresses] == [
        "10.1.0.1/32",
        "fd01::1/128",
    ]


def test_one_gateway_of_several_addresses_is_given_once() -> None:
    other = Ip(address="10.1.0.6/24", gateway="10.1.0.1", interface=1)
    plan = plan_of(FOUR, other)
    assert len(plan.host.addresses) == 1
    assert shown(plan.host.routes) == ["10.1.0.5/32 scope 254", "10.1.0.6/32 scope 254"]
    assert shown(plan.container.routes) == [
        "10.1.0.1/32 src 10.1.0.5 scope 253",
        "10.1.0.0/24 via 10.1.0.1 src 10.1.0.5 scope 0",
    ]


def test_an_address_of_full_length_has_no_subnet() -> None:
    plan = plan_of(Ip(address="10.1.0.5/32", gateway="169.254.1.1", interface=1))
    assert shown(plan.container.routes) == ["169.254.1.1/32 src 10.1.0.5 scope 253"]


def test_addresses_of_other_interfaces_are_passed_over() -> None:
    assert plan_of(Ip(address="10.9.0.1/24", interface=0)) == plan_of()


def test_an_address_without_gateway_is_refused() -> None:
    with pytest.raises(CniError, match=r"10\.1\.0\.5/24") as caught:
        plan_of(Ip(address="10.1.0.5/24", interface=1))
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize(
    "cidr", ["10.1.2.3/8", "10.1.2.3/31", "10.1.2.3/32", "10.1.2.3/0", "fd01:2:3::4/33", "::1/128"]
)
def test_first_address(cidr: str) -> None:
    address, bits = cidr.split("/")
    expected = ip_network(cidr, strict=False).network_address.packed
    assert first_address(ip_address(address).packed, int(bits)) == expected
