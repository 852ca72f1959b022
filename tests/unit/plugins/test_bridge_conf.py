"""What bridge reads in its configuration, what it computes from it, and what it refuses."""

from ipaddress import ip_interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from podway.cni.results import Dns, Ip, Result, Route
from podway.plugins.bridge_conf import BridgeConf, parse_bridge_conf
from podway.plugins.bridge_devices import random_mac
from podway.plugins.bridge_gateways import (
    compute_gateways,
    compute_ips,
    compute_obstacles,
    compute_routes,
    overlaps,
)
from podway.plugins.bridge_vlans import compute_vlans
from unit.plugins.plugin_calls import call_of

IPAM = {"type": "host-local", "subnet": "10.1.0.0/24"}


def parse(*, args: str = "", **keys: Any) -> BridgeConf:
    return parse_bridge_conf(call_of(keys, CNI_ARGS=args))


def test_defaults() -> None:
    assert parse() == BridgeConf(
        bridge="cni0",
        is_gateway=False,
        is_default_gateway=False,
        force_address=False,
        ip_masq=False,
        masq_backend="",
        mtu_bytes=0,
        hairpin=False,
        promisc=False,
        vlan=0,
        trunk=(),
        preserve_default_vlan=True,
        spoof_check=False,
        isolated=False,
        dad=False,
        container_down=False,
        mac="",
        ipam="",
        dns=Dns(),
    )


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        pytest.param({"bridge": "br.1"}, "bridge", "br.1", id="bridge"),
        pytest.param({"isDefaultGateway": True}, "is_gateway", True, id="default means gateway"),
        pytest.param({"ISGATEWAY": True}, "is_gateway", True, id="keys without case"),
        pytest.param({"isGateway": None}, "is_gateway", False, id="null is absent"),
        pytest.param({"mtu": 1400}, "mtu_bytes", 1400, id="mtu"),
        pytest.param({"ipMasqBackend": "nftables"}, "masq_backend", "nftables", id="back end"),
        pytest.param({"vlan": 4094}, "vlan", 4094, id="vlan"),
        pytest.param({"ipam": IPAM}, "ipam", "host-local", id="ipam"),
        pytest.param({"ipam": {}}, "ipam", "", id="no ipam"),
        pytest.param(
            {"vlanTrunk": [{"id": 9}, {"minID": 3, "maxID": 5}, {"id": 6, "minID": 4, "maxID": 7}]},
            "trunk", ((3, 7), (9, 9)), id="trunk",
        ),
        pytest.param({"vlanTrunk": [{}]}, "trunk", (), id="an empty item"),
        pytest.param({"dns": {"domain": "d"}}, "dns", Dns(domain="d"), id="dns"),
        pytest.param({"args": "MAC=0A:00:00:00:00:01"}, "mac", "0a:00:00:00:00:01", id="CNI_ARGS"),
        pytest.param(
            {"args": "MAC=0a:00:00:00:00:01", "runtimeConfig": {"mac": "0a:00:00:00:00:02"}},
            "mac", "0a:00:00:00:00:02", id="the runtime's MAC counts more",
        ),
    ],
)  # fmt: skip
def test_keys(keys: dict[str, Any], field: str, value: object) -> None:
    assert getattr(parse(**keys), field) == value


FLAGS = (
    "isGateway", "isDefaultGateway", "forceAddress", "ipMasq", "hairpinMode", "promiscMode",
    "preserveDefaultVlan", "macspoofchk", "portIsolation", "enabledad", "disableContainerInterface",
)  # fmt: skip
REFUSED: list[tuple[str, Any]] = [
    *((flag, value) for flag in FLAGS for value in ("true", 1)),
    *(("bridge", value) for value in (1, "a/b", "sixteen-letters-", "..", "a b", "br%d", "é" * 8)),
    *(("mtu", value) for value in ("1500", 67, 65536, -1, 1.5, True)),
    *(("vlan", value) for value in (-1, 4095, "7")),
    *(
        ("vlanTrunk", value)
        for value in (
            {"id": 1}, [1], [{"id": 0}], [{"id": 4095}], [{"minID": 1}], [{"maxID": 1}],
            [{"minID": 5, "maxID": 4}], [{"minID": 0, "maxID": 4}], [{"minID": 1, "maxID": "4"}],
        )
    ),
    ("ipMasqBackend", "ipchains"),
    ("ipMasqBackend", 1),
    ("ipam", "host-local"),
    ("ipam", []),
    ("ipam", {"type": 1}),
    ("ipam", {"type": "../x"}),
    ("ipam", {"type": ".."}),
    ("dns", "x"),
    ("dns", {"nameservers": "x"}),
    ("dns", {"search": [1]}),
    ("runtimeConfig", {"mac": "x"}),
    ("runtimeConfig", {"mac": "01:00:00:00:00:01"}),
    ("runtimeConfig", {"mac": "00:00:00:00:00:00"}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), REFUSED, ids=str)
