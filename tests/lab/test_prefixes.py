"""The network of a running cluster is changed: further prefixes, one that drains, other tunnels."""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from lab.probes import DUAL, PODWAY, eventually, unanswered
from lab.transfers import seen_as
from podway.lab.members import hub_station, pod_stations
from podway.lab.names import hub_socket, namespace_of
from podway.lab.runtime import add_pods, remove_pods
from podway.lab.specs import LabSpec
from podway.lab.state import read_pods
from podway.lab.statuses import read_statuses
from podway.lab.topology import plan_network

NEW = {4: "10.99.", 6: "fd00:99:"}


@pytest.fixture(params=["vxlan", "host-gw", "udp", "wireguard"])
def lab(request: pytest.FixtureRequest, make_lab: Callable[..., LabSpec]) -> LabSpec:
    """Give a lab with a pod on n1 and none on n2, whose nodes have no reservations."""
    spec = make_lab(backend=request.param, families=DUAL)
    for node in ("n1", "n2"):
        podway(spec, "node", "unreserve", node)
    add_pods(spec, ["p1"], "n1")
    return spec


def podway(spec: LabSpec, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    command = [*PODWAY, *words, "--store", f"unix:{hub_socket(spec.name)}"]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


def apply(spec: LabSpec, **fields: Any) -> "subprocess.CompletedProcess[str]":
    """Apply the lab's own network with *fields* in place of its own."""
    document = {**plan_network(spec), **fields}
    return podway(spec, "network", "apply", "-", stdin=json.dumps(document))


def subnets(spec: LabSpec, node: str) -> list[str]:
    return list(read_statuses(spec)[0][node]["subnets"])


def is_settled(spec: LabSpec) -> bool:
    statuses, away = read_statuses(spec)
    return not away and all(
        status["ready"] and all(peer["state"] == "programmed" for peer in status["peers"])
        for status in statuses.values()
    )


FURTHER = {
    "Network": "10.99.0.0/16",
    "IPv6Network": "fd00:99::/48",
    "Networks": [
        {"Network": "10.244.0.0/16", "Drain": True},
        {"Network": "fd00:10:244::/48", "Drain": True},
    ],
}


def test_a_cluster_moves_from_one_prefix_to_another(lab: LabSpec) -> None:
    """Node by node, as pods end; all the while every pod reaches every other as itself."""
    before = subnets(lab, "n1")
    applied = apply(lab, **FURTHER)
    assert applied.returncode == 0, applied.stderr
    eventually("n2 moves", lambda: all(moved(lab, "n2")))
    assert subnets(lab, "n1") == before
    add_pods(lab, ["p2"], "n2")
    eventually("all is programmed", lambda: is_settled(lab))
    eventually("pods answer", lambda: unanswered(lab, hub_station(lab)) == [])
    one, two = pod_stations(lab, read_pods(lab.name))
    for source, target in ((one, two), (two, one)):
        for mine, theirs in zip(source.addresses, target.addresses, strict=True):
            assert seen_as(source, target, theirs) == mine, "nobody translates on the way"
    shown = json.loads(podway(lab, "network", "show", "--json").stdout)
    held = {use["network"]: list(use["leased"]) for use in shown["use"]}
    assert held["10.244.0.0/16"] == held["fd00:10:244::/48"] == ["n1"]
    assert held["10.99.0.0/16"] == ["n2"]
    refused = apply(lab, **{**FURTHER, "Networks": []})
    assert refused.returncode == 1
    assert "n1" in refused.stderr
    remove_pods(lab, [pod for pod in read_pods(lab.name) if pod.node == "n1"])
    eventually("n1 moves", lambda: all(moved(lab, "n1")))
    assert apply(lab, **{**FURTHER, "Networks": []}).returncode == 0
    add_pods(lab, ["p3"], "n1")
    eventually("all is programmed", lambda: is_settled(lab))
    eventually("pods answer", lambda: unanswered(lab, hub_station(lab)) == [])
    assert "10.244." not in everything_of(lab, "n1") + everything_of(lab, "n2")


def moved(spec: LabSpec, node: str) -> list[bool]:
    return [each.startswith(tuple(NEW.values())) for each in subnets(spec, node)]


def everything_of(spec: LabSpec, node: str) -> str:
    """Return addresses, routes and rules of *node*."""
    inside = ["ip", "netns", "exec", namespace_of(spec.name, node)]
    commands = (["ip", "addr"], ["ip", "route"], ["nft", "list", "ruleset"])
    return "".join(
        subprocess.run([*inside, *command], capture_output=True, text=True, check=True).stdout
        for command in commands
    )


@pytest.mark.parametrize(
    ("backend", "changes"),
    [
        pytest.param("vxlan", {"VNI": 7, "Port": 8473, "MTU": 1400}, id="vxlan"),
        pytest.param("udp", {"Port": 8286, "MTU": 1400}, id="udp"),
        pytest.param("wireguard", {"ListenPort": 51999, "MTU": 1400}, id="wireguard"),
    ],
)
def test_tunnel_settings_of_a_running_cluster(
    make_lab: Callable[..., LabSpec], backend: str, changes: dict[str, Any]
) -> None:
    spec = make_lab(backend=backend, families=DUAL)
    add_pods(spec, ["p1", "p2"])
    eventually("pods answer", lambda: unanswered(spec, hub_station(spec)) == [])
    before = read_statuses(spec)[0]["n1"]["mtu"]
    assert apply(spec, Backend={**plan_network(spec)["Backend"], **changes}).returncode == 0
    narrower = {family: mtu - 100 for family, mtu in before.items()}
    nodes = ("n1", "n2")
    eventually(
        "the nodes follow",
        lambda: all(read_statuses(spec)[0][node]["mtu"] == narrower for node in nodes),
    )
    eventually("all is programmed", partial(is_settled, spec))
    eventually("pods answer", lambda: unanswered(spec, hub_station(spec)) == [])
    if backend == "vxlan":
        devices = subprocess.run(
            ["ip", "-n", namespace_of(spec.name, "n1"), "-j", "link", "show", "type", "vxlan"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        names = {item["ifname"] for item in json.loads(devices) if item}
        assert names == {"podway.7", "podway-v6.7"}
