"""Every fault breaks what it says, and heals: by the agent itself, or by its undoing."""

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest

from lab.probes import DUAL, eventually, leftovers, podway_json, run_podway, unanswered
from podway.lab import faults, statuses
from podway.lab.errors import LabError, PluginFailed, StartFailed
from podway.lab.labs import add_node, bring_up, remove_node
from podway.lab.members import node_stations, pod_stations
from podway.lab.names import namespace_of
from podway.lab.ping import ping_all
from podway.lab.progress import silent
from podway.lab.runtime import add_pods, remove_pods
from podway.lab.specs import LabSpec
from podway.lab.state import read_pods, read_spec
from podway.lab.statuses import read_statuses
from podway.lab.teardown import take_down
from podway.model.kernel import Route

TRY_AGAIN_LATER = 11


@pytest.fixture(params=["flat", "routed"])
def lab(request: pytest.FixtureRequest, lab_name: str) -> Iterator[LabSpec]:
    """Give a dual-stack lab of two nodes with a pod on each."""
    routed = request.param == "routed"
    spec = LabSpec(name=lab_name, nodes=(1, 2), families=DUAL, routed_underlay=routed)
    bring_up(spec, silent)
    add_pods(spec, ["p1", "p2"])
    yield spec
    take_down(lab_name, silent)


def between_nodes(spec: LabSpec) -> set[str]:
    """Return what became of the pings between p1 and p2: reasons, "" for an answer."""
    outcomes = ping_all(pod_stations(spec, read_pods(spec.name)), timeout_s=0.2)
    return {
        "" if each.rtt_ms is not None else "lost"
        for each in outcomes
        if each.source != each.target and {each.source, each.target} <= {"p1", "p2"}
    }


def all_ready(spec: LabSpec) -> bool:
    statuses, away = read_statuses(spec)
    return not away and all(
        status["ready"] and all(peer["state"] == "programmed" for peer in status["peers"])
        for status in statuses.values()
    )


def is_back(spec: LabSpec) -> Callable[[], bool]:
    return lambda: all_ready(spec) and not unanswered(spec)


def test_link_down_and_up(lab: LabSpec) -> None:
    faults.link_down(lab, "n1")
    assert between_nodes(lab) == {"lost"}
    faults.link_up(lab, "n1")
    eventually("pods answer after the link is up again", is_back(lab))


def test_cable_pulled_and_plugged_in(lab: LabSpec) -> None:
    faults.pull_cable(lab, "n2")
    assert between_nodes(lab) == {"lost"}
    faults.heal(lab)
    eventually("pods answer after the cable is back", is_back(lab))


def test_partition_and_heal(lab: LabSpec) -> None:
    faults.partition(lab, ["n1"])
    assert between_nodes(lab) == {"lost"}
    faults.partition(lab, ["n1", "n2"])
    eventually("those on one side of the cut talk", lambda: between_nodes(lab) == {""})
    assert faults.heal(lab) == ["partition removed"]
    eventually("pods answer after the partition", is_back(lab))
    assert faults.heal(lab) == []


def test_pods_live_on_without_their_agent(lab: LabSpec) -> None:
    faults.kill_agent(lab, "n1")
    assert unanswered(lab) == []
    with pytest.raises(LabError):
        faults.kill_agent(lab, "n1")
    with pytest.raises(PluginFailed) as refused:
        add_pods(lab, ["p3"], "n1")
    assert refused.value.code == TRY_AGAIN_LATER
    assert [pod.name for pod in read_pods(lab.name)] == ["p1", "p2"]
    faults.start_agent(lab, "n1")
    with pytest.raises(LabError):
        faults.start_agent(lab, "n1")
    add_pods(lab, ["p3"], "n1")
    eventually("the new pod is reached too", is_back(lab))


def test_nodes_live_on_without_the_hub(lab: LabSpec) -> None:
    faults.kill_hub(lab)
    assert unanswered(lab) == []
    add_pods(lab, ["p3"])
    assert unanswered(lab) == []
    faults.kill_agent(lab, "n2")
    assert faults.heal(lab) == ["hub started", "agent of n2 started"]
    eventually("all nodes are connected again", is_back(lab))
    grown, name, _ = add_node(lab, silent)
    add_pods(grown, ["p4"], name)
    assert unanswered(grown) == []


