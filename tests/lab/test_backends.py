"""What backends promise beyond reaching pods: nothing lost over restarts, keys, another backend."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from functools import partial

import pytest

from lab.probes import (
    DUAL,
    all_use,
    cmdline,
    eventually,
    nothing_lost,
    processes_on,
    unanswered,
)
from podway.lab import faults
from podway.lab.names import hub_socket, lab_dir
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec
from podway.lab.statuses import read_statuses
from podway.lab.topology import plan_network
from podway.model.kernel import Link
from podway.store.engines import open_store


@pytest.fixture
def lab(make_lab: Callable[..., LabSpec]) -> LabSpec:
    """Give a lab with WireGuard between two nodes, and a pod on each."""
    spec = make_lab(backend="wireguard", families=DUAL)
    add_pods(spec, ["p1", "p2"])
    eventually("pods answer", lambda: unanswered(spec) == [])
    return spec


def tunnels(spec: LabSpec, node: str) -> set[int]:
    """Return the processes that stand in for the kernel's WireGuard on *node*."""
    return processes_on(spec, node, "wireguard-go")


def restart(spec: LabSpec, node: str) -> None:
    faults.kill_agent(spec, node)
    faults.start_agent(spec, node)


def test_no_packet_is_lost_while_agents_restart(lab: LabSpec) -> None:
    before = tunnels(lab, "n1") | tunnels(lab, "n2")
    with nothing_lost(lab):
        for node in ("n1", "n2"):
            restart(lab, node)
    assert tunnels(lab, "n1") | tunnels(lab, "n2") == before


def test_a_process_that_dies_is_back_without_anybodys_help(lab: LabSpec) -> None:
    before = tunnels(lab, "n1")
    if not before:
        pytest.skip("this kernel has WireGuard and starts no process")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually("other processes run", lambda: len(tunnels(lab, "n1") - before) == len(before))
    eventually("pods answer", lambda: unanswered(lab) == [])


def test_all_of_it_is_back_after_a_flush(lab: LabSpec) -> None:
    gone = {item.name for item in faults.flush(lab, "n1") if isinstance(item, Link)}
    assert gone == {"podway-wg", "podway-wg-v6"}
    eventually("pods answer", lambda: unanswered(lab) == [])
    assert all_use(lab, "wireguard")


def test_a_new_key_is_made_known(lab: LabSpec) -> None:
    state = lab_dir(lab.name) / "n1" / "state" / "wireguard.key"
    before = state.read_text()
    state.unlink()
    restart(lab, "n1")
    eventually("pods answer", lambda: unanswered(lab) == [])
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
        eventually("pods answer", lambda: unanswered(lab) == [])
        wanted = backend == "wireguard"
        eventually(f"tunnel: {wanted}", lambda: bool(tunnels(lab, "n1")) is wanted)  # noqa: B023
    assert {name: status["subnets"] for name, status in read_statuses(lab)[0].items()} == subnets
