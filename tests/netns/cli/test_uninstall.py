"""``podway uninstall`` in a namespace that holds podway's objects and somebody else's."""

import json
import subprocess
import sys
from ipaddress import IPv4Interface, IPv4Network

import pytest

from netns.conftest import Netns
from podway.diff.operations import Operation, Verb
from podway.kernel.node import NodeKernel
from podway.model.kernel import Address, Bridge, KernelObject, Link, NftTable, Route

pytestmark = pytest.mark.root

OURS: tuple[KernelObject, ...] = (
    Link(name="cni0", kind=Bridge(), alias="podway:bridge"),
    Address("cni0", IPv4Interface("10.244.1.1/24")),
    Route(dst=IPv4Network("10.244.2.0/24"), kind="unreachable", metric=1),
    NftTable("inet", "podway", "chain forward {\n}\n"),
)


def put(netns: Netns, *objects: KernelObject) -> None:
    kernel = NodeKernel(netns.fd)
    try:
        operations = [Operation(Verb.CREATE, item.key, item) for item in objects]
        assert kernel.apply(operations) == [None] * len(operations)
    finally:
        kernel.close()


def uninstall(netns: Netns, *options: str) -> tuple[int, dict[str, list[str]]]:
    command = [sys.executable, "-P", "-m", "podway.cli", "uninstall", "--json"]
    command += ["--socket=/nonexistent/agent.sock", *options]
    done = subprocess.run(
        ["nsenter", f"--net={netns.path}", *command], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_verify_lists_what_is_left_and_touches_nothing(netns: Netns) -> None:
    put(netns, *OURS)
    for _ in range(2):
        code, answer = uninstall(netns, "--verify")
        assert code == 1
        assert answer["removed"] == []
        # The address goes with its device and is no step of its own.
        assert answer["left"] == ["nft inet podway", "route 2 254 10.244.2.0/24 1", "link cni0"]


def test_everything_of_ours_goes_and_nothing_else(netns: Netns) -> None:
    netns.ip("link", "add", "theirs", "type", "bridge")
    netns.ip("route", "add", "unreachable", "198.51.100.0/24", "metric", "7")
    netns.exec("nft", "add", "table", "inet", "theirs")
    put(netns, *OURS)
    code, answer = uninstall(netns)
    assert (code, answer["left"]) == (0, [])
    assert uninstall(netns, "--verify") == (0, {"removed": [], "left": []})
    assert "theirs" in netns.ip("link", "show")
    assert "cni0" not in netns.ip("link", "show")
    assert netns.ip("route", "show").split() == ["unreachable", "198.51.100.0/24", "metric", "7"]
    assert netns.exec("nft", "list", "tables").split() == ["table", "inet", "theirs"]


def test_a_node_that_serves_pods_is_left_alone_unless_told(netns: Netns) -> None:
    netns.ip("link", "add", "pw0123456789a", "type", "veth", "peer", "name", "pod")
    netns.ip("link", "set", "pw0123456789a", "alias", "podway:pod ns/p")
    command = [sys.executable, "-P", "-m", "podway.cli", "uninstall"]
    command += ["--socket=/nonexistent/agent.sock"]
    done = subprocess.run(
        ["nsenter", f"--net={netns.path}", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "drain the node" in done.stderr
    assert "pw0123456789a" in netns.ip("link", "show")
    assert uninstall(netns, "--pods")[0] == 0
    assert "pw0123456789a" not in netns.ip("link", "show")
