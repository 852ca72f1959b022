"""The podway executable as a runtime calls it, against a real socket and real namespaces."""

import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netns.plugins.cni_runtime import read_example
from podway.cni.documents import MAX_DOCUMENT_BYTES
from podway.cni.errors import (
    DECODING_FAILURE,
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    INVALID_NETNS,
    IO_FAILURE,
    TRY_AGAIN_LATER,
    UNAVAILABLE,
)
from podway.cni.frames import (
    MAX_RESPONSE_BYTES,
    decode_request,
    encode_response,
)
from podway.cni.podway_conf import parse_podway_conf
from podway.cni.requests import parse_request
from podway.cni.versions import PODWAY_VERSIONS

if TYPE_CHECKING:
    from netns.plugins.conftest import Agent, Call
else:
    Agent = Call = object

OWN_NETNS = "/proc/self/ns/net"


def code_of(done: subprocess.CompletedProcess[bytes]) -> int:
    """Return the error's number; the rest of the answer must be as the specification wants it."""
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert done.stderr == b""
    assert document.keys() - {"details"} == {"cniVersion", "code", "msg"}
    assert document["msg"]
    return int(document["code"])


@pytest.mark.root
@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL"])
def test_a_call_passes_everything_on(
    command: str, call: Call, agent: Agent, pod_netns: Path
) -> None:
    variables = {"CNI_NETNS": str(pod_netns), "CNI_ARGS": 'A="ü";B=\n'}
    done = call(command, config={"x": "é\n"}, variables={**variables, "OTHER": "secret"})
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"cniVersion":"1.1.0"}', b"")
    (seen,) = agent.seen
    environment, stdin = decode_request(seen.payload)
    assert environment == {
        **variables,
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "c1",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni/bin",
    }
    assert json.loads(stdin)["x"] == "é\n"
    assert seen.inodes == (pod_netns.stat().st_ino,)


@pytest.mark.parametrize("command", ["GC", "STATUS"])
def test_calls_about_the_network_pass_no_namespace(command: str, call: Call, agent: Agent) -> None:
    assert call(command, variables={"CNI_NETNS": "/nonexistent"}).returncode == 0
    assert [seen.inodes for seen in agent.seen] == [()]


def test_the_answer_is_printed_as_it_is(call: Call, agent: Agent) -> None:
    text = '{"code":7,"msg":"' + "ü" * 300_000 + '"}\n'
    agent.behaviour = lambda client: agent.answer_with(client, 3, text)  # type: ignore[attr-defined]

    def refuse(client: socket.socket) -> None:
        client.recv(1 << 16)
        client.sendall(encode_response(3, text))

    agent.behaviour = refuse
    done = call("STATUS")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (3, text, b"")


def test_the_example_of_the_manual(call: Call, agent: Agent, pod_netns: Path) -> None:
    example = read_example("podway")
    assert call("ADD", config=example, variables={"CNI_NETNS": str(pod_netns)}).returncode == 0
    environment, stdin = decode_request(agent.seen[0].payload)
    conf = parse_podway_conf(parse_request(environment, stdin, PODWAY_VERSIONS))
    assert (conf.attach, conf.mtu_bytes) == ("routed", 1400)


# ------------------------------------------------------------------ namespaces


def gone_never_there(directory: Path) -> str:
    return str(directory / "nothing")


def gone_file_left_behind(directory: Path) -> str:
    (directory / "netns").write_bytes(b"")
    return str(directory / "netns")


def gone_pipe(directory: Path) -> str:
    os.mkfifo(directory / "pipe")
    return str(directory / "pipe")


def gone_directory(directory: Path) -> str:
    return str(directory)


def gone_below_a_file(directory: Path) -> str:
    return gone_file_left_behind(directory) + "/net"


def gone_other_namespace(_: Path) -> str:
    return "/proc/self/ns/uts"


GONE = [
    pytest.param(gone_never_there, id="never there"),
    pytest.param(gone_file_left_behind, id="file left behind"),
    pytest.param(gone_pipe, id="pipe"),
    pytest.param(gone_directory, id="directory"),
    pytest.param(gone_below_a_file, id="below a file"),
    pytest.param(gone_other_namespace, id="namespace of another kind"),
]


@pytest.mark.parametrize("make", GONE)
@pytest.mark.parametrize("command", ["ADD", "CHECK"])
def test_no_namespace_is_an_error(
    make: Callable[[Path], str], command: str, call: Call, agent: Agent, run_directory: Path
) -> None:
    done = call(command, variables={"CNI_NETNS": make(run_directory)})
    assert code_of(done) == INVALID_NETNS
    assert agent.seen == []


@pytest.mark.parametrize("make", [*GONE, pytest.param(lambda _: "", id="not told")])
def test_del_goes_on_without_a_namespace(
    make: Callable[[Path], str], call: Call, agent: Agent, run_directory: Path
) -> None:
    assert call("DEL", variables={"CNI_NETNS": make(run_directory)}).returncode == 0
    assert [seen.inodes for seen in agent.seen] == [()]


