"""What backends promise beyond reaching pods: nothing lost over restarts, keys, another backend."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from lab.probes import all_use, eventually
from podway.lab import faults
from podway.lab.members import pod_stations
from podway.lab.names import hub_socket, lab_dir, namespace_of
from podway.lab.namespaces import inode_of
from podway.lab.ping import ping_all
from podway.lab.processes import processes_in
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec
from podway.lab.state import read_pods
from podway.lab.statuses import read_statuses
from podway.lab.topology import plan_network
from podway.model.addresses import Family
from podway.model.kernel import Link
from podway.store.engines import open_store

DUAL = (Family.IPV4, Family.IPV6)


@pytest.fixture
def lab(make_lab: Callable[..., LabSpec]) -> LabSpec:
    """Give a lab with WireGuard between two nodes, and a pod on each."""
    spec = make_lab(backend="wireguard", families=DUAL)
    add_pods(spec, ["p1", "p2"])
    eventually("pods answer", lambda: lost(spec) == 0)
    return spec


def lost(spec: LabSpec) -> int:
    outcomes = ping_all(pod_stations(spec, read_pods(spec.name)))
    return sum(each.rtt_ms is None for each in outcomes)


@contextmanager
def pinging(spec: LabSpec) -> Iterator[list[int]]:
    """Ping without a pause for as long as the body runs; give how many were lost in each round."""
    rounds: list[int] = []
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            rounds.append(lost(spec))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield rounds
    finally:
        ended.set()
        thread.join()


def tunnels(spec: LabSpec, node: str) -> set[int]:
    """Return the processes that stand in for the kernel's WireGuard on *node*."""
    found = processes_in({inode_of(namespace_of(spec.name, node))})
    return {each.pid for each in found if b"wireguard-go" in cmdline(each.pid)}


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def restart(spec: LabSpec, node: str) -> None:
    faults.kill_agent(spec, node)
    faults.start_agent(spec, node)


def test_no_packet_is_lost_while_agents_restart(lab: LabSpec) -> None:
    before = tunnels(lab, "n1") | tunnels(lab, "n2")
    with pinging(lab) as rounds:
        for node in ("n1", "n2"):
            restart(lab, node)
    assert rounds
    assert sum(rounds) == 0
    assert tunnels(lab, "n1") | tunnels(lab, "n2") == before


def test_a_process_that_dies_is_back_without_anybodys_help(lab: LabSpec) -> None:
    before = tunnels(lab, "n1")
    if not before:
        pytest.skip("this kernel has WireGuard and starts no process")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually("other processes run", lambda: len(tunnels(lab, "n1") - before) == len(before))
    eventually("pods answer", lambda: lost(lab) == 0)


def test_all_of_it_is_back_after_a_flush(lab: LabSpec) -> None:
    gone = {item.name for item in faults.flush(lab, "n1") if isinstance(item, Link)}
    assert gone == {"podway-wg", "podway-wg-v6"}
    eventually("pods answer", lambda: lost(lab) == 0)
    assert all_use(lab, "wireguard")


def test_a_new_key_is_made_known(lab: LabSpec) -> None:
    state = lab_dir(lab.name) / "n1" / "state" / "wireguard.key"
    before = state.read_text()
    state.unlink()
    restart(lab, "n1")
    eventually("pods answer", lambda: lost(lab) == 0)
    assert state.read_text() != before


def test_keys_are_in_no_log_and_no_argument(lab: LabSpec) -> None:
    for node in ("n1", "n2"):
        key = (lab_dir(lab.name) / node / "state" / "wireguard.key").read_text().strip()
        for log in (lab_dir(lab.name) / node).rglob("*.log"):
            assert key not in log.read_text(errors="replace")
        assert not any(key.encode() in cmdline(pid) for pid in tunnels(lab, node))


def apply_backend(spec: LabSpec, backend: str) -> None:
    """Make *backend* the network's, as ``podway network apply`` does."""
    document = {**plan_network(spec), "Backend": {"Type": backend}}

    async def put() -> None:
        store = open_store(f"unix:{hub_socket(spec.name)}")
        try:
            await store.put_network(json.dumps(document))
        finally:
            await store.close()

    asyncio.run(put())


def test_a_live_cluster_takes_another_backend_and_leaves_nothing_of_the_old(lab: LabSpec) -> None:
    subnets = {name: status["subnets"] for name, status in read_statuses(lab)[0].items()}
    for backend in ("vxlan", "host-gw", "wireguard"):
        apply_backend(lab, backend)
        eventually(f"all use {backend}", partial(all_use, lab, backend))
        eventually("pods answer", lambda: lost(lab) == 0)
        wanted = backend == "wireguard"
        eventually(f"tunnel: {wanted}", lambda: bool(tunnels(lab, "n1")) is wanted)  # noqa: B023
    assert {name: status["subnets"] for name, status in read_statuses(lab)[0].items()} == subnets
