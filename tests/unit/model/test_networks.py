"""net-conf.json: every key, its default, its bounds, and every wrong value refused by name."""

import json
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import pytest

from podway.errors import ConfigError
from podway.model.addresses import Family
from podway.model.networks import (
    HostGwConfig,
    Network,
    Pool,
    VxlanConfig,
    parse_network,
    parse_prefix,
)

IPV4_ONLY = {"Network": "10.244.0.0/16"}
IPV6_ONLY = {"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": "fd00:10:244::/48"}
DUAL = {**IPV4_ONLY, "EnableIPv6": True, "IPv6Network": "fd00:10:244::/48"}


def parse(document: Any) -> Network:
    return parse_network(json.dumps(document))


def ipv4_pool(network: str, length: int, low: str, high: str) -> Pool:
    return Pool(
        prefix=IPv4Network(network),
        subnet_len=length,
        subnet_min=IPv4Network(f"{low}/{length}"),
        subnet_max=IPv4Network(f"{high}/{length}"),
    )


def ipv6_pool(network: str, length: int, low: str, high: str) -> Pool:
    return Pool(
        prefix=IPv6Network(network),
        subnet_len=length,
        subnet_min=IPv6Network(f"{low}/{length}"),
        subnet_max=IPv6Network(f"{high}/{length}"),
    )


def test_defaults() -> None:
    assert parse(IPV4_ONLY) == Network(
        pools=(ipv4_pool("10.244.0.0/16", 24, "10.244.1.0", "10.244.255.0"),),
        backend=VxlanConfig(
            vni=1, port=8472, mtu=0, gbp=False, learning=False, direct_routing=False
        ),
        attach="bridge",
        masquerade=True,
        non_masquerade=(),
    )


# flannel's rules: /24 where the network is /22 or larger, else four subnets; IPv6 likewise at /64.
# The first subnet is left out, the last is in.
@pytest.mark.parametrize(
    ("document", "pool"),
    [
        pytest.param(
            {"Network": "0.0.0.0/0"},
            ipv4_pool("0.0.0.0/0", 24, "0.0.1.0", "255.255.255.0"),
            id="the whole of IPv4",
        ),
        pytest.param(
            {"Network": "10.0.0.0/8"},
            ipv4_pool("10.0.0.0/8", 24, "10.0.1.0", "10.255.255.0"),
            id="/8 gives /24",
        ),
        pytest.param(
            {"Network": "10.4.0.0/22"},
            ipv4_pool("10.4.0.0/22", 24, "10.4.1.0", "10.4.3.0"),
            id="/22 is the last that gives /24",
        ),
        pytest.param(
            {"Network": "10.4.0.0/23"},
            ipv4_pool("10.4.0.0/23", 25, "10.4.0.128", "10.4.1.128"),
            id="/23 gives two bits more",
        ),
        pytest.param(
            {"Network": "10.4.0.0/28"},
            ipv4_pool("10.4.0.0/28", 30, "10.4.0.4", "10.4.0.12"),
            id="/28 is the smallest network",
        ),
        pytest.param(
            {"Network": "10.244.0.0/16", "SubnetLen": 18},
            ipv4_pool("10.244.0.0/16", 18, "10.244.64.0", "10.244.192.0"),
            id="SubnetLen at its lower bound",
        ),
        pytest.param(
            {"Network": "10.244.0.0/16", "SubnetLen": 30},
            ipv4_pool("10.244.0.0/16", 30, "10.244.0.4", "10.244.255.252"),
            id="SubnetLen at its upper bound",
        ),
        pytest.param(
            {"Network": "10.244.0.0/16", "SubnetLen": None},
            ipv4_pool("10.244.0.0/16", 24, "10.244.1.0", "10.244.255.0"),
            id="null is absent",
        ),
        pytest.param(
            {"Network": "10.244.0.0/16", "SubnetMin": "10.244.10.0", "SubnetMax": "10.244.20.0"},
            ipv4_pool("10.244.0.0/16", 24, "10.244.10.0", "10.244.20.0"),
            id="both bounds given",
        ),
        pytest.param(
            {"Network": "10.244.0.0/16", "SubnetMin": "10.244.7.0", "SubnetMax": "10.244.7.0"},
            ipv4_pool("10.244.0.0/16", 24, "10.244.7.0", "10.244.7.0"),
            id="room for one node",
        ),
        pytest.param(
            {"Network": "10.244.0.0/16", "SubnetMin": "10.244.0.0"},
            ipv4_pool("10.244.0.0/16", 24, "10.244.0.0", "10.244.255.0"),
            id="the first subnet, when asked for",
        ),
        pytest.param(
            {**IPV6_ONLY},
            ipv6_pool("fd00:10:244::/48", 64, "fd00:10:244:1::", "fd00:10:244:ffff::"),
            id="IPv6 /48 gives /64",
        ),
        pytest.param(
            {**IPV6_ONLY, "IPv6Network": "fd00::/62"},
            ipv6_pool("fd00::/62", 64, "fd00:0:0:1::", "fd00:0:0:3::"),
            id="IPv6 /62 is the last that gives /64",
        ),
        pytest.param(
            {**IPV6_ONLY, "IPv6Network": "fd00::/63"},
            ipv6_pool("fd00::/63", 65, "fd00:0:0:0:8000::", "fd00:0:0:1:8000::"),
            id="IPv6 /63 gives two bits more",
        ),
        pytest.param(
            {**IPV6_ONLY, "IPv6Network": "fd00::/124"},
            ipv6_pool("fd00::/124", 126, "fd00::4", "fd00::c"),
            id="IPv6 /124 is the smallest network",
        ),
        pytest.param(
            {**IPV6_ONLY, "IPv6SubnetLen": 126},
            ipv6_pool(
                "fd00:10:244::/48",
                126,
                "fd00:10:244::4",
                "fd00:10:244:ffff:" + "ffff:" * 3 + "fffc",
            ),
            id="IPv6SubnetLen at its upper bound",
        ),
        pytest.param(
            {**IPV6_ONLY, "IPv6SubnetLen": 50},
            ipv6_pool("fd00:10:244::/48", 50, "fd00:10:244:4000::", "fd00:10:244:c000::"),
            id="IPv6SubnetLen at its lower bound",
        ),
        pytest.param(
            {
                **IPV6_ONLY,
                "IPv6SubnetMin": "fd00:10:244:10::",
                "IPv6SubnetMax": "fd00:10:244:20::",
            },
            ipv6_pool("fd00:10:244::/48", 64, "fd00:10:244:10::", "fd00:10:244:20::"),
            id="IPv6 bounds given",
        ),
    ],
)
def test_one_pool(document: dict[str, Any], pool: Pool) -> None:
    assert parse(document).pools == (pool,)


