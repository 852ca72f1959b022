"""``podway uninstall`` takes away what each backend made: devices, and processes behind them."""

import subprocess
from collections.abc import Callable, Mapping

import pytest

from lab.probes import PODWAY, eventually
from podway.lab import faults
from podway.lab.names import namespace_of
from podway.lab.namespaces import inode_of
from podway.lab.processes import processes_in
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec
from podway.model.addresses import Family

DUAL = (Family.IPV4, Family.IPV6)
DEVICES: Mapping[str, set[str]] = {
    "vxlan": {"podway.1", "podway-v6.1"},
    "udp": {"podway0"},
    "wireguard": {"podway-wg", "podway-wg-v6"},
}


@pytest.mark.parametrize("backend", DEVICES)
def test_nothing_is_left(make_lab: Callable[..., LabSpec], backend: str) -> None:
    spec = make_lab(backend=backend, families=DUAL)
    add_pods(spec, ["p1"], "n1")
    netns = namespace_of(spec.name, "n1")
    faults.kill_agent(spec, "n1")
    assert devices(netns) >= DEVICES[backend] | {"cni0"}
    assert uninstall(netns, "--verify") == 1
    assert uninstall(netns) == 1, "a pod is attached"
    assert uninstall(netns, "--pods") == 0
    assert uninstall(netns, "--verify") == 0
    assert devices(netns) == {"lo", "eth0"}
    eventually("no process is left", lambda: not processes_in({inode_of(netns)}))
    routes = run(netns, "ip", "route", "show", "proto", "112").stdout
    assert (routes, run(netns, "nft", "list", "tables").stdout) == ("", "")


def uninstall(netns: str, *options: str) -> int:
    return run(netns, *PODWAY, "uninstall", "--socket=/nonexistent", *options).returncode


def devices(netns: str) -> set[str]:
    lines = run(netns, "ip", "-brief", "link").stdout.splitlines()
    return {line.split()[0].partition("@")[0] for line in lines}


def run(netns: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = ["ip", "netns", "exec", netns, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
