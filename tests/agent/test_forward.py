"""A FORWARD of iptables that drops: pods reach each other in spite of it, over the real kernel."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agent.real_nodes import HTTP, RealNode, pods, real_cluster, wait_until
from netns.conftest import Netns

pytestmark = pytest.mark.root

DUAL: dict[str, Any] = {
    "Network": "10.9.0.0/16",
    "EnableIPv6": True,
    "IPv6Network": "fd00:9::/48",
    "Backend": {"Type": "host-gw"},
}
DROPS = "forwarded packets may be dropped"


def deny(node: RealNode, suffix: str = "") -> None:
    """Do what Docker does."""
    for program in ("iptables", "ip6tables"):
        node.netns.exec(f"{program}{suffix}", "-P", "FORWARD", "DROP")


KNOCK = """
import socket, sys
try: socket.create_connection((sys.argv[1], 9), timeout=float(sys.argv[2])).close()
except ConnectionRefusedError: sys.exit(0)
except OSError: sys.exit(1)
"""


def reaches(pod: Netns, address: str, timeout_s: float = 1.0) -> bool:
    """Tell whether a pod answers (that it has no such service)."""
    words = [sys.executable, "-I", "-c", KNOCK, address.partition("/")[0], str(timeout_s)]
    argv = ["nsenter", f"--net={pod.path}", *words]
    return subprocess.run(argv, check=False).returncode == 0


def chains(node: RealNode) -> set[str]:
    """Return the families in whose FORWARD podway's chain is reached."""
    listed = {
        program: node.netns.exec(program, "-S").splitlines()
        for program in ("iptables", "ip6tables")
    }
    return {
        program
        for program, lines in listed.items()
        if any(line.startswith("-A FORWARD") and line.endswith("PODWAY-FWD") for line in lines)
        and sum(line.startswith("-A PODWAY-FWD") for line in lines) == 2
    }


@contextmanager
def ready_node(*options: str) -> Iterator[RealNode]:
    with real_cluster(DUAL) as (_, (node,)):
        deny(node)
        node.start(*options)
        node.ready()
        yield node


def test_pods_reach_each_other_although_forward_drops() -> None:
    with real_cluster(DUAL, "ab") as (_, nodes), pods(2) as made:
        deny(nodes[0])
        for node in nodes:
            node.start()
        for node in nodes:
            node.ready()
        addresses: list[str] = []
        for node, pod in zip(nodes, made, strict=True):
            addresses += node.cni("ADD", "c", pod).addresses
        wait_until(lambda: len(nodes[0].status()["peers"]) == 1)
        for node in nodes:
            node.calm()
        assert chains(nodes[0]) == {"iptables", "ip6tables"}
        wait_until(lambda: all(reaches(made[0], address) for address in addresses[2:]))
        assert all(reaches(made[1], address) for address in addresses[:2])
        # It is the chain that does it.
        assert nodes[0].signal(signal.SIGTERM) == 0
        nodes[0].netns.exec("iptables", "-F", "FORWARD")
        assert not reaches(made[0], addresses[2], 0.3)
        # Docker comes when the agent is there already.
        assert chains(nodes[1]) == set()
        deny(nodes[1])
        wait_until(lambda: len(chains(nodes[1])) == 2)
        nodes[0].start()
        wait_until(lambda: reaches(made[0], addresses[2]))


@pytest.mark.parametrize(
    "damage",
    [
        "iptables -F",
        "iptables -F FORWARD",
        "iptables -D FORWARD 1",
        "iptables -F PODWAY-FWD",
        "echo '*filter\n:FORWARD DROP\nCOMMIT' | iptables-restore",
        "nft flush ruleset; iptables -P FORWARD DROP; ip6tables -P FORWARD DROP",
    ],
)
def test_what_somebody_removes_is_put_back(guarded: RealNode, damage: str) -> None:
    wait_until(lambda: len(chains(guarded)) == 2)
    count = guarded.log.count("chain in FORWARD written")
    guarded.netns.exec("sh", "-c", damage)
    wait_until(lambda: len(chains(guarded)) == 2, lambda: guarded.log)
    wait_until(lambda: guarded.log.count("chain in FORWARD written") > count)


