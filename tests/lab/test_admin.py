"""The operators' commands against a running agent and hub: each node's own, and the cluster's."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.probes import PODWAY, all_use, eventually
from podway.lab.names import agent_socket, hub_socket, namespace_of
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec
from podway.lab.statuses import read_statuses


@pytest.fixture
def lab(make_lab: Callable[..., LabSpec]) -> LabSpec:
    spec = make_lab()
    add_pods(spec, ["p1", "p2"])
    return spec


def podway(*words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*PODWAY, *words], input=stdin, capture_output=True, text=True, timeout=30, check=False
    )


def answer(*words: str) -> Any:
    done = podway(*words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def at_node(spec: LabSpec, node: str) -> tuple[str, str]:
    return "--socket", str(agent_socket(spec.name, node))


def at_hub(spec: LabSpec) -> tuple[str, str]:
    return "--store", f"unix:{hub_socket(spec.name)}"


def test_status(lab: LabSpec) -> None:
    shown = podway("status", *at_node(lab, "n1"))
    assert shown.returncode == 0
    assert shown.stdout.startswith("node n1 is ready\n")
    assert "n2    172.30.2.2" in shown.stdout
    assert answer("status", *at_node(lab, "n2"))["node"] == "n2"


def test_diff_of_a_node_in_order(lab: LabSpec) -> None:
    shown = podway("diff", *at_node(lab, "n1"))
    assert (shown.returncode, shown.stdout) == (0, "The kernel holds exactly what it should.\n")
    assert answer("diff", *at_node(lab, "n1")) == {"operations": []}


def test_ipam(lab: LabSpec) -> None:
    held = answer("ipam", "show", *at_node(lab, "n1"))["addresses"]
    assert [(each["address"], each["pod"]) for each in held] == [
        (str(first_address(lab)), f"{lab.name}/p1")
    ]
    assert answer("ipam", "check", *at_node(lab, "n1")) == {"problems": [], "checked": 1}
    assert str(first_address(lab)) in podway("ipam", "show", *at_node(lab, "n1")).stdout


def first_address(spec: LabSpec) -> str:
    subnet = next(each for each in read_statuses(spec)[0]["n1"]["subnets"])
    return str(subnet).replace(".0/24", ".2")


def test_an_address_of_a_pod_that_is_gone(lab: LabSpec) -> None:
    """The runtime lost the pod without DEL: check finds its address, release takes it back."""
    subprocess.run(["ip", "netns", "delete", namespace_of(lab.name, "p1")], check=True)
    address = first_address(lab)

    def found() -> bool:
        problems = json.loads(podway("ipam", "check", *at_node(lab, "n1"), "--json").stdout)
        return [each["address"] for each in problems["problems"]] == [address]

    eventually("check names the address", found)
    assert podway("ipam", "check", *at_node(lab, "n1")).returncode == 1
    assert podway("ipam", "release", address, *at_node(lab, "n1")).returncode == 0
    assert answer("ipam", "check", *at_node(lab, "n1"))["problems"] == []
    refused = podway("ipam", "release", "192.0.2.1", *at_node(lab, "n1"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("podway: ")


def test_nodes(lab: LabSpec) -> None:
    listed = answer("node", "list", *at_hub(lab))
    assert sorted(each["node"] for each in listed["nodes"]) == ["n1", "n2"]
    assert podway("node", "reserve", "n9", "10.244.77.0/24", *at_hub(lab)).returncode == 0
    assert {"node": "n9", "subnets": ["10.244.77.0/24"]} in kept(lab)
    assert podway("node", "unreserve", "n9", *at_hub(lab)).returncode == 0
    assert [each["node"] for each in kept(lab)] == ["n1", "n2"]
    missing = podway("node", "remove", "n9", *at_hub(lab))
    assert (missing.returncode, missing.stdout) == (1, "")
    taken = [each["leases"][0]["subnet"] for each in listed["nodes"]]
    assert podway("node", "reserve", "n9", taken[0], *at_hub(lab)).returncode == 1


def kept(spec: LabSpec) -> list[dict[str, Any]]:
    return list(answer("node", "list", *at_hub(spec))["reservations"])


def test_network(lab: LabSpec, tmp_path: Path) -> None:
    shown = answer("network", "show", *at_hub(lab))["network"]
    assert shown["Network"] == "10.244.0.0/16"
    changed = tmp_path / "net-conf.json"
    changed.write_text(json.dumps({**shown, "Masquerade": False}))
    assert podway("network", "check", str(changed)).returncode == 0
    applied = podway("network", "apply", str(changed), *at_hub(lab))
    assert applied.returncode == 0, applied.stderr
    assert "applied" in applied.stdout
    assert "unchanged" in podway("network", "apply", str(changed), *at_hub(lab)).stdout
    assert answer("network", "show", *at_hub(lab))["network"]["Masquerade"] is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param('{"Network": "10.244.0.0/33"}', "Network", id="wrong value"),
        pytest.param("{", "net-conf.json", id="no JSON"),
    ],
)
def test_a_network_that_cannot_be(lab: LabSpec, text: str, said: str) -> None:
    for words in (["check", "-"], ["apply", "-", *at_hub(lab)]):
        refused = podway("network", *words, stdin=text)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith(f"podway: {said}")


def test_a_network_that_would_break_leases(lab: LabSpec) -> None:
    other = '{"Network": "10.99.0.0/16", "Backend": {"Type": "vxlan"}}'
    refused = podway("network", "apply", "-", *at_hub(lab), stdin=other)
    assert refused.returncode == 1
    assert "10.244." in refused.stderr
    assert podway("network", "apply", "-", "--force", *at_hub(lab), stdin=other).returncode == 0


def test_the_lab_s_status_says_what_the_network_is_now(lab: LabSpec) -> None:
    shown = answer("network", "show", *at_hub(lab))["network"]
    other = json.dumps({**shown, "Backend": {"Type": "host-gw"}})
    applied = podway("network", "apply", "-", "--force", *at_hub(lab), stdin=other)
    assert applied.returncode == 0, applied.stderr
    eventually("all nodes use host-gw", lambda: all_use(lab, "host-gw"))
    assert answer("lab", "status", "--name", lab.name)["backend"] == "host-gw"
    head = podway("lab", "status", "--name", lab.name).stdout.splitlines()[0]
    assert ", host-gw, pods " in head
    kinds = {each["lab"]: each["kind"] for each in answer("lab", "list")["labs"]}
    assert ", host-gw, pods " in kinds[lab.name]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(1, ["node", "list", "--store", "unix:/nonexistent/hub.sock"], id="no hub"),
        pytest.param(2, ["node", "list", "--store", "http://x"], id="no such engine"),
        pytest.param(2, ["node", "list", "--store", "tcp:192.0.2.1:1"], id="TCP without TLS"),
        pytest.param(1, ["network", "check", "/nonexistent"], id="no file"),
        pytest.param(2, ["node", "reserve", "n1", "nonsense"], id="no prefix"),
    ],
)
def test_mistakes(code: int, words: list[str]) -> None:
    done = podway(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("podway: ")
    assert "Traceback" not in done.stderr


def test_cni_install(tmp_path: Path) -> None:
    binaries, configurations = tmp_path / "bin", tmp_path / "net.d"
    words = ["cni", "install", str(binaries), "--conf-dir", str(configurations), "--create"]
    made = answer(*words)["files"]
    assert {each["action"] for each in made} == {"created"}
    assert (binaries / "podway").stat().st_mode & 0o111
    assert json.loads((configurations / "10-podway.conflist").read_text())["name"] == "podway"
    assert {each["action"] for each in answer(*words)["files"]} == {"unchanged"}
