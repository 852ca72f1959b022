"""With what a command ends: 2 for its own arguments, 1 for everything else that goes wrong."""

import json
from pathlib import Path

import pytest

from podway.cli.main import main
from podway.errors import ArgumentError, ConfigError, PodwayError, exit_code

DONE, FAILED, WRONG_ARGUMENTS = 0, 1, 2


def ended_with(words: list[str]) -> object:
    """Return the exit code, whoever ends the command."""
    try:
        return main(words)
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(ArgumentError("--size", -1, "must be 0 or more"), WRONG_ARGUMENTS, id="own"),
        pytest.param(ConfigError("Network", "x", "must be a prefix"), FAILED, id="of a file"),
        pytest.param(PodwayError("no"), FAILED, id="of the machine"),
    ],
)
def test_an_error_s_code(error: PodwayError, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param("version", DONE, id="done"),
        pytest.param("stauts", WRONG_ARGUMENTS, id="no such command"),
        pytest.param("status --sockt x", WRONG_ARGUMENTS, id="no such option"),
        pytest.param("status --socket /nonexistent", FAILED, id="no agent"),
        pytest.param("node list --store bogus:x", WRONG_ARGUMENTS, id="no such store"),
        pytest.param("node list --store tcp:x:y", WRONG_ARGUMENTS, id="no port"),
        pytest.param("node list --store tcp:127.0.0.1:1", WRONG_ARGUMENTS, id="no TLS files"),
        pytest.param("node list --store etcd:127.0.0.1", WRONG_ARGUMENTS, id="etcd, no scheme"),
        pytest.param("node list --store kubernetes:x", WRONG_ARGUMENTS, id="relative kubeconfig"),
        pytest.param("node list --store kubernetes:/nonexistent", FAILED, id="no kubeconfig"),
        pytest.param("node list --store unix:/nonexistent", FAILED, id="no hub"),
        pytest.param("node reserve n1 10.0.0.0/33", WRONG_ARGUMENTS, id="no prefix"),
        pytest.param("ipam release 10.0.0.256", WRONG_ARGUMENTS, id="no address"),
        pytest.param("ipam release 10.0.0.2 --socket /nonexistent", FAILED, id="address, no agent"),
        pytest.param("network check /nonexistent", FAILED, id="no file"),
        pytest.param("hub --listen tcp:0.0.0.0:1", WRONG_ARGUMENTS, id="hub: no TLS files"),
        pytest.param("hub --max-clients 0", WRONG_ARGUMENTS, id="hub: out of bounds"),
        pytest.param("hub --net-conf /nonexistent", FAILED, id="hub: no file"),
        pytest.param("agent --lease-ttl 1", WRONG_ARGUMENTS, id="agent: out of bounds"),
    ],
)
def test_codes(words: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_with(words.split()) == code, capsys.readouterr().err


@pytest.mark.root
@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param("up --nodes 0", WRONG_ARGUMENTS, id="no nodes"),
        pytest.param("up --nodes 251", WRONG_ARGUMENTS, id="too many nodes"),
        pytest.param("up --mtu 10", WRONG_ARGUMENTS, id="MTU"),
        pytest.param("up --backend host-gw --routed-underlay", WRONG_ARGUMENTS, id="cannot go"),
        pytest.param("up --name A/b", WRONG_ARGUMENTS, id="name"),
        pytest.param("ping --size -1", WRONG_ARGUMENTS, id="size"),
        pytest.param("ping --timeout 0", WRONG_ARGUMENTS, id="timeout"),
        pytest.param("ping --for 0", WRONG_ARGUMENTS, id="no while"),
        pytest.param("iperf n1 n2 --streams 0", WRONG_ARGUMENTS, id="streams"),
        pytest.param("pod add --count 0", WRONG_ARGUMENTS, id="pods"),
        pytest.param("pod add --network bogus", WRONG_ARGUMENTS, id="network of a pod"),
        pytest.param("pod add --network bridge --publish 0:1", WRONG_ARGUMENTS, id="port"),
        pytest.param("exec p1 --", WRONG_ARGUMENTS, id="no command"),
        pytest.param("demo --seconds 0", WRONG_ARGUMENTS, id="seconds"),
        pytest.param("ping --name nosuchlab", FAILED, id="no lab"),
        pytest.param("status --name ../x", WRONG_ARGUMENTS, id="no name of a lab"),
    ],
)
def test_codes_of_the_lab(words: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_with(["lab", *words.split()]) == code, capsys.readouterr().err


def test_a_file_that_is_refused_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net-conf.json"
    path.write_text('{"Network": "10.0.0.0/33"}')
    assert ended_with(["network", "check", str(path), "--json"]) == FAILED
    assert json.loads(capsys.readouterr().out)["error"].startswith("Network")