@pytest.fixture(scope="module")
def guarded() -> Iterator[RealNode]:
    with ready_node() as node:
        assert chains(node) == {"iptables", "ip6tables"}
        yield node


def test_an_operator_may_forbid_it() -> None:
    with ready_node("--no-forward-rules") as node:
        assert chains(node) == set()
        assert "hook forward" not in node.netns.exec("nft", "list", "table", "inet", "podway")
        node.signal(signal.SIGTERM)
        node.start()
        node.ready()
        assert len(chains(node)) == 2
        node.signal(signal.SIGTERM)
        node.start("--no-forward-rules")
        node.ready()
        assert chains(node) == set()
        assert "PODWAY" not in node.netns.exec("iptables", "-S")


def test_instances_keep_each_its_own_and_uninstall_takes_one(tmp_path: Any) -> None:
    del tmp_path
    with real_cluster(DUAL) as (_, (node,)):
        deny(node)
        node.start("--instance", "blue")
        node.ready()
        node.kill()
        node.start()
        node.ready()
        listing = node.netns.exec("iptables", "-S", "FORWARD")
        assert listing.count("PODWAY-FWD") == listing.count("PODWAY-BLUE-FWD") == 1
        node.kill()
        verify = uninstall(node, "--verify")
        assert verify[0] == 1
        assert {"chain ip filter PODWAY-FWD", "chain ip6 filter PODWAY-FWD"} <= set(
            verify[1]["left"]
        )
        code, answer = uninstall(node)
        assert (code, answer["left"]) == (0, [])
        assert "chain ip filter PODWAY-FWD" in answer["removed"]
        listing = node.netns.exec("iptables", "-S")
        assert "PODWAY-FWD" not in listing
        assert "-j PODWAY-BLUE-FWD" in listing
        assert uninstall(node, "--instance", "blue")[0] == 0
        assert "PODWAY" not in node.netns.exec("iptables", "-S")


def uninstall(node: RealNode, *options: str) -> tuple[int, dict[str, list[str]]]:
    command = [sys.executable, "-P", "-m", "podway.cli", "uninstall", "--json"]
    command += ["--run-dir=/nonexistent", "--state-dir=/nonexistent", *options]
    done = subprocess.run(
        ["nsenter", f"--net={node.netns.path}", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_what_cannot_be_helped_is_told_once() -> None:
    with real_cluster(DUAL) as (_, (node,)):
        deny(node, "-legacy")
        node.start("--resync", "0.05")
        node.ready()
        wait_until(lambda: "iptables-legacy: chain FORWARD drops" in node.status()["forward"])
        assert "ip6tables-legacy" in node.status()["forward"]
        assert "packets may be dropped: iptables-legacy" in shown(node)
        assert node.log.count(DROPS) == 1
        for program in ("iptables-legacy", "ip6tables-legacy"):
            node.netns.exec(program, "-P", "FORWARD", "ACCEPT")
        wait_until(lambda: node.status()["forward"] == "")


def test_chains_of_others_that_drop_are_named_and_make_no_node_unready() -> None:
    def drops() -> list[str]:
        return list(node.status()["forward_drops"])

    chain = "add chain inet fw f { type filter hook forward priority 0; policy drop; }"
    with real_cluster(DUAL) as (_, (node,)):
        node.netns.exec("nft", f"add table inet fw; {chain}")
        node.start("--http", HTTP)
        node.ready()
        wait_until(lambda: drops() == ["inet fw f"])
        assert node.status()["ready"]
        assert "podway_forward_drops 1.0" in node.http("/metrics")[1]
        assert "chain inet fw f drops" in shown(node)
        node.netns.exec("nft", "delete chain inet fw f")
        wait_until(lambda: drops() == [])
        assert "drops" not in shown(node)
        node.netns.exec("nft", chain)
        wait_until(lambda: drops() == ["inet fw f"])
        assert node.log.count("others drop what is forwarded") == 2


def shown(node: RealNode) -> str:
    argv = [sys.executable, "-P", "-m", "podway.cli", "status", "--socket"]
    return node.netns.exec(*argv, str(node.directory / "agent.sock"))
