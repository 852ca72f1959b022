"""What firewall reads and refuses, its rules, its notes, and the messages of D-Bus."""

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError
from podway.cni.results import Interface, Ip, Result
from podway.plugins import firewall_conf
from podway.plugins.dbus import decode_fields, decode_value, encode_call
from podway.plugins.firewall_conf import (
    FirewallConf,
    addresses_of,
    bridge_of,
    choose_backend,
    families_of,
    parse_firewall_conf,
)
from podway.plugins.firewall_iptables import compute_plans, compute_policy_plans
from podway.plugins.firewall_records import Record, Records
from podway.plugins.iptables_lines import compute_lines, line_of
from unit.plugins.plugin_calls import call_of


def parse(**keys: Any) -> FirewallConf:
    return parse_firewall_conf(call_of(keys).request)


def test_defaults() -> None:
    assert parse() == FirewallConf(
        backend="",
        admin_chain="CNI-ADMIN",
        zone="trusted",
        table="filter",
        policy="open",
        data_dir="/run/cni/firewall",
    )


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"backend": 1}, "backend"),
        ({"backend": "pf"}, "backend"),
        ({"iptablesAdminChainName": []}, "iptablesAdminChainName"),
        ({"iptablesAdminChainName": "x" * 29}, "iptablesAdminChainName"),
        ({"iptablesAdminChainName": "A B"}, "iptablesAdminChainName"),
        ({"iptablesAdminChainName": "A\n-F"}, "iptablesAdminChainName"),
        ({"iptablesAdminChainName": 'A"'}, "iptablesAdminChainName"),
        ({"iptablesAdminChainName": "-j"}, "iptablesAdminChainName"),
        ({"iptablesAdminChainName": "é"}, "iptablesAdminChainName"),
        ({"firewalldZone": 1}, "firewalldZone"),
        ({"firewalldZone": "a b"}, "firewalldZone"),
        ({"firewalldZone": "a\0"}, "firewalldZone"),
        ({"nftablesTable": {}}, "nftablesTable"),
        ({"nftablesTable": "a;b"}, "nftablesTable"),
        ({"nftablesTable": "-a"}, "nftablesTable"),
        ({"ingressPolicy": True}, "ingressPolicy"),
        ({"ingressPolicy": "closed"}, "ingressPolicy"),
        ({"dataDir": 5}, "dataDir"),
        ({"dataDir": "run"}, "dataDir"),
        ({"dataDir": "/a\0"}, "dataDir"),
    ],
)
def test_bad_configurations(keys: dict[str, Any], field: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(**keys)
    assert caught.value.code == INVALID_CONFIG
    assert field in caught.value.msg


KEYS = [
    "backend", "iptablesAdminChainName", "firewalldZone", "nftablesTable", "ingressPolicy",
    "dataDir",
]  # fmt: skip
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=30), st.just([1]))


