"""What the podway executable passes on to its agent, and what it refuses before it asks."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from netns.plugins.cni_runtime import read_example
from netns.plugins.podway.agent import Agent, say
from netns.plugins.podway.calls import OWN_NETNS, Call, code_of
from podway.cni.errors import (
    DECODING_FAILURE,
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    INVALID_NETNS,
)
from podway.cni.frames import decode_request, encode_response
from podway.cni.podway_conf import parse_podway_conf
from podway.cni.requests import parse_request
from podway.cni.versions import PODWAY_VERSIONS


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
    agent.behaviour = say(encode_response(3, text))
    done = call("STATUS")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (3, text, b"")


def test_the_example_of_the_manual(call: Call, agent: Agent, pod_netns: Path) -> None:
    example = read_example("podway")
    assert call("ADD", config=example, variables={"CNI_NETNS": str(pod_netns)}).returncode == 0
    environment, stdin = decode_request(agent.seen[0].payload)
    conf = parse_podway_conf(parse_request(environment, stdin, PODWAY_VERSIONS))
    assert (conf.attach, conf.mtu_bytes) == ("routed", 1400)


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
