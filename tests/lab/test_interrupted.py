"""Commands that are ended half-way: all or nothing, and what a killed one leaves can be removed."""

import os
import signal
import subprocess
from collections.abc import Callable

import pytest

from lab.probes import PODWAY, eventually, leftovers, podway_json, run_podway
from podway.lab.interrupts import interruptible
from podway.lab.names import HUB, namespace_of
from podway.lab.namespaces import create_namespace, inside, list_namespaces
from podway.lab.specs import LabSpec
from podway.lab.state import read_pods
from podway.lab.statuses import read_statuses
from podway.netlink import current_identity


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
@pytest.mark.parametrize("after", ["fabric", "hub", "n1"])
def test_up_interrupted(lab_name: str, number: signal.Signals, after: str) -> None:
    command = [*PODWAY, "lab", "--name", lab_name, "up", "--nodes", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.split()[0] == after:
                process.send_signal(number)
                break
        told = process.stderr.read()
    assert process.returncode == 130, told
    assert leftovers(lab_name) == []


def test_a_signal_waits_until_the_thread_is_home(lab_name: str) -> None:
    name = namespace_of(lab_name, HUB)
    create_namespace(name)
    home, there = current_identity(), []

    def work() -> None:
        with interruptible(), inside(name):
            os.kill(os.getpid(), signal.SIGTERM)
            there.append(current_identity())

    with pytest.raises(KeyboardInterrupt):
        work()
    assert len(there) == 1
    assert there != [home]
    assert current_identity() == home


@pytest.mark.parametrize("until", ["== A cluster", "== Every pod", "== Throughput", "== Remove"])
def test_demo_interrupted(lab_name: str, until: str) -> None:
    command = [*PODWAY, "lab", "--name", lab_name, "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(until):
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
    assert process.returncode == 130
    assert leftovers(lab_name) == []


def begin_pods(spec: LabSpec, number: signal.Signals) -> int:
    """Begin to add many pods, send *number* once there is a first one; return the exit code."""
    command = [*PODWAY, "lab", "--name", spec.name, "pod", "add", "--count", "100"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        eventually("a first pod", lambda: bool(read_pods(spec.name)))
        process.send_signal(number)
        return process.wait(60)


def pod_namespaces(spec: LabSpec) -> list[str]:
    return [name for name in list_namespaces(spec.name) if "-p" in name.removeprefix("podway-")]


def endpoints(spec: LabSpec) -> int:
    return sum(status["endpoints"] for status in read_statuses(spec)[0].values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_pods_are_added_all_or_none(
    make_lab: Callable[..., LabSpec], number: signal.Signals
) -> None:
    spec = make_lab()
    assert begin_pods(spec, number) == 130
    assert read_pods(spec.name) == []
    assert pod_namespaces(spec) == []
    assert endpoints(spec) == 0


def test_half_made_pods_can_be_removed(make_lab: Callable[..., LabSpec]) -> None:
    spec = make_lab()
    assert begin_pods(spec, signal.SIGKILL) == -signal.SIGKILL
    half = [pod.name for pod in read_pods(spec.name)]
    assert half
    run_podway(spec.name, "ping")  # whatever has an address answers; nothing breaks
    assert podway_json(spec.name, "pod", "rm", *half)["removed"] == half
    assert pod_namespaces(spec) == []
    eventually("no endpoint is left", lambda: endpoints(spec) == 0)


def test_up_killed_and_cleared_away(lab_name: str) -> None:
    command = [*PODWAY, "lab", "--name", lab_name, "up", "--nodes", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.split()[0] == "hub":
                process.kill()
                break
    assert leftovers(lab_name)
    assert run_podway(lab_name, "up").returncode == 1
    assert run_podway(lab_name, "down").returncode == 0
    assert leftovers(lab_name) == []
