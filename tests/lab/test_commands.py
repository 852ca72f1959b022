"""The commands of a lab as a user types them: answers, JSON, exit codes."""

import json
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from lab.probes import PODWAY, leftovers, podway_json, run_podway
from podway.lab.faults import kill_agent, partition
from podway.lab.specs import LabSpec


@pytest.fixture
def lab(make_lab: Callable[..., LabSpec]) -> str:
    """Give the name of a lab of two nodes, without pods."""
    return make_lab().name


def test_a_user_s_first_minute(lab_name: str) -> None:
    up = podway_json(lab_name, "up", "--nodes", "2", "--dual", "--attach", "routed")
    assert up["nodes"] == ["n1", "n2"]
    assert up["families"] == ["IPv4", "IPv6"]
    pods = podway_json(lab_name, "pod", "add", "--count", "3")["pods"]
    assert [(pod["name"], pod["node"]) for pod in pods] == [
        ("p1", "n1"),
        ("p2", "n2"),
        ("p3", "n1"),
    ]
    assert all(len(pod["addresses"]) == 2 for pod in pods)
    assert podway_json(lab_name, "pod", "list")["pods"] != []
    pings = podway_json(lab_name, "ping")["pings"]
    assert len(pings) == 3 * 3 * 2
    assert all(ping["rtt_ms"] is not None for ping in pings)
    assert len(podway_json(lab_name, "ping", "--nodes")["pings"]) == 2 * 2 * 2
    assert podway_json(lab_name, "pod", "check")["checked"] == ["p1", "p3", "p2"]
    status = podway_json(lab_name, "status")
    assert {name: each["endpoints"] for name, each in status["status"].items()} == {
        "n1": 2,
        "n2": 1,
    }
    assert podway_json(lab_name, "node", "add")["added"] == "n3"
    assert podway_json(lab_name, "node", "rm", "n3")["removed"] == "n3"
    assert podway_json(lab_name, "pod", "rm", "p1", "p3")["removed"] == ["p1", "p3"]
    down = podway_json(lab_name, "down")["removed"]
    assert [each["lab"] for each in down] == [lab_name]
    assert leftovers(lab_name) == []


def test_names_of_pods(lab: str) -> None:
    named = podway_json(lab, "pod", "add", "--name", "web", "--node", "n2")["pods"]
    assert [(pod["name"], pod["node"]) for pod in named] == [("web", "n2")]
    for code, words in (
        (1, ["--name", "web"]),
        (2, ["--name", "n1"]),
        (1, ["--node", "n9"]),
        (2, ["--count", "0"]),
    ):
        refused = run_podway(lab, "pod", "add", *words)
        assert refused.returncode == code
        assert refused.stderr.startswith("podway: ")
    assert len(podway_json(lab, "pod", "list")["pods"]) == 1


def test_those_who_are_named_ping_each_other(lab: str) -> None:
    podway_json(lab, "pod", "add", "--count", "3")
    pings = podway_json(lab, "ping", "p3", "p1", "p3")["pings"]
    assert {(ping["from"], ping["to"]) for ping in pings} == {
        *(("p1", "p1"), ("p1", "p3"), ("p3", "p1"), ("p3", "p3"))
    }
    nodes = podway_json(lab, "ping", "--nodes", "n2")["pings"]
    assert [(ping["from"], ping["to"]) for ping in nodes] == [("n2", "n2")]
    assert run_podway(lab, "ping", "p1", "n2").returncode == 1


@pytest.mark.parametrize("member", ["p1", "n1", "hub", "fabric"])
def test_exec_passes_the_exit_code_on(lab: str, member: str) -> None:
    run_podway(lab, "pod", "add")
    done = run_podway(lab, "exec", member, "--", "sh", "-c", "readlink /proc/self/ns/net; exit 7")
    assert done.returncode == 7
    assert done.stdout.startswith("net:[")