def test_dual_stack_has_a_pool_per_family_ipv4_first() -> None:
    network = parse(DUAL)
    assert [pool.family for pool in network.pools] == [Family.IPV4, Family.IPV6]
    assert network.families == (Family.IPV4, Family.IPV6)
    assert network.pools_of(Family.IPV4) == network.pools[:1]
    assert network.pools_of(Family.IPV6) == network.pools[1:]


def test_a_family_that_is_not_enabled_has_no_pool_whatever_its_keys_say() -> None:
    network = parse({**IPV4_ONLY, "EnableIPv6": False, "IPv6Network": "nonsense"})
    assert network.families == (Family.IPV4,)
    network = parse({**IPV6_ONLY, "Network": "nonsense"})
    assert network.families == (Family.IPV6,)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        pytest.param(None, VxlanConfig(), id="null"),
        pytest.param({"Type": "vxlan"}, VxlanConfig(), id="vxlan"),
        pytest.param({"Type": "VXLAN"}, VxlanConfig(), id="vxlan in capitals"),
        pytest.param({"Type": "host-gw"}, HostGwConfig(), id="host-gw"),
        pytest.param({"Type": "Host-GW"}, HostGwConfig(), id="host-gw in capitals"),
        pytest.param(
            {"Type": "host-gw", "VNI": "x"}, HostGwConfig(), id="another backend's key is unknown"
        ),
        pytest.param({"Type": "vxlan", "VNI": 1}, VxlanConfig(vni=1), id="VNI least"),
        pytest.param(
            {"Type": "vxlan", "VNI": 16777215}, VxlanConfig(vni=16777215), id="VNI greatest"
        ),
        pytest.param({"Type": "vxlan", "Port": 0}, VxlanConfig(port=8472), id="Port 0: kernel's"),
        pytest.param({"Type": "vxlan", "Port": 1}, VxlanConfig(port=1), id="Port least"),
        pytest.param({"Type": "vxlan", "Port": 65535}, VxlanConfig(port=65535), id="Port greatest"),
        pytest.param({"Type": "vxlan", "MTU": 0}, VxlanConfig(mtu=0), id="MTU 0: the uplink's"),
        pytest.param({"Type": "vxlan", "MTU": 576}, VxlanConfig(mtu=576), id="MTU least"),
        pytest.param({"Type": "vxlan", "MTU": 65535}, VxlanConfig(mtu=65535), id="MTU greatest"),
        pytest.param({"Type": "vxlan", "GBP": True}, VxlanConfig(gbp=True), id="GBP"),
        pytest.param(
            {"Type": "vxlan", "Learning": True}, VxlanConfig(learning=True), id="Learning"
        ),
        pytest.param(
            {"Type": "vxlan", "DirectRouting": True},
            VxlanConfig(direct_routing=True),
            id="DirectRouting",
        ),
    ],
)
def test_backend(backend: object, expected: VxlanConfig | HostGwConfig) -> None:
    network = parse({**IPV4_ONLY, "Backend": backend})
    assert network.backend == expected
    assert network.backend_name == ("vxlan" if isinstance(expected, VxlanConfig) else "host-gw")


