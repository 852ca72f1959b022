"""Which address peers shall use, and which of theirs are on this node's own link."""

from ipaddress import ip_address, ip_interface

import pytest

from podway.compute.onlink import is_on_link
from podway.compute.uplinks import public_addresses
from podway.errors import ConfigError
from podway.model.addresses import Family
from podway.model.nodes import Uplink
from unit.compute.clusters import DUAL, IPV4, IPV6, UPLINK, network_of


def uplink_with(*addresses: str) -> Uplink:
    return Uplink(dev="eth1", mtu=1500, addresses=tuple(ip_interface(text) for text in addresses))


@pytest.mark.parametrize(
    ("addresses", "families", "wanted", "expected"),
    [
        pytest.param(
            ["192.0.2.1/24", "192.0.2.2/24"], (IPV4,), [], ["192.0.2.1"], id="the first one"
        ),
        pytest.param(
            ["169.254.7.7/16", "127.0.0.2/8", "192.0.2.1/24"],
            (IPV4,),
            [],
            ["192.0.2.1"],
            id="neither link-local nor loopback",
        ),
        pytest.param(
            ["fe80::1/64", "::1/128", "2001:db8::1/64"],
            (IPV6,),
            [],
            ["2001:db8::1"],
            id="IPv6 likewise",
        ),
        pytest.param(
            ["2001:db8::1/64", "192.0.2.1/24"],
            DUAL,
            [],
            ["192.0.2.1", "2001:db8::1"],
            id="one per family",
        ),
        pytest.param(
            ["192.0.2.1/24", "2001:db8::1/64"],
            DUAL,
            ["203.0.113.7"],
            ["203.0.113.7", "2001:db8::1"],
            id="a named one wins in its family",
        ),
        pytest.param([], (IPV4,), ["203.0.113.7"], ["203.0.113.7"], id="named, and none there"),
        pytest.param(
            ["192.0.2.1/24"], (IPV4,), ["2001:db8::9"], ["192.0.2.1"], id="named in another family"
        ),
    ],
)
def test_public_addresses(
    addresses: list[str], families: tuple[Family, ...], wanted: list[str], expected: list[str]
) -> None:
    chosen = public_addresses(
        network_of(families=families),
        uplink_with(*addresses),
        [ip_address(text) for text in wanted],
    )
    assert chosen == dict(zip(families, map(ip_address, expected), strict=True))


@pytest.mark.parametrize(
    ("addresses", "families", "label"),
    [
        pytest.param([], (IPV4,), "IPv4", id="none at all"),
        pytest.param(["192.0.2.1/24"], DUAL, "IPv6", id="no IPv6"),
        pytest.param(["fe80::1/64"], (IPV6,), "IPv6", id="link-local only"),
    ],
)
def test_an_uplink_without_an_address_is_refused(
    addresses: list[str], families: tuple[Family, ...], label: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        public_addresses(network_of(families=families), uplink_with(*addresses), [])
    assert (caught.value.field, caught.value.value) == ("uplink", "eth1")
    assert f"the network has {label}" in caught.value.rule
    assert "--public-ip" in caught.value.rule


@pytest.mark.parametrize(
    ("address", "on_link"),
    [
        pytest.param("192.0.2.12", True, id="IPv4 on the link"),
        pytest.param("192.0.3.12", False, id="IPv4 elsewhere"),
        pytest.param("2001:db8:0:1::12", True, id="IPv6 on the link"),
        pytest.param("2001:db8:0:2::12", False, id="IPv6 elsewhere"),
        pytest.param("fe80::12", True, id="link-local"),
        pytest.param("::c000:20c", False, id="IPv6 with the number of an IPv4 address"),
    ],
)
def test_is_on_link(address: str, *, on_link: bool) -> None:
    assert is_on_link(UPLINK, ip_address(address)) is on_link


def test_nothing_is_on_the_link_of_an_uplink_without_addresses() -> None:
    assert not is_on_link(uplink_with(), ip_address("192.0.2.12"))
