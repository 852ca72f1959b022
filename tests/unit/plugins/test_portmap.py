"""What portmap reads and refuses, and the rules that it computes, in the words of iptables."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError
from podway.cni.results import Interface, Ip, Result
from podway.netlink.conntrack import (
    delete_connection,
    destination_of,
    dump_connections,
    source_of,
)
from podway.netlink.constants import AF_INET
from podway.plugins.iptables_lines import compute_lines, delete_own_chains, line_of
from podway.plugins.portmap_chains import chain_name, comment_text
from podway.plugins.portmap_conf import (
    PortmapConf,
    PortMapping,
    Publication,
    check_ports,
    choose_backend,
    container_addresses,
    parse_portmap_conf,
)
from podway.plugins.portmap_iptables import compute_plan, group_ports
from podway.plugins.portmap_legacy import compute_deletions
from podway.plugins.portmap_nftables import compute_rules, owner_of
from unit.plugins.plugin_calls import call_of

TCP = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
NO_ROOM = {"runtimeConfig": {"portMappings": [TCP]}}
TEXT = r'-m comment --comment "dnat name: \"n\" id: \"c\""'
MARKS = '-m comment --comment "CNI portfwd masquerade mark"'
MASQUERADES = '-m comment --comment "CNI portfwd requiring masquerade"'
OWN = chain_name("n", "c")


def parse(*mappings: dict[str, Any], **keys: Any) -> PortmapConf:
    config = {"runtimeConfig": {"portMappings": list(mappings)}, **keys}
    return parse_portmap_conf(call_of(config).request)


def publish(*mappings: dict[str, Any], **keys: Any) -> Publication:
    return Publication(
        network="n",
        container_id="c",
        ifname="eth0",
        conf=parse(*(mappings or (TCP,)), **keys),
        addresses={4: "10.1.0.5/24", 6: "fd00::5/64"},
    )


def lines(wanted: Publication, family: int = 4) -> list[str]:
    return [line_of(rule) for rule in compute_plan(wanted, family).rules]


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


def test_rules() -> None:
    assert lines(publish()) == [
        "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        f"-A CNI-HOSTPORT-SETMARK {MARKS} -j MARK --set-xmark 0x2000/0x2000",
        "-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE",
        f"-A POSTROUTING {MASQUERADES} -j CNI-HOSTPORT-MASQ",
        f"-A CNI-HOSTPORT-DNAT -p tcp {TEXT} -m multiport --dports 8080 -j {OWN}",
        f"-A {OWN} -s 10.1.0.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK",
        f"-A {OWN} -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK",
        f"-A {OWN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80",
    ]
    assert lines(publish(snat=False), 6) == [
        "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        f"-A CNI-HOSTPORT-DNAT -p tcp {TEXT} -m multiport --dports 8080 -j {OWN}",
        f"-A {OWN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00::5]:80",
    ]


def test_rules_with_more() -> None:
    wanted = publish(
        {**TCP, "hostIP": "192.0.2.1"},
        {**TCP, "hostIP": "::"},
        externalSetMarkChain="KUBE-MARK-MASQ",
        masqAll=True,
        conditionsV4=["!", "-d", "a b"],
    )
    assert lines(wanted)[2:] == [
        f'-A CNI-HOSTPORT-DNAT -p tcp {TEXT} -m multiport --dports 8080,8080 ! -d "a b" -j {OWN}',
        f"-A {OWN} -d 192.0.2.1/32 -p tcp -m tcp --dport 8080 -j KUBE-MARK-MASQ",
        f"-A {OWN} -d 192.0.2.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80",
    ]


def test_names_are_the_originals() -> None:
    from hashlib import sha512  # noqa: PLC0415

    assert chain_name("net", "c1") == f"CNI-DN-{sha512(b'netc1').hexdigest()[:21]}"
    assert len(comment_text("n" * 200, "c" * 200)) == 256
    assert comment_text("n" * 200, "c" * 200).endswith("...")


def test_ports_by_protocol() -> None:
    mappings = parse(
        *({**TCP, "hostPort": n} for n in range(1, 18)), {**TCP, "protocol": "sctp"}
    ).mappings
    assert group_ports(mappings) == [
        ("sctp", (8080,)),
        ("tcp", tuple(range(1, 16))),
        ("tcp", (16, 17)),
    ]


def test_lines_write_only_what_is_missing() -> None:
    plan = compute_plan(publish(), 4)
    whole = compute_lines([], plan)
    assert whole[:4] == [
        ":CNI-HOSTPORT-SETMARK - [0:0]",
        ":CNI-HOSTPORT-MASQ - [0:0]",
        ":CNI-HOSTPORT-DNAT - [0:0]",
        f":{OWN} - [0:0]",
    ]
    # What goes first is written backwards.
    assert [line.split()[:2] for line in whole if line.startswith("-I")] == [
        ["-I", "CNI-HOSTPORT-DNAT"],
        ["-I", "POSTROUTING"],
    ]
    saved = [*whole[:4], *lines(publish())]
    assert compute_lines(saved, plan) == []
    stale = [line.replace("10.1.0.5:80", "10.1.0.9:80") for line in saved]
    assert compute_lines(stale, plan) == [
        f"-D {OWN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.9:80",
        f"-A {OWN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80",
    ]


def test_legacy_deletions() -> None:
    saved = [f":{OWN} - [0:0]", *lines(publish())]
    entry = f"-D CNI-HOSTPORT-DNAT -p tcp {TEXT} -m multiport --dports 8080 -j {OWN}"
    whole = [entry, f"-F {OWN}", f"-X {OWN}"]
    assert compute_deletions(saved, publish(), 4) == whole
    assert delete_own_chains(saved, [OWN]) == whole
    assert compute_deletions([], publish(), 4) == []
    other = f"-A {OWN} -p tcp -m tcp --dport 81 -j DNAT --to-destination 10.1.0.6:80"
    target = f"-D {OWN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80"
    assert compute_deletions([*saved, other], publish(), 4) == [target]


def test_nftables_rules() -> None:
    wanted = publish({**TCP, "hostIP": "192.0.2.1"}, {**TCP, "hostIP": "::1"})
    assert [chain for chain, _ in compute_rules(wanted, 4)] == [
        "hostports",
        "masquerading",
        "masquerading",
    ]
    assert [chain for chain, _ in compute_rules(wanted, 6)] == ["hostports", "masquerading"]
    assert [chain for chain, _ in compute_rules(publish(snat=False), 4)] == ["hostports"]
    assert owner_of("n", "c", "eth0") != owner_of("n", "c", "eth1")
    assert owner_of("n", "c", "eth0")[:17] == owner_of("n", "d", "eth1")[:17]


def test_connections() -> None:
    tuple_orig = {
        "ip": {"v4_src": b"\x0a\0\0\1", "v4_dst": b"\x0a\0\0\2"},
        "proto": {"num": 17, "src_port": 4000, "dst_port": 53},
    }
    found: Any = {"family": AF_INET, "tuple_orig": tuple_orig, "id": 7, "status": 1}
    assert (source_of(tuple_orig), destination_of(tuple_orig)) == (b"\x0a\0\0\1", b"\x0a\0\0\2")
    assert (source_of({}), destination_of({})) == (b"", b"")
    request = delete_connection(found)
    assert request.describe(str) == "delete connection of protocol 17 to 10.0.0.2 port 53"
    assert request.fields == {"family": AF_INET, "tuple_orig": tuple_orig, "id": 7}
    keep = dump_connections(AF_INET, 17, 53).keep
    assert keep is not None
    assert keep(found)
    assert not keep({"tuple_orig": {"proto": {"num": 6, "dst_port": 53}}})
    assert not keep({"tuple_orig": {"proto": {"num": 17, "dst_port": 54}}})
