"""One agent in a Kubernetes cluster of 1,000 synthetic nodes: its join, and all their heartbeats.

A real API server (of a lab) holds Nodes as large as a busy kubelet's, about 13 KiB each. The join's
clock runs from the start of the process to the last entry in the kernel; its requests are counted
by the API server. Heartbeats are what kubelets send every five minutes: conditions with new times.
"""

import http.client
import json
import os
import shutil
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cluster import Cluster, LabRefused, cluster
from bench.namespaces import inside, process
from bench.report import Row, Times, at_most
from bench.scale import wait_for_objects, wait_until
from podway.agent.calls import AgentAway, call_agent
from podway.model.addresses import derive_mac

SECTION = "Kubernetes: one agent among 1,000 nodes"
PEERS = 1000
JOINS = 5
# Of each Node: kubelet's default.
HEARTBEAT_S = 300.0
WATCHED_S = 30.0
NET_CONF = {"Network": "10.0.0.0/8", "SubnetLen": 24, "Backend": {"Type": "vxlan"}}
_PREFIX = "flannel.alpha.coreos.com"
Json = dict[str, Any]


def run() -> list[Row]:
    """Measure; return the rows."""
    try:
        with cluster("--nodes", "1", "--store", "kubernetes") as lab:
            return _measure(lab)
    except LabRefused as reason:
        return [Row(section=SECTION, what="not measured", value="-", note=str(reason))]


def _measure(lab: Cluster) -> list[Row]:
    command = agent_command(lab)
    lab.podway("fault", "kill-agent", "n1")
    (lab.node_dir("n1").parent / "net-conf.json").write_text(json.dumps(NET_CONF))
    api = Api(lab)
    size = 0
    for number in range(PEERS):
        size = len(json.dumps(api.ask("POST", "/api/v1/nodes", peer(number))))
    times = []
    for _ in range(JOINS):
        _forget(lab)
        before = api.requests()
        with joined(lab, command) as (_, seconds):
            made = api.requests() - before
        times.append(seconds)
    told = ", ".join(f"{count} {verb}" for verb, count in sorted(made.items()))
    joins = Times(times)
    rows = [
        at_most(
            SECTION,
            "join, from the start of the process to the last peer in the kernel, median",
            joins.median,
            1.0,
            "s",
            f"{joins}, {JOINS} joins",
        ),
        # The watch is counted when it ends.
        at_most(SECTION, "join: requests", sum(made.values()) + 1, 5, "", f"{told}, 1 WATCH"),
    ]
    with joined(lab, command) as (agent, _):
        idle = cpu_percent(agent.pid, lambda: time.sleep(WATCHED_S))
        note = f"{size / 1024:.0f} KiB each, {PEERS / HEARTBEAT_S:.1f} a second for {WATCHED_S:g} s"
        busy = cpu_percent(agent.pid, lambda: beat(api))
        rows.append(at_most(SECTION, "CPU with all nodes' heartbeats", busy, 0.5, "%", note))
        rows.append(Row(section=SECTION, what="CPU without", value=f"{idle:.3g} %"))
        resident = _resident_mib(agent.pid)
        rows.append(at_most(SECTION, "resident memory", resident, 70, "MiB"))
    return rows


