"""The completion scripts, loaded and asked in the real shells."""

import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest

from podway.agent.places import agent_socket_of
from podway.cli.completion import SHELLS
from podway.cli.main import main

# How long a shell may take to say anything: nothing here waits for time to pass.
_PATIENCE_S = 30.0


@cache
def script(shell: str) -> str:
    command = [sys.executable, "-m", "podway.cli", "completion", shell]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for word in ("partition", "kill-hub", "host-gw", "ipam", "instance"):
        assert word in text


def bash(line: str, directory: Path) -> set[str]:
    """Return what bash offers for the last word of *line*."""
    words = line.split(" ")
    asked = (
        f"source {directory / 'podway.bash'}\n"
        f"COMP_WORDS=({' '.join(words[:-1])} '{words[-1]}'); COMP_CWORD={len(words) - 1}\n"
        f"COMP_LINE='{line}'\n"
        "function=$(complete -p podway | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
        f"$function podway '{words[-1]}' '{words[-2]}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    )
    done = subprocess.run(
        ["bash", "--norc"], input=asked, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return {offer.rstrip() for offer in done.stdout.splitlines()} - {""}


def fish(line: str, directory: Path) -> set[str]:
    """Return what fish offers for *line*."""
    asked = f"source {directory / 'podway.fish'}; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "-N", "-c", asked],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(directory)},
    )
    assert done.stderr == ""
    return {offer.partition("\t")[0].rpartition("=")[2] for offer in done.stdout.splitlines()}


def zsh(line: str, directory: Path) -> set[str]:
    """Return what a zsh at a terminal, which finds the script in its fpath, lists for *line*."""
    setup = (
        f"fpath=({directory} $fpath); autoload -U compinit; compinit -u -D; LISTMAX=0\n"
        "unsetopt automenu autolist\n"
        # What it offers, one a line, instead of a menu.
        'function compadd() { local -a found; builtin compadd -O found "$@";'
        " (( $#found )) && print -l -- '' OFFER:$^found; builtin compadd \"$@\" }\n"
        # The prompt comes when the line editor has the terminal, and keys mean what they shall.
        "PS1='PROM''PT '\n"
    )
    with terminal("zsh", "-f", "-i", home=directory) as talk:
        talk(setup, "PROMPT ")
        said = talk(f"{line}\t\x15echo DO''NE\n", "DONE\r")
    return set(re.findall(r"OFFER:(\S+)", said))


@contextmanager
def terminal(*command: str, home: Path) -> Iterator[Callable[[str, str], str]]:
    """Run *command* at a terminal; give a function that types and returns what is said up to."""
    ours, its = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "HOME": str(home), "ZDOTDIR": str(home)}
    process = subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True
    )
    os.close(its)

    def talk(typed: str, awaited: str) -> str:
        os.write(ours, typed.encode())
        said = b""
        deadline = time.monotonic() + _PATIENCE_S
        while awaited.encode() not in said:
            assert select.select([ours], [], [], deadline - time.monotonic())[0], said
            said += os.read(ours, 1 << 16)
        return said.decode()

    try:
        yield talk
    finally:
        process.kill()
        process.wait()
        os.close(ours)


ASK = {"bash": bash, "fish": fish, "zsh": zsh}


@pytest.fixture(params=SHELLS)
def offers(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], set[str]]:
    """Give a function that returns what the shell offers for a line."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"the shell {shell} is not installed; `make test` installs it")
    for name in (f"podway.{shell}", "_podway"):
        (tmp_path / name).write_text(script(shell))
    return lambda line: ASK[shell](line, tmp_path)


def test_words(offers: Callable[[str], set[str]]) -> None:
    assert offers("podway lab fau") == {"fault"}
    assert offers("podway lab up --backend v") == {"vxlan"}
    assert {"check", "release", "show"} <= offers("podway ipam ")


def test_files(offers: Callable[[str], set[str]], tmp_path: Path) -> None:
    (tmp_path / "net-conf.json").touch()
    found = offers(f"podway network check {tmp_path}/net")
    assert any(offer.endswith("net-conf.json") for offer in found), found


@pytest.mark.root
def test_names_of_instances(offers: Callable[[str], set[str]]) -> None:
    names = {"zqa", "zqb"}
    with ExitStack() as stack:
        for name in names:
            path = agent_socket_of(name)
            path.parent.mkdir()
            stack.callback(path.parent.rmdir)
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
            stack.callback(path.unlink)
        assert offers("podway status --instance zq") == names