def test_refused(key: str, value: object) -> None:
    with pytest.raises(CniError) as caught:
        parse_bridge_conf(call_of({key: value}))
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"hairpinMode": True, "promiscMode": True}, id="hairpin and promiscuous"),
        pytest.param({"vlan": 7, "vlanTrunk": [{"id": 8}]}, id="access and trunk"),
        pytest.param({"disableContainerInterface": True, "ipam": IPAM}, id="down and IPAM"),
    ],
)
def test_contradictions(keys: dict[str, Any]) -> None:
    with pytest.raises(CniError) as caught:
        parse(**keys)
    assert caught.value.code == INVALID_CONFIG


def test_a_mac_of_the_environment_is_the_environments_error() -> None:
    with pytest.raises(CniError) as caught:
        parse(args="MAC=nonsense")
    assert caught.value.code == INVALID_ENVIRONMENT


# --- gateways -----------------------------------------------------------------------------------

ASSIGNED = Result(
    ips=(Ip(address="10.1.0.5/24"), Ip(address="fd00::5/64", gateway="fd00::ff")),
    routes=(Route(dst="10.9.0.0/16"),),
)


def test_no_gateway() -> None:
    conf = parse()
    ips = compute_ips(conf, ASSIGNED, 2)
    assert ips == (
        Ip(address="10.1.0.5/24", interface=2),
        Ip(address="fd00::5/64", gateway="fd00::ff", interface=2),
    )
    assert compute_routes(conf, ips, ASSIGNED) == ASSIGNED.routes
    assert compute_gateways(conf, ips) == ()


def test_the_gateway_is_the_first_address_unless_ipam_says_another() -> None:
    conf = parse(isGateway=True)
    ips = compute_ips(conf, ASSIGNED, 2)
    assert [ip.gateway for ip in ips] == ["10.1.0.1", "fd00::ff"]
    assert compute_routes(conf, ips, ASSIGNED) == ASSIGNED.routes
    assert compute_gateways(conf, ips) == ("10.1.0.1/24", "fd00::ff/64")


def test_default_routes() -> None:
    conf = parse(isDefaultGateway=True)
    ips = compute_ips(conf, ASSIGNED, 2)
    ours = (Route(dst="0.0.0.0/0", gw="10.1.0.1"), Route(dst="::/0", gw="fd00::ff"))
    assert compute_routes(conf, ips, ASSIGNED) == (*ASSIGNED.routes, *ours)
    theirs = Result(ips=ASSIGNED.ips, routes=(Route(dst="0.0.0.0/0", gw="10.1.0.7"),))
    assert compute_routes(conf, ips, theirs) == (*theirs.routes, ours[1])


def test_several_addresses_of_one_subnet_have_one_gateway() -> None:
    conf = parse(isGateway=True)
    twice = Result(ips=(Ip(address="10.1.0.5/24"), Ip(address="10.1.0.6/24")))
    assert compute_gateways(conf, compute_ips(conf, twice, 2)) == ("10.1.0.1/24",)


@given(
    st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4), st.integers(0, 32)
)  # fmt: skip
def test_overlaps(one: object, one_bits: int, other: object, other_bits: int) -> None:
    a, b = ip_interface(f"{one}/{one_bits}"), ip_interface(f"{other}/{other_bits}")
    assert overlaps(str(a), str(b)) == a.network.overlaps(b.network)


@pytest.mark.parametrize(
    ("cidr", "others", "obstacles"),
    [
        pytest.param("10.1.0.1/24", ["10.2.0.1/24", "fd00::1/64"], ["10.2.0.1/24"], id="IPv4: any"),
        pytest.param(
            "fd00::1/64", ["fd01::1/64", "fe80::1/64", "10.1.0.1/24"], [], id="IPv6: none"
        ),
        pytest.param("fd00::1/64", ["fd00::2/80"], ["fd00::2/80"], id="IPv6: overlapping"),
    ],
)
def test_obstacles(cidr: str, others: list[str], obstacles: list[str]) -> None:
    assert compute_obstacles(cidr, others) == obstacles


@pytest.mark.parametrize(
    ("keys", "entries"),
    [
        pytest.param({"vlan": 7}, [{"vid": 7, "flags": 6}], id="access: PVID and untagged"),
        pytest.param({"vlanTrunk": [{"id": 7}]}, [{"vid": 7}], id="tagged"),
        pytest.param(
            {"vlanTrunk": [{"minID": 7, "maxID": 9}]},
            [{"vid": 7, "flags": 8}, {"vid": 9, "flags": 16}],
            id="range",
        ),
    ],
)
def test_vlans(keys: dict[str, Any], entries: object) -> None:
    assert compute_vlans(parse(**keys)) == entries


def test_a_vlan_of_a_gateway_has_a_device_whose_name_fits() -> None:
    with pytest.raises(CniError) as caught:
        parse(bridge="fourteen-bytes", vlan=100, isGateway=True, ipam=IPAM)
    assert caught.value.code == INVALID_CONFIG


def test_random_macs_are_local_and_unicast() -> None:
    macs = [random_mac() for _ in range(200)]
    assert len(set(macs)) == 200
    assert {int(mac[:2], 16) & 3 for mac in macs} == {2}
