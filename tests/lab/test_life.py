"""Labs come and go: whatever happens on the way, nothing is left, and others are left alone."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import podway
from lab.probes import PODWAY, eventually, leftovers, podway_json, run_podway
from podway.errors import ConfigError
from podway.lab.errors import LabDamaged, LabError, StartFailed
from podway.lab.interrupts import interruptible
from podway.lab.labs import bring_up
from podway.lab.members import pod_stations
from podway.lab.names import FABRIC, HUB, lab_dir, namespace_of
from podway.lab.namespaces import create_namespace, inside, list_namespaces, run_in
from podway.lab.ping import ping_all
from podway.lab.processes import is_running, read_pid_file
from podway.lab.progress import silent
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec
from podway.lab.state import read_pods, read_spec
from podway.lab.statuses import read_statuses
from podway.lab.teardown import all_labs, take_down
from podway.lab.topology import plan_lab
from podway.netlink import current_identity


def test_down_leaves_nothing(make_lab: Callable[..., LabSpec]) -> None:
    spec = make_lab()
    add_pods(spec, ["p1", "p2"])
    processes = [read_pid_file(each.pid_file) for each in (plan_lab(spec).stores[0],)]
    assert all(map(is_running, processes))
    found = leftovers(spec.name)
    assert len(found) > 8
    removed = take_down(spec.name, silent)
    assert leftovers(spec.name) == []
    assert len(removed.namespaces) == 6
    assert removed.processes == 3
    assert not any(map(is_running, processes))
    assert take_down(spec.name, silent).nothing


def test_down_ends_what_users_left_running(make_lab: Callable[..., LabSpec]) -> None:
    spec = make_lab(nodes=(1,))
    add_pods(spec, ["p1"])
    command = [*PODWAY, "lab", "--name", spec.name, "exec", "p1", "--", "sleep", "600"]
    with subprocess.Popen(command) as sleeper:
        eventually("it sleeps", lambda: command_of(sleeper.pid).startswith(b"sleep"))
        assert podway_json(spec.name, "down")["removed"][0]["processes"] == 3
        assert sleeper.wait(timeout=5) == -signal.SIGKILL


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_labs_stand_side_by_side(make_lab: Callable[..., LabSpec]) -> None:
    one = make_lab(nodes=(1,))
    # A name that begins with the other's name must not be taken for a part of it.
    two = LabSpec(name=f"{one.name}x", nodes=(1,))
    try:
        bring_up(two, silent)
        assert {one.name, two.name} <= set(all_labs())
        for spec in (one, two):
            add_pods(spec, ["p1"])
        first = read_pods(one.name)[0].addresses
        assert first == read_pods(two.name)[0].addresses
        take_down(one.name, silent)
        assert leftovers(two.name)
        stations = pod_stations(two, read_pods(two.name))
        assert all(each.rtt_ms is not None for each in ping_all(stations))
        statuses, away = read_statuses(two)
        assert statuses["n1"]["ready"]
        assert not away
    finally:
        take_down(two.name, silent)
    assert leftovers(two.name) == []


def test_a_name_is_taken_once(make_lab: Callable[..., LabSpec]) -> None:
    spec = make_lab(nodes=(1,))
    with pytest.raises(LabError):
        bring_up(spec, silent)
    assert read_statuses(spec)[0]["n1"]["ready"]


def test_an_agent_that_does_not_start(lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWAY_LOG_LEVEL", "bogus")
    with pytest.raises(StartFailed) as failed:
        bring_up(LabSpec(name=lab_name, nodes=(1, 2)), silent)
    assert "bogus" in str(failed.value), "the end of the log says why"
    assert leftovers(lab_name) == []


def test_the_underlay_is_a_switch_and_no_firewall(make_lab: Callable[..., LabSpec]) -> None:
    spec = make_lab()
    names = ["iptables", "ip6tables", "arptables"]
    switches = [f"/proc/sys/net/bridge/bridge-nf-call-{name}" for name in names]
    there = [path for path in switches if Path(path).exists()]
    if there:
        _, told, _ = run_in(namespace_of(spec.name, FABRIC), ["cat", *there])
        assert told.split() == [b"0"] * len(there)


def test_an_impossible_lab_makes_nothing(lab_name: str) -> None:
    spec = LabSpec(name=lab_name, nodes=(1,), backend="host-gw", routed_underlay=True)
    with pytest.raises(ConfigError):
        bring_up(spec, silent)
    assert leftovers(lab_name) == []


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


def test_demo_leaves_a_lab_of_that_name_alone(make_lab: Callable[..., LabSpec]) -> None:
    spec = make_lab()
    done = run_podway(spec.name, "demo")
    assert done.returncode == 1
    assert "there already" in done.stderr
    statuses, away = read_statuses(spec)
    assert not away
    assert all(status["ready"] for status in statuses.values())


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


def test_options_of_this_machines_agent_are_not_the_labs(
    make_lab: Callable[..., LabSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWAY_INSTANCE", "blue")
    monkeypatch.setenv("PODWAY_UPLINK", "nosuch0")
    spec = make_lab(nodes=(1,))
    with inside(namespace_of(spec.name, "n1")):
        names = {name for _, name in socket.if_nameindex()}
    assert {"podway.1", "cni0"} <= names


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


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b'{"name":'), id="torn"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.unlink(), id="missing"),
    ],
)
def test_damaged_state(make_lab: Callable[..., LabSpec], damage: Callable[[Path], None]) -> None:
    spec = make_lab(nodes=(1,))
    add_pods(spec, ["p1"])
    damage(lab_dir(spec.name) / "lab.json")
    with pytest.raises(LabDamaged):
        read_spec(spec.name)
    listed = podway_json(spec.name, "list")["labs"]
    assert [each for each in listed if each["lab"] == spec.name and each["damage"]]
    take_down(spec.name, silent)
    assert leftovers(spec.name) == []


def test_names_are_enough_to_find_a_lab(make_lab: Callable[..., LabSpec]) -> None:
    spec = make_lab(nodes=(1,))
    directory = lab_dir(spec.name)
    directory.rename(directory.with_name("elsewhere"))
    try:
        assert spec.name in all_labs()
        assert take_down(spec.name, silent).processes == 2
        assert leftovers(spec.name) == []
    finally:
        subprocess.run(["rm", "-r", str(directory.with_name("elsewhere"))], check=True)


def test_a_recycled_process_number_is_spared(lab_name: str) -> None:
    with subprocess.Popen(["sleep", "600"]) as bystander:
        directory = lab_dir(lab_name) / "n1"
        directory.mkdir(parents=True)
        stale = msgspec.json.encode({"pid": bystander.pid, "start_ticks": 1})
        (directory / "agent.pid").write_bytes(stale)
        (lab_dir(lab_name) / "hub").mkdir()
        (lab_dir(lab_name) / "hub" / "hub.pid").write_bytes(b"damaged")
        create_namespace(namespace_of(lab_name, "n1"))
        removed = take_down(lab_name, silent)
        assert (removed.processes, len(removed.namespaces)) == (0, 1)
        assert bystander.poll() is None
        bystander.kill()


def test_nothing_changes_outside_of_the_lab(make_lab: Callable[..., LabSpec]) -> None:
    """The machine's own namespace has the same links, addresses, routes, rules as before."""
    before = own_network()
    spec = make_lab()
    add_pods(spec, ["p1", "p2"])
    assert own_network() == before
    take_down(spec.name, silent)
    assert own_network() == before


def own_network() -> list[object]:
    shown: list[object] = []
    for words in ("link", "addr", "route", "-6 route", "rule", "-6 rule"):
        command = ["ip", "-j", *words.split()]
        listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        shown.append([{name: each.get(name) for name in NAMES} for each in listed])
    return shown


NAMES = ("ifname", "flags", "mtu", "address", "dst", "gateway", "dev", "priority", "table")


def test_only_root_makes_labs() -> None:
    if not _everybody_can_read(Path(podway.__file__).parent):
        pytest.skip("nobody but root can read this checkout")
    command = ["setpriv", "--reuid=65534", "--clear-groups", *PODWAY, "lab", "up", "--json"]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "root" in json.loads(done.stdout)["error"]


def _everybody_can_read(path: Path) -> bool:
    places = (path, *path.parents, Path(sys.executable).parent)
    return all(place.stat().st_mode & 0o005 == 0o005 for place in places)