@given(keys=st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_any_configuration(keys: dict[str, Any]) -> None:
    try:
        conf = parse(**keys)
    except CniError as error:
        assert error.code == INVALID_CONFIG  # noqa: PT017
        return
    for plan in compute_plans(conf, ("10.1.0.5",), "br0"):
        for rule in plan.rules:
            assert line_of(rule).isprintable()
            assert line_of(rule).count('"') % 2 == 0


@pytest.mark.parametrize(
    ("configured", "firewalld", "iptables", "chosen"),
    [
        ("", True, True, "firewalld"),
        ("", False, True, "iptables"),
        ("", False, False, "nftables"),
        ("iptables", True, True, "iptables"),
        ("iptables", True, False, None),
        ("firewalld", True, False, "firewalld"),
        ("firewalld", False, True, None),
        ("nftables", True, True, "nftables"),
    ],
)
def test_back_ends(
    configured: str,
    firewalld: bool,  # noqa: FBT001
    iptables: bool,  # noqa: FBT001
    chosen: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(firewall_conf, "has_program", lambda *_: iptables)
    monkeypatch.setattr("podway.plugins.firewall_firewalld.is_running", lambda: firewalld)
    if chosen is not None:
        assert choose_backend(parse(backend=configured)) == chosen
        return
    with pytest.raises(CniError) as caught:
        choose_backend(parse(backend=configured))
    assert caught.value.code == UNSUPPORTED_FIELD


def test_addresses_and_bridge() -> None:
    result = Result(
        interfaces=(Interface(name="cni0"), Interface(name="eth0", sandbox="/x")),
        ips=(Ip(address="10.1.0.5/24"), Ip(address="fd00::5/64"), Ip(address="10.1.0.5/16")),
    )
    assert addresses_of(result) == ("10.1.0.5", "fd00::5")
    assert families_of(addresses_of(result)) == (4, 6)
    assert bridge_of(parse(), result) == ""
    assert bridge_of(parse(ingressPolicy="isolated"), result) == "cni0"


def test_rules() -> None:
    policy = 'comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge)"'
    (plan,) = compute_plans(parse(ingressPolicy="same-bridge"), ("10.1.0.5",), "br0")
    assert plan.chains == (
        "CNI-FORWARD", "CNI-ADMIN", "CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2",
    )  # fmt: skip
    assert [line_of(rule) for rule in plan.rules] == [
        f"-A FORWARD -m {policy} -j CNI-ISOLATION-STAGE-1",
        f"-A CNI-ISOLATION-STAGE-1 -i br0 ! -o br0 -m {policy} -j CNI-ISOLATION-STAGE-2",
        f"-A CNI-ISOLATION-STAGE-1 -m {policy} -j RETURN",
        f"-A CNI-ISOLATION-STAGE-2 -o br0 -m {policy} -j DROP",
        f"-A CNI-ISOLATION-STAGE-2 -m {policy} -j RETURN",
        '-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD',
        '-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN',
        "-A CNI-FORWARD -d 10.1.0.5/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A CNI-FORWARD -s 10.1.0.5/32 -j ACCEPT",
    ]
    saved = [*compute_lines([], plan)[:4], *(line_of(rule) for rule in plan.rules)]
    assert compute_lines(saved, plan) == []
    four, six = compute_plans(parse(), ("10.1.0.5", "fd00::5"), "")
    assert line_of(six.rules[-1]) == "-A CNI-FORWARD -s fd00::5/128 -j ACCEPT"
    assert four.chains == ("CNI-FORWARD", "CNI-ADMIN")


def test_rules_of_a_policy_alone() -> None:
    (plan,) = compute_policy_plans(parse(ingressPolicy="isolated"), ("10.1.0.5",), "br0")
    drop = [line_of(rule) for rule in plan.rules if " -i br0 -o br0 " in line_of(rule)]
    assert len(drop) == 1
    assert "CNI-FORWARD" not in "".join(line_of(rule) for rule in plan.rules)


def record(container: str = "c1", network: str = "net") -> Record:
    return Record(network=network, container_id=container, ifname="eth0", backend="iptables")


def test_records(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    with Records(str(directory)) as records:
        assert records.find("net") == {}
        records.write("10.1.0.5", record())
        records.write("fd00::5", record())
        records.write("10.1.0.6", record("c2", "other"))
        records.write("10.1.0.5", record("c3"))
        assert records.find("net") == {"10.1.0.5": record("c3"), "fd00::5": record()}
        records.remove("10.1.0.5")
        records.remove("10.1.0.5")
        assert records.read("10.1.0.5") is None
    assert sorted(path.name for path in directory.iterdir()) == ["10.1.0.6", "fd00::5"]
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", ["", "{", "[]", '{"network": 1}', "\xff"])
def test_torn_records_belong_to_nobody(content: str, tmp_path: Path) -> None:
    (tmp_path / "10.1.0.5").write_text(content, encoding="latin-1")
    (tmp_path / "notes.txt").write_text("somebody else's", encoding="utf-8")
    (tmp_path / "10.1.0.7.new").write_text("{", encoding="utf-8")
    with Records(str(tmp_path)) as records:
        found = records.read("10.1.0.5")
        assert found is None or found.network == ""
        assert records.find("net") == {}


def test_dbus_calls() -> None:
    """As dbus-send writes them: every field at a multiple of 8."""
    message = encode_call(7, ("a.B", "/p", "a.I", "m"), ("zone", "10.1.0.5/32"))
    order, kind, flags, version, body_bytes, serial, fields_bytes = struct.unpack(
        "<cBBBIII", message[:16]
    )
    assert (order, kind, flags, version, serial) == (b"l", 1, 2, 1, 7)
    assert decode_fields(message[16 : 16 + fields_bytes]) == {
        1: "/p", 2: "a.I", 3: "m", 6: "a.B", 8: "ss",
    }  # fmt: skip
    body = message[16 + fields_bytes + -fields_bytes % 8 :]
    assert len(body) == body_bytes
    assert decode_value("ss", body) == "zone"
    assert body[12:] == b"\x0b\0\0\x0010.1.0.5/32\0"


@pytest.mark.parametrize(
    ("signature", "body", "value"),
    [
        ("", b"", None),
        ("s", b"\x02\0\0\0ab\0", "ab"),
        ("b", b"\x01\0\0\0", True),
        ("b", b"\0\0\0\0", False),
        ("u", b"\x05\0\0\0", 5),
        ("as", b"\x0e\0\0\0\x01\0\0\0a\0\0\0\x01\0\0\0b\0", ["a", "b"]),
        ("as", b"\0\0\0\0", []),
        ("a{sv}", b"\0\0\0\0\0\0\0\0", None),
        ("v", b"\x01s\0\0", None),
    ],
)
def test_dbus_values(signature: str, body: bytes, value: object) -> None:
    assert decode_value(signature, body) == value