def test_exec_passes_input_and_options_on(lab: str) -> None:
    done = run_podway(lab, "exec", "n1", "--", "sh", "-c", "cat; echo --json", input="in")
    assert (done.returncode, done.stdout) == (0, "in--json\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param("status", "node n1 is ready", id="the agent"),
        pytest.param("diff", "exactly what it should", id="the kernel"),
        pytest.param("node list", "n1    vxlan", id="the store"),
    ],
)
def test_on_a_node_podways_own_commands_ask_that_node(lab: str, words: str, said: str) -> None:
    done = run_podway(lab, "exec", "n1", "--", "podway", *words.split())
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(1, ["exec", "p9", "--", "true"], id="no such pod"),
        pytest.param(2, ["exec", "n1"], id="no command"),
        pytest.param(127, ["exec", "n1", "--", "no-such-program"], id="no such program"),
        pytest.param(126, ["exec", "n1", "--", "/etc/passwd"], id="no program"),
        pytest.param(1, ["ping"], id="no pod to ping"),
        pytest.param(1, ["fault", "link-down", "n9"], id="no such node"),
        pytest.param(1, ["pod", "rm", "p9"], id="no pod to remove"),
        pytest.param(1, ["pod", "rm", "../lab"], id="no name of a pod"),
        pytest.param(1, ["iperf", "n1", "n9"], id="no such end"),
        pytest.param(2, ["iperf", "n1", "n2", "--streams", "0"], id="no stream"),
        pytest.param(1, ["fault", "start-hub"], id="hub runs already"),
        pytest.param(2, ["fault", "delete-route", "n1", "nonsense"], id="no prefix"),
    ],
)
def test_what_cannot_be_done(lab: str, code: int, words: list[str]) -> None:
    done = run_podway(lab, *words)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith("podway: ")
    assert "Traceback" not in done.stderr


def test_failures_give_exit_codes(lab: str) -> None:
    run_podway(lab, "pod", "add", "--count", "2")
    spec = LabSpec(name=lab, nodes=(1, 2))
    partition(spec, ["n1"])
    done = run_podway(lab, "ping", "--timeout", "0.2")
    assert done.returncode == 1
    assert done.stdout.count("FAIL") == 2
    assert "2 of 4 pings answered" in done.stdout
    kill_agent(spec, "n1")
    status = run_podway(lab, "status")
    assert status.returncode == 1
    assert "away" in status.stdout
    assert podway_json(lab, "fault", "heal")["healed"] == [
        "partition removed",
        "agent of n1 started",
    ]
    assert run_podway(lab, "ping").returncode == 0


def test_pings_for_a_while(lab: str) -> None:
    run_podway(lab, "pod", "add", "--count", "2")
    fine = podway_json(lab, "ping", "--for", "0.5")
    assert fine["sent"] > 2
    assert (fine["lost"], fine["silences"]) == (0, [])
    partition(LabSpec(name=lab, nodes=(1, 2)), ["n1"])
    done = run_podway(lab, "ping", "--for", "0.5", "--timeout", "0.1", "--json")
    assert done.returncode == 1
    lost = json.loads(done.stdout)
    assert lost["lost"] == lost["sent"]
    assert {(each["from"], each["to"]) for each in lost["silences"]} == {("p1", "p2"), ("p2", "p1")}


def test_pings_for_a_while_need_somebody_else(lab: str) -> None:
    run_podway(lab, "pod", "add")
    done = run_podway(lab, "ping", "--for", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "p1 has nobody to ping" in done.stderr


def test_ctrl_c_is_enough_of_pings(lab: str) -> None:
    run_podway(lab, "pod", "add", "--count", "2")
    with subprocess.Popen(
        [*PODWAY, "lab", "--name", lab, "ping", "--for", "3600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "Ctrl-C" in process.stderr.readline()
        time.sleep(0.3)  # some are to be sent; none need be
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert told.endswith("none lost\n")


def test_throughput_of_pods_and_nodes(lab: str) -> None:
    run_podway(lab, "pod", "add", "--count", "2")
    for words in (["p1", "p2"], ["n1", "n2", "--streams", "2"], ["p1", "p2", "--udp"]):
        measured = podway_json(lab, "iperf", *words, "--seconds", "1")
        assert measured["bits_per_second"] > 1e6


def test_demo(lab_name: str) -> None:
    shown = podway_json(lab_name, "demo", "--seconds", "1")
    assert len(shown["pings"]) == 36
    assert all(ping["rtt_ms"] is not None for ping in shown["pings"])
    assert len(shown["throughput"]) == 2
    assert leftovers(lab_name) == []


def test_what_to_do_about_an_agent_that_is_away(lab: str) -> None:
    podway_json(lab, "fault", "kill-agent", "n1")
    shown = run_podway(lab, "status")
    assert shown.returncode == 1
    told = f"podway lab --name {lab} fault start-agent n1"
    assert told in shown.stdout
    assert run_podway(*told.split()[3:]).returncode == 0
    assert run_podway(lab, "status").returncode == 0
