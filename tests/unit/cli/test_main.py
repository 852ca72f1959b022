"""``podway`` itself: which command runs, what is loaded for it, what mistakes say."""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from podway import __version__
from podway.cli.commands import COMMANDS
from podway.cli.main import build_parser, command_parsers, full_parser, main

NAMES = [command.name for command in COMMANDS]


def test_help_names_every_command() -> None:
    text = build_parser([]).format_help()
    for command in COMMANDS:
        assert f"    {command.name}" in text
        assert " ".join(command.help.split()[:3]) in text


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: podway {name} ")


def parsers_below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield *parser* and all of its sub-commands' parsers, at any depth."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers_below(child)


def test_everything_has_a_description_and_every_argument_its_help() -> None:
    for parser in parsers_below(full_parser()):
        assert parser.description, parser.prog
        for action in parser._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), (
                parser.prog,
                action.dest,
            )


# The others run for good, print a script, or become another program.
WITHOUT_JSON = {
    "podway agent",
    "podway hub",
    "podway dhcp",
    "podway flanneld",
    "podway docker-opts",
    "podway completion",
    "podway lab exec",
}


def test_every_command_speaks_json() -> None:
    for name, command in command_parsers().items():
        for parser in parsers_below(command):
            below = any(isinstance(each, argparse._SubParsersAction) for each in parser._actions)
            if below or name == "hub" or parser.prog in WITHOUT_JSON:
                continue
            assert "--json" in parser._option_string_actions, parser.prog


@pytest.mark.parametrize(
    ("words", "lab"),
    [
        pytest.param(["lab", "--name", "blue", "up"], "blue", id="before the command"),
        pytest.param(["lab", "up", "--name", "blue"], "blue", id="after the command"),
        pytest.param(["lab", "--name", "red", "ping", "--name", "blue"], "blue", id="both"),
        pytest.param(["lab", "pod", "list", "--name", "blue"], "blue", id="after two commands"),
        pytest.param(
            ["lab", "--name", "blue", "pod", "add", "--name", "web"], "blue", id="a pod's"
        ),
        pytest.param(["lab", "status"], "green", id="from the environment"),
    ],
)
def test_name_of_the_lab(words: list[str], lab: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWAY_LAB", "green")
    assert build_parser(words).parse_args(words).lab == lab


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["stauts"], "did you mean 'status'?", id="mistyped command"),
        pytest.param(["xyzzy"], "'podway --help'", id="nothing like it"),
        pytest.param([], "'podway --help'", id="no command"),
        pytest.param(["lab", "upp"], "did you mean 'up'?", id="mistyped command of the lab"),
        pytest.param(["lab", "up", "--node", "3"], "--node", id="options are not abbreviated"),
        pytest.param(["lab", "up", "--backend", "vxlam"], "did you mean 'vxlan'?", id="choice"),
        pytest.param(["lab", "up", "--ipv6", "--dual"], "not allowed with", id="both families"),
        pytest.param(["lab", "up", "--nodes", "x"], "'podway lab up --help'", id="no number"),
        pytest.param(["ipam"], "'podway ipam --help'", id="a command without its own"),
        pytest.param(["lab", "down", "--now"], "'podway lab down --help'", id="unknown option"),
        pytest.param(["lab", "ping", "p1"], "unknown argument 'p1'", id="one word too many"),
    ],
)
def test_mistakes(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


def test_failures_are_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--socket", "/nonexistent/agent.sock"]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("podway: no agent listens on /nonexistent/agent.sock")
    assert printed.out == ""


def test_failures_are_told_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--socket", "/nonexistent/agent.sock", "--json"]) == 1
    printed = capsys.readouterr()
    assert "no agent listens" in json.loads(printed.out)["error"]
    assert printed.err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["podway"] == __version__
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"podway {__version__}")


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        pytest.param(["--help"], {"asyncio", "msgspec", "rich", "podway.lab"}, id="help"),
        pytest.param(["version"], {"asyncio", "msgspec", "rich", "podway.lab"}, id="version"),
        pytest.param(
            ["status", "--help"], {"asyncio", "msgspec", "rich", "podway.lab"}, id="status"
        ),
        pytest.param(["lab", "--help"], {"asyncio", "msgspec", "rich", "podway.lab"}, id="lab"),
        pytest.param(["agent", "--help"], {"rich", "shtab", "podway.lab"}, id="agent"),
        pytest.param(["hub", "--help"], {"rich", "shtab", "podway.lab"}, id="hub"),
    ],
)
def test_a_command_loads_what_it_needs(words: list[str], unwanted: set[str]) -> None:
    script = (
        "import sys, contextlib, io\n"
        "from podway.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main({words!r})\n"
        "print(*sys.modules)"
    )
    command = [sys.executable, "-c", script]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert loaded & unwanted == set()


def test_a_reader_that_has_seen_enough() -> None:
    """``podway ... | head -0`` ends quietly: a closed pipe is no error of podway's."""
    command = [sys.executable, "-m", "podway.cli", "version"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert said == b""


def test_manual_pages() -> None:
    from podway.cli.manual import render_pages  # noqa: PLC0415  (argparse-manpage is a tool)

    pages = render_pages()
    assert set(pages) == {"podway.1", *(f"podway-{name}.1" for name in NAMES)}
    assert r"\-\-routed\-underlay" in pages["podway-lab.1"]
    for text in pages.values():
        assert text.startswith(".TH PODWAY")
        assert not re.search(r"^'", text, re.MULTILINE), "roff takes such a line for a command"
    assert ".SH COMMAND " not in pages["podway.1"]
    assert r"\&'podway COMMAND \-\-help' tells more" in pages["podway.1"]
    assert "Packets are never fragmented" in pages["podway-lab.1"], "said at the end of lab ping"
    assert "PODWAY_STORE" in pages["podway-agent.1"]
