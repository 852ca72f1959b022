"""A cluster as flannel leaves it: nodes on an underlay, and a real etcd with their keys."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from agent.real_nodes import wait_until
from migration.flannel_nodes import NETWORK, PREFIX, STORE, FlannelNode
from netns.conftest import Netns, new_netns


class Etcd:
    """A real etcd in the underlay's namespace."""

    def __init__(self, netns: Netns, directory: Path) -> None:
        self._netns = netns
        url = f"http://{STORE}:2379"
        peers = f"http://{STORE}:2380"
        with (directory / "etcd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", netns.name, "etcd", "--name", "m0"),
                    *("--data-dir", str(directory / "etcd"), "--listen-client-urls", url),
                    *("--advertise-client-urls", url, "--listen-peer-urls", peers),
                    *("--initial-advertise-peer-urls", peers, "--initial-cluster", f"m0={peers}"),
                    *("--logger", "zap", "--log-level", "error"),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_until(lambda: self._ctl("get", "x").returncode == 0)

    def _ctl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [
                *("nsenter", f"--net={self._netns.path}"),
                *("etcdctl", f"--endpoints=http://{STORE}:2379", *words),
            ],
            env={**os.environ, "ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            check=False,
        )

    def put(self, key: str, value: str) -> None:
        assert self._ctl("put", "--", key, value).returncode == 0

    def get(self, key: str) -> str:
        return self._ctl("get", "--print-value-only", key).stdout.strip()

    def keys(self) -> list[str]:
        return self._ctl("get", "--prefix", "--keys-only", f"{PREFIX}/subnets/").stdout.split()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def flannel_cluster(
    count: int, backend: dict[str, Any], chains: str = "iptables"
) -> Iterator[tuple[Etcd, list[FlannelNode]]]:
    """Yield an etcd and *count* nodes on which a flanneld was stopped a moment ago."""
    quick = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with ExitStack() as undo:
        directory = Path(tempfile.mkdtemp(prefix="podway-flannel-", dir=quick))
        undo.callback(shutil.rmtree, directory)
        underlay = undo.enter_context(new_netns())
        underlay.ip("link", "add", "br0", "type", "bridge")
        underlay.ip("address", "add", f"{STORE}/24", "dev", "br0")
        underlay.ip("link", "set", "br0", "up")
        etcd = Etcd(underlay, directory)
        undo.callback(etcd.end)
        etcd.put(f"{PREFIX}/config", json.dumps({"Network": NETWORK, "Backend": backend}))
        nodes = []
        for number in range(1, count + 1):
            netns = undo.enter_context(new_netns())
            pod = undo.enter_context(new_netns())
            netns.ip(
                *("link", "add", "eth0", "type", "veth"),
                *("peer", f"u{number}", "netns", underlay.name),
            )
            underlay.ip("link", "set", f"u{number}", "up", "master", "br0")
            netns.ip("address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            netns.ip("link", "set", "eth0", "up")
            (directory / f"n{number}").mkdir()
            node = FlannelNode(number, netns, pod, directory / f"n{number}")
            undo.callback(node.kill)
            nodes.append(node)
        for node in nodes:
            _make(node, nodes, str(backend["Type"]), chains)
            etcd.put(node.key, node.value(str(backend["Type"])))
        yield etcd, nodes


def _make(node: FlannelNode, nodes: list[FlannelNode], backend: str, chains: str) -> None:
    if backend == "vxlan":
        node.make_vtep()
    for other in nodes:
        if other is not node:
            (node.add_vxlan_peer if backend == "vxlan" else node.add_route)(other.number)
    node.make_pod()
    node.add_chains(chains)
    node.write_subnet_env()
