"""Two clusters on one network, and others who have what a cluster wants: nothing mixes unseen."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from lab.probes import DUAL, PODWAY, eventually
from lab.transfers import AMOUNT_BYTES, seen_as, transfer
from podway.lab import faults
from podway.lab.members import pod_stations
from podway.lab.names import HUB, hub_socket, lab_dir, namespace_of
from podway.lab.ping import Station, ping_all
from podway.lab.programs import Process
from podway.lab.progress import silent
from podway.lab.readiness import start_ready
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec
from podway.lab.statuses import read_statuses
from podway.lab.topology import plan_agent, plan_network
from podway.model.addresses import Family

SECOND_URL = "tcp:172.30.0.2:7473"


def start_second_cluster(spec: LabSpec, nodes: list[int], vni: int) -> None:
    """Take *nodes* out of the lab's cluster, and make one of their own with the same prefixes."""
    directory = lab_dir(spec.name) / "second"
    directory.mkdir()
    document = {**plan_network(spec), "Backend": {"Type": "vxlan", "VNI": vni}}
    (directory / "net-conf.json").write_text(json.dumps(document))
    hub = Process(
        member=HUB,
        role="hub2",
        namespace=namespace_of(spec.name, HUB),
        arguments=(
            *("hub", "--plaintext", f"--listen={SECOND_URL}"),
            f"--data-dir={directory / 'data'}",
            f"--net-conf={directory / 'net-conf.json'}",
        ),
        directory=directory,
    )
    start_ready([hub], silent)
    for number in nodes:
        move_node(spec, number)


def move_node(spec: LabSpec, number: int) -> None:
    agent = plan_agent(spec, number)
    faults.kill_agent(spec, agent.member)
    for path in Path(agent.directory / "state").iterdir():
        path.unlink()
    store = f"unix:{hub_socket(spec.name)}"
    for verb in ("remove", "unreserve"):
        command = [*PODWAY, "node", verb, agent.member, "--store", store]
        subprocess.run(command, check=True, capture_output=True)
    told = (
        f"--store={SECOND_URL}" if each.startswith("--store=") else each for each in agent.arguments
    )
    start_ready([replace(agent, arguments=tuple(told))], silent)


def peers(spec: LabSpec, node: str) -> list[str]:
    return [peer["name"] for peer in read_statuses(spec)[0][node]["peers"]]


@pytest.mark.parametrize("vni", [1, 2], ids=["the same VNI", "another VNI"])
def test_two_clusters_do_not_mix(make_lab: Callable[..., LabSpec], vni: int) -> None:
    """They have the same prefixes, subnets and pods' addresses, and may have the same VNI."""
    spec = make_lab(nodes=(1, 2, 3, 4), families=DUAL)
    start_second_cluster(spec, [3, 4], vni)
    eventually("each knows its own", lambda: peers(spec, "n1") == ["n2"])
    eventually("each knows its own", lambda: peers(spec, "n3") == ["n4"])
    one, two, three, four = (
        station
        for number in (1, 2, 3, 4)
        for station in pod_stations(spec, add_pods(spec, [f"p{number}"], f"n{number}"))
    )
    assert (one.addresses, two.addresses) == (three.addresses, four.addresses)
    for source, target in ((one, two), (two, one), (three, four), (four, three)):
        expect_each_other(source, target)


def expect_each_other(source: Station, target: Station) -> None:
    """Only a socket in *target* itself can have got what *source* sends."""
    for mine, theirs in zip(source.addresses, target.addresses, strict=True):
        assert [each for each in ping_all([source], [target]) if each.rtt_ms is None] == []
        assert seen_as(source, target, theirs) == mine
        assert transfer(source, target, theirs) == AMOUNT_BYTES


def test_somebody_else_on_the_node_has_the_vni(make_lab: Callable[..., LabSpec]) -> None:
    """It is said which, and as soon as the other one is gone all is well without a hand."""
    spec = make_lab(families=(Family.IPV4,))
    inside = ["ip", "-n", namespace_of(spec.name, "n1"), "link"]
    other = ["flannel.7", "type", "vxlan", "id", "7", "dstport", "8472", "dev", "eth0"]
    subprocess.run([*inside, "add", *other], check=True)
    document = {**plan_network(spec), "Backend": {"Type": "vxlan", "VNI": 7}}
    command = [*PODWAY, "network", "apply", "-", "--store", f"unix:{hub_socket(spec.name)}"]
    subprocess.run(command, input=json.dumps(document), text=True, check=True, capture_output=True)

    def reasons() -> str:
        return "; ".join(read_statuses(spec)[0]["n1"]["ready_reasons"])

    eventually("the node says so", lambda: "VNI already exists" in reasons())
    assert "podway.7" in reasons()
    subprocess.run([*inside, "delete", "flannel.7"], check=True)
    eventually("the node is ready", lambda: read_statuses(spec)[0]["n1"]["ready"])
    add_pods(spec, ["p1", "p2"])
