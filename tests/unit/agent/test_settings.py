"""Options of the agent: command line over environment over default, and every wrong value."""

import argparse
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from podway.agent.settings import Settings, add_arguments, settings_from
from podway.model.nodes import UplinkChoice


def parse(*arguments: str) -> Settings:
    parser = argparse.ArgumentParser(prog="podway agent")
    add_arguments(parser)
    return settings_from(parser.parse_args(arguments))


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.__struct_fields__:
        monkeypatch.delenv(f"PODWAY_{name.upper()}", raising=False)


def test_defaults_are_those_of_the_value() -> None:
    assert parse() == Settings(node=socket.gethostname(), store="unix:/run/podway/hub.sock")


def test_a_variable_that_is_set_but_empty_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"uplink_regexes": "uplink_regex", "uplinks": "uplink", "public_ips": "public_ip"}
    for name in Settings.__struct_fields__:
        variable = named.get(name, name.removesuffix("_s"))
        monkeypatch.setenv(f"PODWAY_{variable.upper()}", "")
    assert parse() == Settings(node=socket.gethostname(), store="unix:/run/podway/hub.sock")


def test_every_option() -> None:
    assert parse(
        *("--node", "n1", "--store", "tcp:hub:4000", "--uplink", "eth1"),
        *("--tls-ca", "/ca", "--tls-cert", "/cert", "--tls-key", "/key", "--plaintext"),
        *("--store-user", "podway", "--store-password-file", "/pw"),
        *("--public-ip", "192.0.2.1", "--public-ip", "2001:db8::1"),
        *("--state-dir", "/s", "--run-dir", "/r", "--http", "127.0.0.1:9", "--lease-ttl", "10"),
        *("--cooldown", "0.5", "--resync", "60", "--store-grace", "5", "--no-forward-rules"),
        *("--log-level", "debug", "--log-format", "json"),
    ) == Settings(
        node="n1",
        store="tcp:hub:4000",
        tls_ca=Path("/ca"),
        tls_cert=Path("/cert"),
        tls_key=Path("/key"),
        plaintext=True,
        store_user="podway",
        store_password_file=Path("/pw"),
        uplinks=("eth1",),
        public_ips=(ip_address("192.0.2.1"), ip_address("2001:db8::1")),
        state_dir=Path("/s"),
        run_dir=Path("/r"),
        http="127.0.0.1:9",
        lease_ttl_s=10,
        cooldown_s=0.5,
        resync_s=60.0,
        store_grace_s=5.0,
        no_forward_rules=True,
        log_level="debug",
        log_format="json",
    )


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("NODE", "n7", "node", "n7"),
        ("STORE", "unix:/x", "store", "unix:/x"),
        ("TLS_CA", "/ca", "tls_ca", Path("/ca")),
        ("PLAINTEXT", "1", "plaintext", True),
        ("PLAINTEXT", "true", "plaintext", True),
        ("PLAINTEXT", "0", "plaintext", False),
        ("PLAINTEXT", "", "plaintext", False),
        ("PUBLIC_IP", "192.0.2.1", "public_ips", (ip_address("192.0.2.1"),)),
        (
            "PUBLIC_IP",
            "192.0.2.1, 2001:db8::1,",
            "public_ips",
            (ip_address("192.0.2.1"), ip_address("2001:db8::1")),
        ),
        ("PUBLIC_IP", "", "public_ips", ()),
        ("LEASE_TTL", "0", "lease_ttl_s", 0),
        ("COOLDOWN", "1.5", "cooldown_s", 1.5),
        ("LOG_FORMAT", "json", "log_format", "json"),
        ("STATE_DIR", "/s", "state_dir", Path("/s")),
    ],
)
def test_the_environment_sets_what_the_command_line_leaves(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    monkeypatch.setenv(f"PODWAY_{variable}", text)
    assert getattr(parse(), field) == value


def test_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("NODE", "env"), ("PUBLIC_IP", "192.0.2.1"), ("COOLDOWN", "7")):
        monkeypatch.setenv(f"PODWAY_{name}", text)
    chosen = parse("--node", "line", "--public-ip", "192.0.2.9", "--cooldown", "8")
    assert (chosen.node, chosen.cooldown_s) == ("line", 8.0)
    assert chosen.public_ips == (ip_address("192.0.2.9"),)


WRONG = [
    ("node", "", "1 to 253"),
    ("node", "a b", "letters"),
    ("node", "-a", "letter or digit first"),
    ("node", "a/../b", "letters"),
    ("node", "x" * 254, "253"),
    ("public-ip", "192.0.2", "an IP address"),
    ("public-ip", "192.0.2.1/24", "an IP address"),
    ("public-ip", "127.0.0.1", "peers can reach"),
    ("public-ip", "0.0.0.0", "peers can reach"),
    ("public-ip", "224.0.0.1", "peers can reach"),
    ("public-ip", "::", "peers can reach"),
    ("cooldown", "0", "above 0"),
    ("cooldown", "-1", "above 0"),
    ("cooldown", "nan", "above 0"),
    ("cooldown", "inf", "above 0"),
    ("resync", "soon", "above 0"),
    ("store-grace", "", "above 0"),
    ("lease-ttl", "9", "10 to 31536000"),
    ("lease-ttl", "-1", "10 to 31536000"),
    ("lease-ttl", "10.5", "10 to 31536000"),
    ("lease-ttl", "31536001", "10 to 31536000"),
    ("lease-ttl", "inf", "10 to 31536000"),
    ("lease-ttl", "a day", "10 to 31536000"),
    ("log-level", "loud", "debug, "),
    ("log-format", "xml", "text, "),
]


@pytest.mark.parametrize(("option", "text", "rule"), WRONG)
def test_a_wrong_value_names_option_and_rule(
    capsys: pytest.CaptureFixture[str], option: str, text: str, rule: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(f"--{option}={text}")
    assert ended.value.code == 2
    said = capsys.readouterr().err.replace("'", "")
    assert f"--{option}" in said
    assert rule in said


@pytest.mark.parametrize(
    ("option", "text", "rule"),
    [*(each for each in WRONG if each[1]), ("plaintext", "perhaps", "1, true, 0 or false")],
)
def test_the_environment_is_held_to_the_same_rules(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    text: str,
    rule: str,
) -> None:
    variable = f"PODWAY_{option.upper().replace('-', '_')}"
    monkeypatch.setenv(variable, text)
    with pytest.raises(SystemExit) as ended:
        parse()
    assert ended.value.code == 2
    said = capsys.readouterr().err.replace("'", "")
    assert variable in said
    assert rule in said


def test_which_interface() -> None:
    settings = parse(
        *("--uplink", "eth0", "--uplink", "192.0.2.1"),
        *("--uplink-regex", "^en", "--uplink-can-reach", "192.0.2.9"),
    )
    assert settings.uplink_choice == UplinkChoice(
        names=("eth0", "192.0.2.1"), patterns=("^en",), reach=ip_address("192.0.2.9")
    )
    assert not parse().uplink_choice
    with pytest.raises(SystemExit):
        parse("--uplink-regex", "(")
