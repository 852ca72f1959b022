"""Whatever becomes of agents and stores, existing pods go on: of all pings not one is lost."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.probes import DUAL, LEAST_PINGS, eventually, nothing_lost
from podway.lab import faults
from podway.lab import steady_pings as module
from podway.lab.errors import LabError
from podway.lab.labs import add_node
from podway.lab.members import pod_stations
from podway.lab.names import node_name
from podway.lab.progress import silent
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec, StoreName
from podway.lab.state import read_pods
from podway.lab.statuses import in_order, read_statuses, store_is_away
from podway.lab.steady_pings import steady_pings
from podway.lab.store_members import find_programs
from podway.lab.stores import data_dir


@pytest.fixture
def open_lab(make_lab: Callable[..., LabSpec]) -> Callable[[StoreName], LabSpec]:
    """Give what makes a lab of two nodes with a pod each; it skips where programs are missing."""

    def make(store: StoreName) -> LabSpec:
        try:
            find_programs(LabSpec(name="t", nodes=(1,), store=store), os.environ)
        except LabError as error:
            pytest.skip(str(error))
        spec = make_lab(store=store, families=DUAL)
        add_pods(spec, ["p1", "p2"])
        return spec

    return make


def test_a_loss_would_be_seen(
    open_lab: Callable[[StoreName], LabSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one, with its place among all: also when its sequence number is needed again."""
    monkeypatch.setattr(module, "_SEQUENCES", 32)
    spec = open_lab("hub")
    with steady_pings(pod_stations(spec, read_pods(spec.name))) as pings:
        eventually("pings are under way", lambda: pings.sent > LEAST_PINGS / 10)
        first = pings.sent
        faults.pull_cable(spec, "n1")
        count = pings.sent
        eventually("many were lost", lambda: pings.sent > count + LEAST_PINGS / 2)
        faults.link_up(spec, "n1")
    lost = [request.number for request in pings.unanswered]
    assert LEAST_PINGS / 4 < len(set(lost)) == len(lost)
    assert min(lost) >= first


def nodes_of(spec: LabSpec) -> list[str]:
    return [node_name(number) for number in spec.nodes]


@pytest.mark.parametrize("store", ["hub", "etcd", "kubernetes"])
def test_agents_and_stores_come_and_go(
    open_lab: Callable[[StoreName], LabSpec], store: StoreName
) -> None:
    spec = open_lab(store)
    with nothing_lost(spec):
        for node, number in zip(nodes_of(spec), (signal.SIGKILL, signal.SIGTERM), strict=True):
            faults.kill_agent(spec, node, number)
            faults.start_agent(spec, node)
        eventually("in order", lambda: in_order(spec))
        faults.kill_hub(spec)
        eventually("agents notice", lambda: store_is_away(spec))
        # One that starts meanwhile finds nobody to ask.
        faults.kill_agent(spec, "n2")
        faults.start_agent(spec, "n2")
        faults.start_hub(spec)
        eventually("in order", lambda: in_order(spec))


@pytest.mark.parametrize("store", ["hub", "etcd"])
def test_the_store_is_lost_and_a_backup_put_back(
    open_lab: Callable[[StoreName], LabSpec], store: StoreName, tmp_path: Path
) -> None:
    """A node that joined after the backup was made is not in it, and comes back by itself."""
    spec = open_lab(store)
    live, backup = data_dir(spec), tmp_path / "backup"
    faults.kill_hub(spec)
    shutil.copytree(live, backup)
    faults.start_hub(spec)
    spec, name, _ = add_node(spec, silent)
    add_pods(spec, ["p3"], name)
    eventually("in order", lambda: in_order(spec))
    before = subnets_of(spec)
    with nothing_lost(spec):
        faults.kill_hub(spec)
        shutil.rmtree(live)
        shutil.copytree(backup, live)
        faults.start_hub(spec)
        eventually("agents hear of it", lambda: in_order(spec))
        for node in nodes_of(spec):
            faults.kill_agent(spec, node)
            faults.start_agent(spec, node)
        eventually("in order", lambda: in_order(spec))
    assert subnets_of(spec) == before


def test_everything_in_the_store_is_lost(open_lab: Callable[[StoreName], LabSpec]) -> None:
    """A hub starts with an empty directory: nodes claim again what they have."""
    spec = open_lab("hub")
    before = subnets_of(spec)
    with nothing_lost(spec):
        faults.kill_hub(spec)
        shutil.rmtree(data_dir(spec))
        faults.start_hub(spec)
        eventually("in order", lambda: in_order(spec))
    assert subnets_of(spec) == before


def subnets_of(spec: LabSpec) -> dict[str, list[str]]:
    return {name: list(status["subnets"]) for name, status in read_statuses(spec)[0].items()}
