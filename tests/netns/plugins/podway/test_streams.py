"""The podway executable's standard input and output, variables and directory."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from netns.plugins.podway.agent import Agent
from netns.plugins.podway.calls import Call, code_of
from podway.cni.documents import MAX_DOCUMENT_BYTES
from podway.cni.errors import DECODING_FAILURE, INVALID_ENVIRONMENT, IO_FAILURE


def test_a_variable_that_is_not_utf8(plugin: Path) -> None:
    environment = {b"CNI_COMMAND": b"ADD", b"CNI_ARGS": b"A=\xff"}
    done = subprocess.run([plugin], env=environment, input=b"{}", capture_output=True, check=False)
    assert code_of(done) == INVALID_ENVIRONMENT
    assert b"CNI_ARGS" in done.stdout


@pytest.mark.parametrize("size", [MAX_DOCUMENT_BYTES + 1, 10 << 20])
def test_a_configuration_without_end(size: int, call: Call, agent: Agent) -> None:
    done = call("STATUS", config=b'{"a":"' + b"x" * size)
    assert code_of(done) == DECODING_FAILURE
    assert str(MAX_DOCUMENT_BYTES).encode() in done.stdout
    assert agent.seen == []


def test_a_configuration_that_grows_too_long_in_the_frame(call: Call, agent: Agent) -> None:
    padding = b"\n" * (MAX_DOCUMENT_BYTES - 200)
    path = str(agent.path).encode()
    config = b'{"cniVersion":"1.1.0","name":"n","agentSocket":"' + path + b'"}' + padding
    assert len(config) <= MAX_DOCUMENT_BYTES
    done = call("STATUS", config=config)
    assert done.returncode == 0, "two bytes for each of 1 MiB still fit"
    done = call("STATUS", config=config, variables={"CNI_ARGS": "A=" + "x" * 100_000})
    assert code_of(done) == IO_FAILURE


def without(descriptors: str, plugin: Path, command: str) -> subprocess.CompletedProcess[bytes]:
    """Run the plugin with *descriptors* (shell redirections) closed."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" {descriptors}', str(plugin)],
        env={"CNI_COMMAND": command, "CNI_PATH": "/x"},
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_version_needs_no_stdin(plugin: Path) -> None:
    done = without("<&-", plugin, "VERSION")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {
        "cniVersion": "1.1.0",
        "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    }


def test_version_does_not_read_stdin(plugin: Path) -> None:
    """The pipe stays open without data: a plugin that read it would never end."""
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [plugin],
            env={"CNI_COMMAND": "VERSION"},
            stdin=reader,
            capture_output=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 0


def test_closed_stdin(plugin: Path) -> None:
    assert code_of(without("<&-", plugin, "STATUS")) == IO_FAILURE
    assert code_of(without("<&-", plugin, "ADD")) == INVALID_ENVIRONMENT


def test_closed_stdout(plugin: Path) -> None:
    done = without(">&-", plugin, "VERSION")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


@pytest.mark.parametrize("command", [None, ""])
def test_without_a_command_it_says_what_it_is(command: str | None, call: Call) -> None:
    done = call(command)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"podway" in done.stderr
    assert b"0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0" in done.stderr


def test_python_variables_and_the_working_directory_change_nothing(
    plugin: Path, tmp_path: Path
) -> None:
    for name in ("podway.py", "_json.py", "errno.py", "time.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('hijacked')", encoding="utf-8")
    (tmp_path / "startup.py").write_text("raise SystemExit('hijacked')", encoding="utf-8")
    environment = {
        "CNI_COMMAND": "VERSION",
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "startup.py"),
        "PYTHONINSPECT": "1",
        "PYTHONVERBOSE": "1",
    }
    done = subprocess.run(
        [plugin], env=environment, cwd=tmp_path, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
