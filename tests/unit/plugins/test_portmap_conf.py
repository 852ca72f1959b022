"""What ``portmap`` reads and refuses, and which back end it chooses."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError
from podway.cni.results import Interface, Ip, Result
from podway.plugins.iptables_lines import line_of
from podway.plugins.portmap_conf import (
    PortmapConf,
    PortMapping,
    Publication,
    check_ports,
    choose_backend,
    container_addresses,
    parse_portmap_conf,
)
from podway.plugins.portmap_iptables import compute_plan
from unit.plugins.plugin_calls import call_of
from unit.plugins.publications import TCP, parse

NO_ROOM = {"runtimeConfig": {"portMappings": [TCP]}}


def test_defaults() -> None:
    assert parse(TCP) == PortmapConf(
        backend="",
        snat=True,
        masq_all=False,
        mark_bit=13,
        set_mark_chain="",
        conditions={4: (), 6: ()},
        mappings=(
            PortMapping(
                host_port=8080, container_port=80, protocol="tcp", host_address="", family=0
            ),
        ),
    )


@pytest.mark.parametrize(
    ("host", "address", "family"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", 4, id="IPv4"),
        pytest.param("2001:DB8:0::1", "2001:db8::1", 6, id="IPv6"),
        pytest.param("0.0.0.0", "", 4, id="any IPv4"),
        pytest.param("::", "", 6, id="any IPv6"),
        pytest.param("", "", 0, id="any"),
        pytest.param(None, "", 0, id="null"),
    ],
)
def test_host_ip(host: str | None, address: str, family: int) -> None:
    (mapping,) = parse({**TCP, "hostIP": host, "protocol": "UDP"}).mappings
    assert (mapping.host_address, mapping.family, mapping.protocol) == (address, family, "udp")


def mapping_with(**keys: Any) -> dict[str, Any]:
    return {"runtimeConfig": {"portMappings": [{**TCP, **keys}]}}


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"backend": 1}, "backend"),
        ({"backend": "ipvs"}, "backend"),
        ({"backend": "IPTABLES"}, "backend"),
        ({"snat": "true"}, "snat"),
        ({"snat": 1}, "snat"),
        ({"masqAll": []}, "masqAll"),
        ({"markMasqBit": "13"}, "markMasqBit"),
        ({"markMasqBit": 1.5}, "markMasqBit"),
        ({"markMasqBit": True}, "markMasqBit"),
        ({"markMasqBit": -1}, "markMasqBit"),
        ({"markMasqBit": 32}, "markMasqBit"),
        ({"externalSetMarkChain": 5}, "externalSetMarkChain"),
        ({"externalSetMarkChain": "x" * 29}, "externalSetMarkChain"),
        ({"externalSetMarkChain": "a b"}, "externalSetMarkChain"),
        ({"externalSetMarkChain": "a\n-F"}, "externalSetMarkChain"),
        ({"externalSetMarkChain": "-F"}, "externalSetMarkChain"),
        ({"externalSetMarkChain": "K", "markMasqBit": 1}, "externalSetMarkChain"),
        ({"conditionsV4": "! -d 10.0.0.1"}, "conditionsV4"),
        ({"conditionsV4": [1]}, "conditionsV4[0]"),
        ({"conditionsV4": ["-d", "10.0.0.1\n-F"]}, "conditionsV4[1]"),
        ({"conditionsV6": ["\0"]}, "conditionsV6[0]"),
        ({"conditionsV6": [""]}, "conditionsV6[0]"),
        ({"conditionsV4": ["ip", "daddr", "1.1.1.1", "accept;", "flush"]}, "conditionsV4"),
        ({"conditionsV4": ["}", "chain", "x", "{"]}, "conditionsV4"),
        ({"conditionsV4": ["ip", "daddr", "{", "1.1.1.1"]}, "conditionsV4"),
        ({"conditionsV4": ["tcp", "#"]}, "conditionsV4"),
        ({"runtimeConfig": {"portMappings": {}}}, "runtimeConfig.portMappings"),
        ({"runtimeConfig": {"portMappings": [1]}}, "runtimeConfig.portMappings[0]"),
        (mapping_with(hostPort=None), "runtimeConfig.portMappings[0].hostPort"),
        (mapping_with(hostPort=0), "hostPort"),
        (mapping_with(hostPort=65536), "hostPort"),
        (mapping_with(hostPort=-1), "hostPort"),
        (mapping_with(hostPort="80"), "hostPort"),
        (mapping_with(containerPort=None), "containerPort"),
        (mapping_with(containerPort=0), "containerPort"),
        (mapping_with(containerPort=65536), "containerPort"),
        (mapping_with(protocol=None), "protocol"),
        (mapping_with(protocol=6), "protocol"),
        (mapping_with(protocol="icmp"), "protocol"),
        (mapping_with(protocol="tcp -j ACCEPT"), "protocol"),
        (mapping_with(hostIP=1), "hostIP"),
        (mapping_with(hostIP="localhost"), "hostIP"),
        (mapping_with(hostIP="10.0.0.1/24"), "hostIP"),
        (mapping_with(hostIP="10.0.0.256"), "hostIP"),
        (mapping_with(hostIP="fe80::1%eth0"), "hostIP"),
    ],
)
def test_bad_configurations(keys: dict[str, Any], field: str) -> None:
    with pytest.raises(CniError) as caught:
        parse_portmap_conf(call_of({**NO_ROOM, **keys}).request)
    assert caught.value.code == INVALID_CONFIG
    assert field in caught.value.msg


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="the same port"),
        pytest.param({"protocol": "TCP", "hostIP": ""}, id="in other words"),
        pytest.param({"hostIP": "0.0.0.0"}, id="of one family"),
        pytest.param({"hostIP": "::"}, id="of the other"),
    ],
)
def test_a_port_leads_to_one_port(more: dict[str, Any]) -> None:
    conf = parse(TCP, {**TCP, "containerPort": 81, **more})
    with pytest.raises(CniError, match=r"8080/tcp is asked for twice: .* 80 and 81") as caught:
        check_ports(conf)
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({}, {"protocol": "udp"}, id="of another protocol"),
        pytest.param({}, {"hostPort": 8081}, id="another port"),
        pytest.param({"hostIP": "192.0.2.1"}, {"hostIP": "192.0.2.2"}, id="of another address"),
        pytest.param({"hostIP": "0.0.0.0"}, {"hostIP": "::"}, id="of another family"),
        pytest.param({}, {"hostIP": "192.0.2.1"}, id="of one address and of all"),
    ],
)
def test_ports_that_may_lead_elsewhere(first: dict[str, Any], second: dict[str, Any]) -> None:
    check_ports(parse({**TCP, **first}, {**TCP, "containerPort": 81, **second}))


def test_ports_are_told_apart_before_they_are_written() -> None:
    """The same twice is once; of two that overlap the one that says more comes first."""
    narrow = {**TCP, "containerPort": 81, "hostIP": "192.0.2.1"}
    found = parse(TCP, TCP, narrow).mappings
    assert [each.container_port for each in found] == [81, 80]


KEYS = ["backend", "snat", "masqAll", "markMasqBit", "externalSetMarkChain", "conditionsV4"]


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 33), 1 << 33),
    st.text(max_size=8),
    st.lists(st.text(max_size=3), max_size=3),
)


@given(
    keys=st.dictionaries(st.sampled_from(KEYS), VALUES),
    mapping=st.dictionaries(st.sampled_from([*TCP, "hostIP"]), VALUES),
)
def test_any_configuration(keys: dict[str, Any], mapping: dict[str, Any]) -> None:
    try:
        conf = parse({**TCP, **mapping}, **keys)
    except CniError as error:
        assert error.code == INVALID_CONFIG  # noqa: PT017
        return
    wanted = Publication(
        network="n", container_id="c", ifname="e", conf=conf, addresses={4: "10.1.0.5/24"}
    )
    for line in (line_of(rule) for rule in compute_plan(wanted, 4).rules):
        assert line.isprintable()
        assert line.count('"') % 2 == 0


@pytest.mark.parametrize(
    ("keys", "backend", "code"),
    [
        ({"backend": "nftables"}, "nftables", None),
        ({"backend": "nftables", "externalSetMarkChain": "K"}, "", INVALID_CONFIG),
        ({"backend": "nftables", "conditionsV4": ["-d", "10.0.0.1"]}, "", INVALID_CONFIG),
        ({"backend": "nftables", "conditionsV6": ["!", "-d", "::1"]}, "", INVALID_CONFIG),
        ({"backend": "iptables", "conditionsV4": ["ip", "daddr", "::1"]}, "", INVALID_CONFIG),
        ({}, "iptables", None),
    ],
)
def test_back_ends(
    keys: dict[str, Any], backend: str, code: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podway.plugins.portmap_conf.has_program", lambda *_: True)
    if code is None:
        assert choose_backend(parse(**keys)) == backend
        return
    with pytest.raises(CniError) as caught:
        choose_backend(parse(**keys))
    assert caught.value.code == code


def test_back_ends_without_iptables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podway.plugins.portmap_conf.has_program", lambda *_: False)
    assert choose_backend(parse()) == "nftables"
    with pytest.raises(CniError) as caught:
        choose_backend(parse(backend="iptables"))
    assert caught.value.code == UNSUPPORTED_FIELD


def test_addresses_of_the_container() -> None:
    interfaces = (
        Interface(name="br0"),
        Interface(name="eth0", sandbox="/x"),
        Interface(name="eth1", sandbox="/x"),
    )
    ips = (
        Ip(address="10.0.0.1/24", interface=0),
        Ip(address="10.0.0.2/24", interface=2),
        Ip(address="10.0.0.3/24", interface=1),
        Ip(address="10.0.0.4/24"),
        Ip(address="fd00::1/64"),
        Ip(address="fd00::2/64", interface=9),
    )
    result = Result(interfaces=interfaces, ips=ips)
    assert container_addresses(result, "eth0") == {4: "10.0.0.3/24", 6: "fd00::1/64"}
    assert container_addresses(Result(), "eth0") == {}