@pytest.mark.parametrize(
    ("document", "attribute", "expected"),
    [
        pytest.param({"Attach": "bridge"}, "attach", "bridge", id="bridge"),
        pytest.param({"Attach": "routed"}, "attach", "routed", id="routed"),
        pytest.param({"Masquerade": False}, "masquerade", False, id="no masquerade"),
        pytest.param(
            {"NonMasqueradeCIDRs": ["192.0.2.0/24", "2001:db8::/32"]},
            "non_masquerade",
            (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
            id="exemptions of both families",
        ),
        pytest.param({"NonMasqueradeCIDRs": []}, "non_masquerade", (), id="no exemption"),
    ],
)
def test_own_keys(document: dict[str, Any], attribute: str, expected: object) -> None:
    assert getattr(parse({**IPV4_ONLY, **document}), attribute) == expected


FULL = {
    "Network": "10.244.0.0/16",
    "SubnetLen": 25,
    "SubnetMin": "10.244.2.0",
    "SubnetMax": "10.244.9.128",
    "EnableIPv4": True,
    "EnableIPv6": True,
    "IPv6Network": "fd00:10:244::/48",
    "IPv6SubnetLen": 66,
    "IPv6SubnetMin": "fd00:10:244:2::",
    "IPv6SubnetMax": "fd00:10:244:9::",
    "Attach": "routed",
    "Masquerade": False,
    "NonMasqueradeCIDRs": ["192.0.2.0/24"],
    "Backend": {
        "Type": "vxlan",
        "VNI": 77,
        "Port": 4789,
        "MTU": 1400,
        "GBP": True,
        "Learning": True,
        "DirectRouting": True,
    },
}


def recased(value: Any, recase: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {recase(key): recased(item, recase) for key, item in value.items()}


@pytest.mark.parametrize("recase", [str.lower, str.upper, str.swapcase, str.title])
def test_keys_match_without_regard_to_case(recase: Any) -> None:
    expected = parse(FULL)
    assert expected.backend == VxlanConfig(
        vni=77, port=4789, mtu=1400, gbp=True, learning=True, direct_routing=True
    )
    assert expected.pools[0] == ipv4_pool("10.244.0.0/16", 25, "10.244.2.0", "10.244.9.128")
    assert parse(recased(FULL, recase)) == expected


def test_unknown_keys_pass() -> None:
    extra = {"EnableNFTables": True, "Backend": {"Type": "vxlan", "MacPrefix": "0E-2A", "x": [1]}}
    assert parse({**IPV4_ONLY, **extra}) == parse({**IPV4_ONLY, "Backend": {"Type": "vxlan"}})


def test_str_and_bytes_mean_the_same() -> None:
    assert parse_network(json.dumps(FULL).encode()) == parse_network(json.dumps(FULL))


@pytest.mark.parametrize(
    ("value", "family", "expected"),
    [
        pytest.param("10.0.0.0/8", None, IPv4Network("10.0.0.0/8"), id="either, IPv4"),
        pytest.param("FD00::/8", None, IPv6Network("fd00::/8"), id="either, IPv6"),
        pytest.param("192.0.2.1/32", Family.IPV4, IPv4Network("192.0.2.1/32"), id="one host"),
        pytest.param("::/0", Family.IPV6, IPv6Network("::/0"), id="everything"),
    ],
)
def test_parse_prefix(value: str, family: Family | None, expected: object) -> None:
    assert parse_prefix("x", value, family) == expected


@pytest.mark.parametrize("value", ["/8", "10.0.0.0/", "10.0.0.0/33", "1.2.3/8", "10.0.0.0/-1", " "])
def test_parse_prefix_refuses(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_prefix("here", value)
    assert (caught.value.field, caught.value.value) == ("here", value)
