"""An agent that is away, or answers anything but what it should."""

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from netns.plugins.podway.agent import Agent, say
from netns.plugins.podway.calls import OWN_NETNS, Call, code_of
from podway.cni.documents import MAX_DOCUMENT_BYTES
from podway.cni.errors import IO_FAILURE, TRY_AGAIN_LATER, UNAVAILABLE
from podway.cni.frames import MAX_RESPONSE_BYTES, encode_response


def test_the_agent_is_away(plugin: Path, run_directory: Path) -> None:
    """All commands at once, since each but STATUS looks for the agent for a while."""
    config = {
        "cniVersion": "1.1.0",
        "name": "podway",
        "agentSocket": str(run_directory / "cni.sock"),
        "cni.dev/valid-attachments": [],
    }
    codes = {
        "ADD": TRY_AGAIN_LATER,
        "CHECK": TRY_AGAIN_LATER,
        "DEL": TRY_AGAIN_LATER,
        "GC": TRY_AGAIN_LATER,
        "STATUS": UNAVAILABLE,
    }
    common = {"CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0", "CNI_PATH": "/x"}
    netns = {"CNI_NETNS": OWN_NETNS, "CNI_NETNS_OVERRIDE": "1"}
    running = {
        command: subprocess.Popen(
            [plugin],
            env={**common, **netns, "CNI_COMMAND": command},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for command in codes
    }
    for process in running.values():
        assert process.stdin is not None
        process.stdin.write(json.dumps(config).encode())
        process.stdin.close()
        process.stdin = None
    for command, process in running.items():
        stdout, _ = process.communicate(timeout=60)
        document = json.loads(stdout)
        assert (process.returncode, document["code"]) == (1, codes[command])
        assert str(run_directory / "cni.sock") in document["msg"]
        assert "systemctl start podway-agent" in document["msg"]
        # containerd's go-cni takes a DEL with one of these texts for a success.
        assert "not found" not in document["msg"]
        assert "no such file or directory" not in document["msg"]


def test_nobody_listens(call: Call, run_directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_directory / "cni.sock"))
    assert code_of(call("STATUS")) == UNAVAILABLE


def test_del_fails_while_the_agent_is_away_even_without_a_namespace(call: Call) -> None:
    done = call("DEL", variables={"CNI_NETNS": ""})
    assert code_of(done) == TRY_AGAIN_LATER
    assert b"no such file or directory" not in done.stdout


def close_at_once(_: socket.socket) -> None:
    return


def close_after_the_request(client: socket.socket) -> None:
    client.recv(1 << 16)


def close_in_the_answer(client: socket.socket) -> None:
    client.recv(1 << 16)
    client.sendall(encode_response(0, "{}")[:-1])


def close_in_the_header(client: socket.socket) -> None:
    client.recv(1 << 16)
    client.sendall(b"\0\0")


@pytest.mark.parametrize(
    "behaviour",
    [close_at_once, close_after_the_request, close_in_the_answer, close_in_the_header],
)
@pytest.mark.parametrize(("command", "code"), [("GC", TRY_AGAIN_LATER), ("STATUS", UNAVAILABLE)])
def test_an_agent_that_closes_early(
    behaviour: Callable[[socket.socket], None], command: str, code: int, call: Call, agent: Agent
) -> None:
    agent.behaviour = behaviour
    assert code_of(call(command)) == code


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="HTTP"),
        pytest.param(framed(b"{"), id="no JSON"),
        pytest.param(framed(b"[]"), id="array"),
        pytest.param(framed(b'{"code":0}'), id="no stdout"),
        pytest.param(framed(b'{"code":999,"stdout":""}'), id="code beyond a byte"),
        pytest.param(framed(b"\xff"), id="not UTF-8"),
        pytest.param(b"\0\0\0\0", id="empty frame"),
        pytest.param((MAX_RESPONSE_BYTES + 1).to_bytes(4, "big"), id="too long"),
    ],
)
def test_an_agent_that_answers_garbage(data: bytes, call: Call, agent: Agent) -> None:
    agent.behaviour = say(data)
    assert code_of(call("GC")) == IO_FAILURE


def test_an_answer_in_single_bytes(call: Call, agent: Agent) -> None:
    def drip(client: socket.socket) -> None:
        client.recv(1 << 16)
        for byte in encode_response(0, "{}"):
            client.sendall(bytes([byte]))

    agent.behaviour = drip
    assert call("GC").stdout == b"{}"


def test_an_answer_before_the_request_was_read(call: Call, agent: Agent) -> None:
    """An agent that refuses need not read a megabyte first."""
    agent.behaviour = lambda client: client.sendall(encode_response(1, '{"code":5}'))
    padding = "x" * (MAX_DOCUMENT_BYTES - 1000)
    done = call("GC", config={"padding": padding})
    assert (done.returncode, done.stdout) == (1, b'{"code":5}')
