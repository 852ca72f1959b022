"""``--instance``: which agent a command asks, and what it says when that one does not run."""

import argparse
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from podway.agent import places
from podway.agent.places import agent_socket_of, cni_socket_of, running_instances
from podway.agent.settings import Settings, with_own_places
from podway.cli.agents import socket_of
from podway.cli.main import build_parser, full_parser, main
from podway.cni.frames import DEFAULT_AGENT_SOCKET


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have run directories lie below the test's own; return the one of no name."""
    monkeypatch.setattr(places, "DEFAULT_RUN_DIR", tmp_path / "podway")
    return tmp_path / "podway"


@pytest.fixture
def blue_and_red(run_dir: Path) -> Iterator[None]:
    """Let two instances listen, and leave a third one's socket that nobody listens on."""
    with ExitStack() as stack:
        for name in ("blue", "red", "dead"):
            path = places.own_dir(run_dir, name) / "agent.sock"
            path.parent.mkdir()
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            if name != "dead":
                listener.listen()
        yield


def test_agent_command_and_plugin_mean_the_same_sockets() -> None:
    for name in ("", "blue"):
        settings = with_own_places(Settings(node="n", store="unix:/s", instance=name))
        assert agent_socket_of(name) == settings.run_dir / "agent.sock"
        assert cni_socket_of(name) == settings.run_dir / "cni.sock"
    assert str(cni_socket_of("")) == DEFAULT_AGENT_SOCKET


ASKING = (["status"], ["diff"], ["ipam", "show"], ["ipam", "check"], ["ipam", "release", "::1"])


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
@pytest.mark.parametrize(
    ("options", "variable", "path"),
    [
        pytest.param([], None, "/run/podway/agent.sock", id="the usual one"),
        pytest.param(["--instance=blue"], None, "/run/podway-blue/agent.sock", id="named"),
        pytest.param([], "red", "/run/podway-red/agent.sock", id="by the environment"),
        pytest.param(["--instance=blue"], "red", "/run/podway-blue/agent.sock", id="both"),
        pytest.param(["--instance="], "red", "/run/podway/agent.sock", id="the one without"),
        pytest.param(["--instance=blue", "--socket=/s"], None, "/s", id="as told"),
    ],
)
def test_where_the_agent_listens(
    words: list[str],
    options: list[str],
    variable: str | None,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PODWAY_INSTANCE", raising=False)
    if variable:
        monkeypatch.setenv("PODWAY_INSTANCE", variable)
    assert str(socket_of(build_parser(words).parse_args([*words, *options]))) == path


@pytest.mark.parametrize(
    ("options", "instance", "path"),
    [
        pytest.param([], "", "/env", id="neither named"),
        pytest.param(["--socket=/s"], "", "/s", id="the socket named"),
        pytest.param(["--instance=blue"], "", "/run/podway-blue/agent.sock", id="the instance"),
        pytest.param([], "red", "/run/podway-red/agent.sock", id="the instance by environment"),
    ],
)
def test_a_socket_in_the_environment(
    options: list[str], instance: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWAY_SOCKET", "/env")
    monkeypatch.setenv("PODWAY_INSTANCE", instance)
    assert str(socket_of(build_parser(["status"]).parse_args(["status", *options]))) == path


def parsers_that_name_a_socket(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers_that_name_a_socket(child)
        if {"--socket", "--agent-socket"} & set(action.option_strings):
            assert "--instance" in parser._option_string_actions, parser.prog
            yield action


def test_whoever_takes_an_agents_socket_takes_its_name() -> None:
    assert len(list(parsers_that_name_a_socket(full_parser()))) == len(ASKING) + 1


@pytest.mark.usefixtures("blue_and_red")
def test_those_that_run(run_dir: Path) -> None:
    assert running_instances() == ["blue", "red"]
    run_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / "agent.sock"))
        listener.listen()
        assert running_instances() == ["", "blue", "red"]


@pytest.mark.usefixtures("blue_and_red")
@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_an_instance_that_does_not_run(
    words: list[str], run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("green", "dead"):
        assert main([*words, "--json", "--instance", name]) == 1
        error = json.loads(capsys.readouterr().out)["error"]
        assert str(places.own_dir(run_dir, name) / "agent.sock") in error
        assert error.endswith("running here: --instance blue, --instance red")


@pytest.mark.usefixtures("blue_and_red")
def test_the_one_without_a_name_does_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 1
    said = capsys.readouterr().err
    assert "no agent without --instance" in said
    assert "--instance blue, --instance red" in said
    assert main(["status", "--socket=/nonexistent"]) == 1
    assert "--instance blue" not in capsys.readouterr().err, "a socket was named, no instance"


@pytest.mark.usefixtures("run_dir")
def test_none_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--instance=blue"]) == 1
    assert "podway agent" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Blue", "eightchr", "b-1", "podway", "../x"])
def test_no_such_name_is_possible(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status", "--instance", name])
    assert ended.value.code == 2
    monkeypatch.setenv("PODWAY_INSTANCE", name)
    with pytest.raises(SystemExit) as ended:
        main(["status"])
    assert ended.value.code == 2
    assert repr(name) in capsys.readouterr().err


def test_the_plugins_configuration_names_the_instances_agent(tmp_path: Path) -> None:
    for words, expected in (
        (["--instance=blue"], "/run/podway-blue/cni.sock"),
        (["--instance=blue", "--agent-socket=/run/x/cni.sock"], "/run/x/cni.sock"),
        ([], None),
    ):
        where = ["cni", "install", str(tmp_path / "bin"), "--create", f"--conf-dir={tmp_path}"]
        assert main([*where, "--replace", *words]) == 0
        document = json.loads((tmp_path / "10-podway.conflist").read_bytes())
        assert document["plugins"][0].get("agentSocket") == expected
