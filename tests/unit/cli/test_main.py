"""``podway`` itself: which command runs, what is loaded for it, what mistakes say."""

import argparse
import errno
import json
import os
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


def test_no_line_of_help_is_wider_than_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for parser in parsers_below(full_parser()):
        if parser.prog == "podway flanneld":  # speaks as flanneld does
            continue
        wide = [line for line in parser.format_help().splitlines() if len(line) > 80]
        assert wide == [], parser.prog


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


def test_a_name_that_is_set_but_empty_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWAY_LAB", "")
    words = ["lab", "status"]
    assert build_parser(words).parse_args(words).lab == "lab"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["stauts"], "did you mean 'status'?", id="mistyped command"),
        pytest.param(["xyzzy"], "'podway --help'", id="nothing like it"),
        pytest.param([], "podway: name one of these commands", id="no command"),
        pytest.param([], "show how this node is doing", id="no command: which there are"),
        pytest.param(["lab", "upp"], "did you mean 'up'?", id="mistyped command of the lab"),
        pytest.param(["lab", "up", "--node", "3"], "--node", id="options are not abbreviated"),
        pytest.param(["lab", "up", "--backend", "vxlam"], "did you mean 'vxlan'?", id="choice"),
        pytest.param(["lab", "up", "--ipv6", "--dual"], "not allowed with", id="both families"),
        pytest.param(["lab", "up", "--nodes", "x"], "'podway lab up --help'", id="no number"),
        pytest.param(["ipam"], "list the addresses and who", id="a command without its own"),
        pytest.param(["lab", "down", "--now"], "'podway lab down --help'", id="unknown option"),
        pytest.param(["lab", "list", "p1"], "unknown argument 'p1'", id="one word too many"),
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


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param("version > /dev/full", 1, "podway: No space left on device\n", id="full"),
        pytest.param("--help > /dev/full", 1, "podway: No space left on device\n", id="help, full"),
        pytest.param("version >&-", 0, "", id="closed"),
        pytest.param("version <&- >&-", 0, "", id="input and output closed"),
        pytest.param("status --socket=/nonexistent 2>&-", 1, "", id="errors closed"),
    ],
)
def test_an_answer_that_nobody_takes(words: str, code: int, said: str) -> None:
    command = ["sh", "-c", f'exec "$0" -m podway.cli {words}', sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EMFILE])
def test_what_the_machine_refuses_is_told_in_words(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_args: argparse.Namespace) -> int:
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr("podway.cli.version.run", refuse)
    text = f"{os.strerror(number)}: /some/file"
    assert main(["version"]) == 1
    assert capsys.readouterr().err == f"podway: {text}\n"
    assert main(["version", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"error": text}


def test_a_defect_is_no_condition_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_args: argparse.Namespace) -> int:
        raise FileNotFoundError(errno.ENOENT, "nobody looked for it", "/some/file")

    monkeypatch.setattr("podway.cli.version.run", fail)
    with pytest.raises(FileNotFoundError):
        main(["version"])


LAB_WORDS = (
    *("up", "down", "down --all", "list", "status", "ping", "exec p1 -- true", "iperf p1 p2"),
    *("pod add", "pod rm p1", "pod check", "pod list", "node add", "node rm n1", "demo"),
    *("fault kill-agent n1", "fault kill-hub", "fault partition n1", "fault heal"),
)


@pytest.mark.parametrize("words", LAB_WORDS)
def test_a_lab_is_roots(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["lab", "--name", "nosuch", *words.split()]) == 1
    assert "only root" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "value"),
    [
        pytest.param(["up", "--nodes", "0"], "--nodes = 0", id="no node"),
        pytest.param(["up", "--nodes", "-1"], "--nodes = -1", id="less than none"),
        pytest.param(["up", "--nodes", "10000000000"], "--nodes = 10000000000", id="many nodes"),
        pytest.param(["ping", "--timeout", "-1"], "--timeout = -1.0", id="no time"),
        pytest.param(["ping", "--timeout", "nan"], "--timeout = nan", id="no number of time"),
        pytest.param(["ping", "--timeout", "inf"], "--timeout = inf", id="for ever"),
        pytest.param(["ping", "--for", "-1"], "--for = -1.0", id="no while"),
        pytest.param(["ping", "--for", "nan"], "--for = nan", id="no number of seconds"),
        pytest.param(["ping", "--size", "65001"], "--size = 65001", id="longer than a packet"),
        pytest.param(["demo", "--seconds", "0"], "--seconds = 0", id="no measurement"),
    ],
)
def test_values_out_of_bounds(
    words: list[str],
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert main(["lab", "--name", "nosuch", *words]) == 2
    assert value in capsys.readouterr().err


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
