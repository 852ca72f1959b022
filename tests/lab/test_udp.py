"""The udp backend in a lab: the relay has a life of its own, and is missed when it ends."""

import os
import signal
from collections.abc import Callable

import pytest

from lab.probes import DUAL, eventually, nothing_lost, processes_on, unanswered
from podway.lab import faults
from podway.lab.names import namespace_of
from podway.lab.namespaces import run_in
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec
from podway.lab.topology import METRICS_PORT


@pytest.fixture
def lab(make_lab: Callable[..., LabSpec]) -> LabSpec:
    """Give a dual-stack lab of two nodes with a pod on each."""
    spec = make_lab(backend="udp", families=DUAL)
    add_pods(spec, ["p1", "p2"])
    eventually("pods answer", lambda: unanswered(spec) == [])
    return spec


def relays(spec: LabSpec, node: str) -> set[int]:
    """Return the relays that run on *node*."""
    return processes_on(spec, node, "podway.udp.main")


def metrics(spec: LabSpec, node: str) -> dict[str, float]:
    """Return what the agent of *node* counts of its relay."""
    script = (
        "import urllib.request as u;"
        f"print(u.urlopen('http://127.0.0.1:{METRICS_PORT}/metrics').read().decode())"
    )
    code, out, err = run_in(namespace_of(spec.name, node), ["/usr/bin/python3", "-c", script])
    assert code == 0, err
    lines = [line.split(" ") for line in out.decode().splitlines() if line[:11] == "podway_udp_"]
    return {name: float(value) for name, value in lines}


def test_no_packet_is_lost_while_agents_restart(lab: LabSpec) -> None:
    before = relays(lab, "n1") | relays(lab, "n2")
    assert len(before) == 2
    with nothing_lost(lab):
        for node in ("n1", "n2"):
            faults.kill_agent(lab, node)
            faults.start_agent(lab, node)
    assert relays(lab, "n1") | relays(lab, "n2") == before


def test_a_relay_that_is_killed_is_back_without_anybodys_help(lab: LabSpec) -> None:
    (pid,) = relays(lab, "n1")
    os.kill(pid, signal.SIGKILL)
    eventually("another one runs", lambda: len(relays(lab, "n1") - {pid}) == 1)
    eventually("pods answer", lambda: unanswered(lab) == [])


def test_a_relay_that_ended_while_the_agent_was_away(lab: LabSpec) -> None:
    faults.kill_agent(lab, "n1")
    for pid in relays(lab, "n1"):
        os.kill(pid, signal.SIGKILL)
    faults.start_agent(lab, "n1")
    eventually("pods answer", lambda: unanswered(lab) == [])


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ip", "link", "delete", "podway0"], id="device deleted"),
        pytest.param(["ip", "link", "set", "podway0", "down"], id="device down"),
        pytest.param(["ip", "route", "flush", "dev", "podway0"], id="route gone"),
        pytest.param(["ip", "address", "flush", "dev", "podway0"], id="addresses gone"),
        pytest.param(["ip", "link", "set", "podway0", "mtu", "1300"], id="another MTU"),
    ],
)
def test_drift_is_repaired(lab: LabSpec, command: list[str]) -> None:
    code, _, err = run_in(namespace_of(lab.name, "n1"), command)
    # `ip` looks whether a flush has left nothing, and the agent may have been quicker ten times.
    assert code == 0 or b"Flush remains incomplete" in err, err
    eventually("pods answer", lambda: unanswered(lab) == [])
    code, out, _ = run_in(namespace_of(lab.name, "n1"), ["ip", "link", "show", "podway0"])
    eventually("the MTU is right", lambda: b"mtu 1472" in _link(lab, "n1"))
    assert code == 0, out


def _link(spec: LabSpec, node: str) -> bytes:
    return run_in(namespace_of(spec.name, node), ["ip", "link", "show", "podway0"])[1]


def test_all_of_it_is_back_after_a_flush(lab: LabSpec) -> None:
    assert faults.flush(lab, "n1")
    eventually("pods answer", lambda: unanswered(lab) == [])


def test_the_agent_shows_what_the_relay_counts(lab: LabSpec) -> None:
    before = metrics(lab, "n1")
    assert unanswered(lab) == []
    after = metrics(lab, "n1")
    for name in ("podway_udp_sent_packets_total", "podway_udp_received_packets_total"):
        assert after[name] > before[name]
    assert after["podway_udp_strangers_total"] == 0