@contextmanager
def joined(lab: Cluster, command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Start the agent; yield it once it is ready, and how long its peers took."""
    started = time.perf_counter()
    with process(command, netns=lab.node_netns("n1")) as agent:
        inside(lab.node_netns("n1"), lambda: wait_for_objects(PEERS))
        seconds = time.perf_counter() - started
        wait_until(lambda: _is_ready(lab))
        yield agent, seconds


def beat(api: "Api") -> None:
    """Send heartbeats of one node after the other, at the pace of a thousand."""
    began = time.perf_counter()
    count = int(WATCHED_S * PEERS / HEARTBEAT_S)
    for number in range(count):
        time.sleep(max(0.0, began + number * HEARTBEAT_S / PEERS - time.perf_counter()))
        api.heartbeat(f"peer{number}")


def cpu_percent(pid: int, work: Callable[[], None]) -> float:
    """Return the share of one core that the process took while *work* went on."""
    began, before = time.perf_counter(), _cpu_ns(pid)
    work()
    return (_cpu_ns(pid) - before) / 1e9 / (time.perf_counter() - began) * 100


def _cpu_ns(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _is_ready(lab: Cluster) -> bool:
    try:
        status = call_agent(lab.node_dir("n1") / "run" / "agent.sock", "status")
    except AgentAway:
        return False
    return bool(status["ready"])


def agent_command(lab: Cluster) -> list[str]:
    """Return the agent's command line as the lab starts it."""
    return Path(f"/proc/{lab.agent_pid('n1')}/cmdline").read_bytes().decode().split("\0")[:-1]


def _forget(lab: Cluster) -> None:
    """Make the node a stranger: no annotations, no state, nothing in its kernel."""
    shutil.rmtree(lab.node_dir("n1") / "state")
    (lab.node_dir("n1") / "state").mkdir()
    Api(lab).patch("n1", "", {"metadata": {"annotations": None}})
    for dev in ("podway.1", "cni0"):
        command = ["ip", "-n", lab.node_netns("n1"), "link", "del", dev]
        subprocess.run(command, capture_output=True, check=False)


class Api:
    """The lab's API server, asked as its administrator."""

    def __init__(self, lab: Cluster) -> None:
        config = json.loads((lab.node_dir("hub") / "admin.kubeconfig").read_text())
        self._netns = lab.node_netns("hub")
        self._cluster = config["clusters"][0]["cluster"]
        self._token = config["users"][0]["user"]["token"]
        self._connection: http.client.HTTPSConnection | None = None

    def ask(self, method: str, path: str, body: Json | None = None, *, patch: bool = False) -> Any:
        """Return the answer: JSON where it is that, else text."""
        kind = "application/strategic-merge-patch+json" if patch else "application/json"
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        connection = self._connected()
        connection.request(method, path, json.dumps(body) if body else None, headers)
        reply = connection.getresponse()
        text = reply.read().decode()
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path}: {reply.status} {text}")
        return json.loads(text) if text[:1] == "{" else text

    def patch(self, node: str, subresource: str, body: Json) -> None:
        """Patch a Node."""
        self.ask("PATCH", f"/api/v1/nodes/{node}{subresource}", body, patch=True)

    def heartbeat(self, node: str) -> None:
        """Do what a kubelet does when nothing has changed."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        times = [{"type": each, "lastHeartbeatTime": moment} for each in _CONDITIONS]
        self.patch(node, "/status", {"status": {"conditions": times}})

    def requests(self) -> Counter[str]:
        """Return the requests for nodes that were answered so far, by verb."""
        found: Counter[str] = Counter()
        for line in self.ask("GET", "/metrics").splitlines():
            if line.startswith("apiserver_request_total{") and 'resource="nodes"' in line:
                verb = line.split('verb="', 1)[1].split('"', 1)[0]
                found[verb] += int(float(line.rsplit(" ", 1)[1]))
        return found

    def _connected(self) -> http.client.HTTPSConnection:
        """Return a connection made in the hub's namespace, where it stays."""
        if self._connection is None:
            context = ssl.create_default_context(cafile=self._cluster["certificate-authority"])
            host = self._cluster["server"].removeprefix("https://")
            made = http.client.HTTPSConnection(host, context=context, timeout=30)
            inside(self._netns, made.connect)
            self._connection = made
        return self._connection


_CONDITIONS = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")


def peer(number: int) -> Json:
    """Return a Node as kubelet, kube-controller-manager and flanneld leave it."""
    name = f"peer{number}"
    cidr = f"10.{1 + number // 256}.{number % 256}.0/24"
    vtep = {"VNI": 1, "VtepMAC": derive_mac("vtep", name)}
    annotations = {
        f"{_PREFIX}/kube-subnet-manager": "true",
        f"{_PREFIX}/backend-type": "vxlan",
        f"{_PREFIX}/backend-data": json.dumps(vtep, separators=(",", ":")),
        f"{_PREFIX}/public-ip": f"198.18.{number // 256}.{number % 256}",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    }
    conditions = [
        {"type": each, "status": "False", "reason": f"KubeletHas{each}", "message": "as it should"}
        for each in _CONDITIONS
    ]
    images = [
        {
            "names": [
                f"registry.example.com/team-{index}/service@sha256:{index:064x}",
                f"registry.example.com/team-{index}/service:v1.{index}",
            ],
            "sizeBytes": 100_000_000 + index,
        }
        for index in range(50)
    ]
    return {
        "metadata": {
            "name": name,
            "annotations": annotations,
            "labels": {f"example.com/label-{index}": "value" for index in range(10)},
        },
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        "status": {
            "conditions": conditions,
            "images": images,
            "addresses": [{"type": "InternalIP", "address": f"198.18.{number // 256}.9"}],
            "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"},
        },
    }
