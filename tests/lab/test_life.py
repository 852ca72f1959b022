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
from podway.lab import teardown
from podway.lab.errors import LabDamaged, LabError, StartFailed
from podway.lab.labs import bring_up
from podway.lab.members import pod_stations
from podway.lab.names import FABRIC, lab_dir, namespace_of
from podway.lab.namespaces import create_namespace, inside, run_in
from podway.lab.ping import ping_all
from podway.lab.processes import ProcessId, is_running, read_pid_file
from podway.lab.progress import silent
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec
from podway.lab.state import read_pods, read_spec
from podway.lab.statuses import read_statuses
from podway.lab.teardown import all_labs, take_down
from podway.lab.topology import plan_lab


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


def test_down_ends_who_becomes_a_daemon_meanwhile(
    make_lab: Callable[..., LabSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look sees neither who has ended by then, nor what it has become."""
    spec = make_lab(nodes=(1,))
    see, looks = teardown._find, [set[ProcessId]()]
    monkeypatch.setattr(
        teardown, "_find", lambda name, inodes: looks.pop() if looks else see(name, inodes)
    )
    assert take_down(spec.name, silent).processes == 2


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


def test_demo_leaves_a_lab_of_that_name_alone(make_lab: Callable[..., LabSpec]) -> None:
    spec = make_lab()
    done = run_podway(spec.name, "demo")
    assert done.returncode == 1
    assert "there already" in done.stderr
    statuses, away = read_statuses(spec)
    assert not away
    assert all(status["ready"] for status in statuses.values())


def test_options_of_this_machines_agent_are_not_the_labs(
    make_lab: Callable[..., LabSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWAY_INSTANCE", "blue")
    monkeypatch.setenv("PODWAY_UPLINK", "nosuch0")
    spec = make_lab(nodes=(1,))
    with inside(namespace_of(spec.name, "n1")):
        names = {name for _, name in socket.if_nameindex()}
    assert {"podway.1", "cni0"} <= names


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
