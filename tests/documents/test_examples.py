"""Every network in ``examples/net-conf`` carries packets between pods of two nodes."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from agent.real_nodes import RealNode, pods, real_cluster, wait_until
from documents.pages import ROOT, read_page
from netns.conftest import Netns

NETWORKS = sorted((ROOT / "examples" / "net-conf").glob("*.json"))
# WireGuard begins with a handshake, which is tried again after 5 s.
_PATIENCE_S = 15
_KNOCK = """
import socket, sys
try: socket.create_connection((sys.argv[1], 9), timeout=float(sys.argv[2])).close()
except ConnectionRefusedError: sys.exit(0)
except OSError: sys.exit(1)
"""


def answers(address: str, to: Netns) -> bool:
    """Tell whether *address* answers the pod *to*: that it has no such service."""
    knock = [sys.executable, "-I", "-c", _KNOCK, address, str(_PATIENCE_S)]
    return subprocess.run(["nsenter", f"--net={to.path}", *knock], check=False).returncode == 0


def has_peer(node: RealNode) -> bool:
    return any(peer["state"] == "programmed" for peer in node.status().get("peers", ()))


@pytest.mark.root
@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in NETWORKS])
def test_pods_of_two_nodes_reach_each_other(path: Path) -> None:
    with real_cluster(json.loads(path.read_text()), "ab") as (_, nodes), pods(2) as made:
        addresses: list[list[str]] = []
        for node in nodes:
            node.start()
        for node, pod in zip(nodes, made, strict=True):
            node.ready()
            wait_until(partial(has_peer, node), node.status)
            added = node.cni("ADD", "c", pod).addresses
            addresses.append([each.partition("/")[0] for each in added])
        assert all(answers(address, made[0]) for address in addresses[1])
        assert all(answers(address, made[1]) for address in addresses[0])


def test_every_example_is_told() -> None:
    text = read_page("examples/README.md").text
    files = [path for path in (ROOT / "examples").rglob("*.*") if path.suffix != ".md"]
    assert [path for path in files if f"({path.relative_to(ROOT / 'examples')})" not in text] == []
