"""``podway uninstall`` takes away what each backend made: devices, processes, commands' routes."""

import subprocess
from collections.abc import Callable, Mapping

import pytest

from lab.probes import DUAL, PODWAY, eventually
from podway.lab import faults
from podway.lab.names import agent_socket, namespace_of
from podway.lab.namespaces import inode_of
from podway.lab.processes import processes_in
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec

DEVICES: Mapping[str, set[str]] = {
    "vxlan": {"podway.1", "podway-v6.1"},
    "udp": {"podway0"},
    "wireguard": {"podway-wg", "podway-wg-v6"},
    "extension": set(),
}


@pytest.mark.parametrize("backend", DEVICES)
def test_nothing_is_left(make_lab: Callable[..., LabSpec], backend: str) -> None:
    spec = make_lab(backend=backend, families=DUAL)
    add_pods(spec, ["p1"], "n1")
    netns = namespace_of(spec.name, "n1")
    faults.kill_agent(spec, "n1")
    assert devices(netns) >= DEVICES[backend] | {"cni0"}
    # Routes of the backend extension have no mark of podway's: its commands take them away.
    assert backend in {"udp", "wireguard"} or "10.244.2.0/24" in routes(netns)
    assert uninstall(spec, "--verify") == 1
    assert uninstall(spec) == 1, "a pod is attached"
    assert uninstall(spec, "--pods") == 0
    assert uninstall(spec, "--verify") == 0
    assert devices(netns) == {"lo", "eth0"}
    eventually("no process is left", lambda: not processes_in({inode_of(netns)}))
    assert not agent_socket(spec.name, "n1").parent.exists()
    assert "10.244." not in routes(netns)
    assert run(netns, "nft", "list", "tables").stdout == ""


def uninstall(spec: LabSpec, *options: str) -> int:
    run_dir = agent_socket(spec.name, "n1").parent
    places = (f"--run-dir={run_dir}", f"--state-dir={run_dir.parent / 'state'}")
    return run(namespace_of(spec.name, "n1"), *PODWAY, "uninstall", *places, *options).returncode


def routes(netns: str) -> str:
    return run(netns, "ip", "route", "show").stdout


def devices(netns: str) -> set[str]:
    lines = run(netns, "ip", "-brief", "link").stdout.splitlines()
    return {line.split()[0].partition("@")[0] for line in lines}


def run(netns: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = ["ip", "netns", "exec", netns, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