def test_deleted_routes_come_back(lab: LabSpec) -> None:
    before = routes(lab, "n1")
    deleted = faults.delete_route(lab, "n1")
    assert len(deleted) >= 2
    eventually("routes as they were", lambda: routes(lab, "n1") == before)
    eventually("pods answer", is_back(lab))
    one = next(item for item in deleted if isinstance(item, Route))
    assert faults.delete_route(lab, "n1", str(one.dst)) == [one]
    eventually("the one route is back", lambda: routes(lab, "n1") == before)
    with pytest.raises(LabError):
        faults.delete_route(lab, "n1", "192.0.2.0/24")


def routes(spec: LabSpec, node: str) -> list[str]:
    """Return the node's routes as iproute2 shows them."""
    found = []
    for family in ("-4", "-6"):
        command = ["ip", "-n", namespace_of(spec.name, node), "-j", family, "route"]
        shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        found += [f"{each['dst']} {each['dev']} {each.get('gateway')}" for each in shown]
    return sorted(found)


def test_a_flushed_node_is_made_whole(lab: LabSpec) -> None:
    before = routes(lab, "n1")
    deleted = faults.flush(lab, "n1")
    kinds = {item.key.kind for item in deleted}
    assert {"link", "route", "neighbour", "fdb", "nft"} <= kinds
    eventually("routes as they were", lambda: routes(lab, "n1") == before)
    eventually("pods answer", is_back(lab))
    repaired = read_statuses(lab)[0]["n1"]["drift_repaired"]
    assert repaired >= len(deleted)


def test_a_node_comes_while_an_agent_is_dead(make_lab: Callable[..., LabSpec]) -> None:
    spec = make_lab()
    add_pods(spec, ["p1"], "n1")
    faults.kill_agent(spec, "n1")
    added = run_podway(spec.name, "node", "add")
    assert (added.returncode, added.stdout.splitlines()[0].split()[0]) == (0, "n3")
    remedy = f"podway lab --name {spec.name} fault start-agent n1"
    assert remedy in added.stdout
    assert list(podway_json(spec.name, "node", "add")["away"]) == ["n1"]
    grown = read_spec(spec.name)
    assert grown.nodes == (1, 2, 3, 4)
    assert run_podway(*remedy.split()[3:]).returncode == 0
    add_pods(grown, ["p3"], "n3")
    eventually("the node that was away reaches the new one", is_back(grown))


def test_a_node_comes_while_another_is_cut_off(
    make_lab: Callable[..., LabSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_lab()
    faults.partition(spec, ["n1"])
    monkeypatch.setattr(statuses, "LINKED_TIMEOUT_S", 1.0)
    grown, name, unaware = add_node(spec, silent)
    assert (name, list(unaware)) == ("n3", ["n1"])
    faults.heal(grown)
    eventually("it hears of the new one", lambda: all_ready(grown))


def test_a_node_that_does_not_come_up_is_gone_again(
    make_lab: Callable[..., LabSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_lab(nodes=(1,))
    before = leftovers(spec.name), known_to_the_store(spec)
    monkeypatch.setenv("PODWAY_LOG_LEVEL", "bogus")
    with pytest.raises(StartFailed):
        add_node(spec, silent)
    monkeypatch.delenv("PODWAY_LOG_LEVEL")
    assert (leftovers(spec.name), known_to_the_store(spec)) == before
    assert read_spec(spec.name) == spec


def known_to_the_store(spec: LabSpec) -> list[str]:
    """Return the first words of what ``podway node list`` says: nodes, and for whom is reserved."""
    listed = run_podway(spec.name, "exec", "n1", "--", "podway", "node", "list")
    assert listed.returncode == 0, listed.stderr
    return [line.split()[0] for line in listed.stdout.splitlines() if line]


def test_a_node_comes_and_goes(lab: LabSpec) -> None:
    grown, name, _ = add_node(lab, silent)
    assert name == "n3"
    add_pods(grown, ["p3"], "n3")
    assert unanswered(grown) == []
    assert all(each.rtt_ms is not None for each in ping_all(node_stations(grown)))
    shrunk = remove_node(grown, "n3")
    assert shrunk == lab == read_spec(lab.name)
    assert [pod.name for pod in read_pods(lab.name)] == ["p1", "p2"]
    eventually(
        "its peers forget it",
        lambda: all(len(status["peers"]) == 1 for status in read_statuses(lab)[0].values()),
    )
    remove_pods(lab, read_pods(lab.name))
    with pytest.raises(LabError):
        remove_node(remove_node(lab, "n1"), "n2")