@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL"])
@pytest.mark.parametrize("override", ["", "0"])
def test_the_plugins_own_namespace_is_refused(
    command: str, override: str, call: Call, agent: Agent
) -> None:
    variables = {"CNI_NETNS": OWN_NETNS, "CNI_NETNS_OVERRIDE": override}
    assert code_of(call(command, variables=variables)) == INVALID_NETNS
    assert agent.seen == []


@pytest.mark.parametrize("override", ["1", "true", "TRUE"])
def test_the_plugins_own_namespace_may_be_insisted_on(
    override: str, call: Call, agent: Agent
) -> None:
    variables = {"CNI_NETNS": OWN_NETNS, "CNI_NETNS_OVERRIDE": override}
    assert call("ADD", variables=variables).returncode == 0
    assert [seen.inodes for seen in agent.seen] == [(Path(OWN_NETNS).stat().st_ino,)]


# ------------------------------------------------------------------ an agent that is away


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


@pytest.mark.parametrize(
    ("command", "variables", "config", "code"),
    [
        pytest.param("ADD", {}, {}, INVALID_ENVIRONMENT, id="no namespace told"),
        pytest.param("FOO", {}, {}, INVALID_ENVIRONMENT, id="unknown command"),
        pytest.param("STATUS", {"CNI_PATH": ""}, {}, INVALID_ENVIRONMENT, id="no path"),
        pytest.param(
            "ADD",
            {"CNI_CONTAINERID": "../../etc", "CNI_NETNS": "/x"},
            {},
            INVALID_ENVIRONMENT,
            id="hostile container",
        ),
        pytest.param(
            "ADD",
            {"CNI_IFNAME": "eth0; rm -rf /", "CNI_NETNS": "/x"},
            {},
            INVALID_ENVIRONMENT,
            id="hostile interface",
        ),
        pytest.param("ADD", {"CNI_NETNS": "/x"}, {"name": "a\nb"}, INVALID_CONFIG, id="network"),
        pytest.param(
            "ADD", {"CNI_NETNS": "/x"}, {"cniVersion": "0.2.0"}, INCOMPATIBLE_VERSION, id="version"
        ),
        pytest.param(
            "STATUS", {}, {"cniVersion": "1.0.0"}, INCOMPATIBLE_VERSION, id="STATUS in 1.0.0"
        ),
        pytest.param("STATUS", {}, {"agentSocket": "x"}, INVALID_CONFIG, id="relative socket"),
        pytest.param("STATUS", {}, b"{", DECODING_FAILURE, id="no JSON"),
        pytest.param("STATUS", {}, b"", DECODING_FAILURE, id="nothing on stdin"),
        pytest.param("STATUS", {}, b"\xff", DECODING_FAILURE, id="stdin not UTF-8"),
        pytest.param("STATUS", {"CNI_PATH": ""}, b"{", INVALID_ENVIRONMENT, id="variables first"),
    ],
)
def test_bad_requests_are_named_even_without_an_agent(
    command: str,
    variables: dict[str, str],
    config: dict[str, object] | bytes,
    code: int,
    call: Call,
) -> None:
    assert code_of(call(command, variables=variables, config=config)) == code


def test_errors_are_in_the_configurations_version(call: Call) -> None:
    done = call("ADD", config={"cniVersion": "0.4.0"}, variables={"CNI_NETNS": "/x"})
    assert json.loads(done.stdout)["cniVersion"] == "0.4.0"
    done = call("ADD", config={"cniVersion": "7"}, variables={"CNI_NETNS": "/x"})
    assert json.loads(done.stdout)["cniVersion"] == "1.1.0"


def test_a_variable_that_is_not_utf8(plugin: Path) -> None:
    environment = {b"CNI_COMMAND": b"ADD", b"CNI_ARGS": b"A=\xff"}
    done = subprocess.run([plugin], env=environment, input=b"{}", capture_output=True, check=False)
    assert code_of(done) == INVALID_ENVIRONMENT
    assert b"CNI_ARGS" in done.stdout


# ------------------------------------------------------------------ an agent that misbehaves


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


def say(data: bytes) -> Callable[[socket.socket], None]:
    """Return a behaviour that answers *data*."""

    def behaviour(client: socket.socket) -> None:
        client.recv(1 << 16)
        client.sendall(data)

    return behaviour


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


# ------------------------------------------------------------------ standard input and output


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


def test_many_at_once(plugin: Path, agent: Agent) -> None:
    config = json.dumps({"cniVersion": "1.1.0", "name": "n", "agentSocket": str(agent.path)})
    running = [
        subprocess.Popen(
            [plugin],
            env={"CNI_COMMAND": "STATUS", "CNI_PATH": "/x", "CNI_ARGS": f"N={number}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(20)
    ]
    answers = [process.communicate(config.encode(), timeout=60)[0] for process in running]
    assert answers == [b'{"cniVersion":"1.1.0"}'] * 20
    seen = {decode_request(each.payload)[0]["CNI_ARGS"] for each in agent.seen}
    assert seen == {f"N={number}" for number in range(20)}
