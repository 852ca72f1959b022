"""What the container's interface is to have, computed from a result."""

from typing import Any

import pytest

from podway.cni.addresses import last_address
from podway.cni.addresses import parse_address as ip
from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.results import Interface, Ip, Result, Route
from podway.netlink.constants import IFA_F_NODAD
from podway.plugins.interfaces import compute_interface_plan, compute_route

INTERFACES = (Interface(name="br0"), Interface(name="eth0", sandbox="/x"))


def plan(*ips: Ip, routes: tuple[Route, ...] = (), **options: Any) -> Any:
    result = Result(interfaces=INTERFACES, ips=ips, routes=routes)
    return compute_interface_plan(result, 1, **options)


def test_addresses() -> None:
    found = plan(
        Ip(address="10.1.0.5/24", interface=1),
        Ip(address="fd00::5/64", interface=1),
        Ip(address="10.1.0.6/31", interface=1),
        Ip(address="10.9.0.1/24", interface=0),
        Ip(address="10.9.0.2/24"),
    )
    four, six, pair = found.addresses
    assert four == {
        "family": 2,
        "prefixlen": 24,
        "local": ip("10.1.0.5"),
        "address": ip("10.1.0.5"),
        "broadcast": ip("10.1.0.255"),
    }
    assert (six["family"], six["local"], six["flags"]) == (10, ip("fd00::5"), IFA_F_NODAD)
    assert "broadcast" not in pair
    assert found.has_ipv6
    assert not plan(Ip(address="10.1.0.5/24", interface=1)).has_ipv6
    assert plan(Ip(address="fd00::5/64", interface=1), dad=True).addresses[0]["flags"] == 0


def test_routes() -> None:
    routes = (
        Route(dst="0.0.0.0/0"),
        Route(dst="10.9.0.0/16", gw="10.1.0.9"),
        Route(dst="::/0"),
        Route(dst="0.0.0.0/0", gw="10.1.0.1"),
        Route(dst="10.8.0.0/16", mtu=1400, advmss=1360, priority=5, table=100, scope=253),
    )
    found = plan(
        Ip(address="10.1.0.5/24", gateway="10.1.0.1", interface=1),
        Ip(address="10.2.0.5/24", gateway="10.2.0.1", interface=1),
        routes=routes,
    ).routes
    assert [route.get("gateway") for route in found] == [
        ip("10.1.0.1"), ip("10.1.0.9"), None, ip("10.1.0.1"),
    ]  # fmt: skip
    default, _, six, rest = found
    assert "dst" not in default
    assert (default["dst_len"], default["table"], default["scope"]) == (0, 254, 0)
    assert six["family"] == 10
    assert {key: rest[key] for key in ("metrics", "priority", "table", "scope")} == {
        "metrics": {"mtu": 1400, "advmss": 1360},
        "priority": 5,
        "table": 100,
        "scope": 253,
    }


def test_next_hops_of_the_other_family() -> None:
    message = compute_route(Route(dst="10.9.0.0/16", gw="fe80::1"))
    assert message["via"] == {"family": 10, "addr": ip("fe80::1")}
    assert "gateway" not in message
    with pytest.raises(CniError) as caught:
        compute_route(Route(dst="fd00::/64", gw="10.1.0.1"))
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize(
    ("address", "bits", "last"),
    [("10.1.0.5", 24, "10.1.0.255"), ("10.1.0.5", 32, "10.1.0.5"), ("fd00::5", 126, "fd00::7")],
)
def test_last_address(address: str, bits: int, last: str) -> None:
    assert last_address(ip(address), bits) == ip(last)
