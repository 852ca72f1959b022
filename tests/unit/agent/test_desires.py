"""What is computed when."""

from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest
from msgspec.structs import replace

from podway.agent import desires as module
from podway.agent.cluster import Cluster
from podway.agent.desires import Desires
from podway.agent.endpoints import Endpoints
from podway.agent.ledger import Ledger
from podway.agent.place import place_of
from podway.agent.programs import Programs
from podway.agent.settings import Settings
from podway.compute.node import Place
from podway.diff.tracker import Tracker
from podway.kernel.logs import get_log
from podway.model.instances import BRIDGE_NAME
from podway.model.kernel import link_key
from podway.store.protocol import Snapshot
from unit.agent.values import endpoint, network, node
from unit.compute.clusters import UPLINK

PEERS = [node(f"p{n}", f"10.244.{n}.0/24", f"192.0.2.{n}") for n in range(2, 30)]
SETTINGS = Settings(node="a", store="unix:/none")


class Bench:
    """Desires, and the names of what they compute."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger = Ledger(directory / "agent.db")
        self.tracker, self.cluster, self.endpoints = Tracker(), Cluster(), Endpoints()
        self.desires = Desires("a", self.tracker, Programs(self.ledger, get_log("test")))
        self.computed: list[str] = []
        for name in ("compute_peer", "compute_endpoint"):
            self._note(monkeypatch, name)

    def _note(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        compute = getattr(module, name)

        def noting(place: Place, item: object) -> object:
            self.computed.append(name)
            return compute(place, item)

        monkeypatch.setattr(module, name, noting)

    def refresh(self, place: Place) -> list[str]:
        self.computed.clear()
        self.desires.refresh(place, self.cluster, self.endpoints)
        return self.computed


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path, monkeypatch)
    made.cluster.hear(Snapshot(revision=1, network=network("routed"), nodes=tuple(PEERS)))
    made.endpoints.put(endpoint("c1", "10.244.1.2", attach="routed"), "4:1")
    yield made
    made.ledger.close()


def test_the_first_bridged_pod_is_no_matter_of_peers(bench: Bench) -> None:
    """Nor is the last one: of the whole cluster only the node's own part is computed."""
    place = place_of(SETTINGS, network("routed"), node("a"), UPLINK, bridged=False)
    assert len(bench.refresh(place)) == len(PEERS) + 1
    assert bench.refresh(place) == []
    for other in (replace(place, bridge=True), replace(place, bridge=True, bridge_mtu=1300), place):
        assert bench.refresh(other) == []
        assert bench.desires.place == other
        assert (bench.tracker.desired(link_key(BRIDGE_NAME)) is not None) == other.bridge


def test_all_follow_the_node_when_it_stands_elsewhere(bench: Bench) -> None:
    place = place_of(SETTINGS, network("routed"), node("a"), UPLINK, bridged=False)
    bench.refresh(place)
    moved = replace(UPLINK, addresses=(*UPLINK.addresses, ip_interface("192.0.2.77/24")))
    for other in (
        replace(place, network=replace(network("routed"), masquerade=False)),
        replace(place, me=node("a", "10.244.77.0/24")),
        replace(place, uplink=moved),
    ):
        assert len(bench.refresh(other)) == len(PEERS) + 1
