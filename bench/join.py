"""A node joins a lab of three: how long until every node reaches a pod on it?

The clock runs from the start of the new node's agent. The pod's namespace is there already; its ADD
is made as soon as the agent answers, and every other node's pod asks until it gets an answer.
"""

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

from bench.cluster import Cluster, cluster
from bench.namespaces import inside, namespace, process
from bench.report import Row, Times, at_most
from podway.store.access import StoreAccess
from podway.store.engines import open_store

SECTION = "Join"
ROUNDS = 30
_NODE = "n4"
_LIMIT_S = 20.0


def run() -> list[Row]:
    """Measure; return the rows."""
    with cluster("--nodes", "4", "--backend", "vxlan") as lab:
        lab.podway("pod", "add", "--count", "3")
        lab.podway("fault", "kill-agent", _NODE)
        times = Times([_join(lab) for _ in range(ROUNDS)])
    note = f"{times}, {ROUNDS} joins, from the start of the agent's process"
    what = "new node, until every node reaches its pod, p99"
    return [at_most(SECTION, what, times.p99 * 1e3, 300, "ms", note)]


def _join(lab: Cluster) -> float:
    """Join node n4 as if it were new; return the seconds until all others reach its pod."""
    _forget(lab)
    with namespace("benchjoin") as pod:
        started = time.perf_counter()
        with process(_agent_command(lab), netns=lab.node_netns(_NODE)):
            address = _attach(lab, pod)
            watchers = [
                Thread(target=_reach, args=(lab.pod_netns(f"p{number}"), address))
                for number in (1, 2, 3)
            ]
            for watcher in watchers:
                watcher.start()
            for watcher in watchers:
                watcher.join()
            return time.perf_counter() - started


def _agent_command(lab: Cluster) -> list[str]:
    """Return the agent's command line as the lab starts it, read from a node that runs."""
    words = Path(f"/proc/{lab.agent_pid('n1')}/cmdline").read_bytes().decode().split("\0")[:-1]
    shown = [word.replace("/n1/", f"/{_NODE}/") for word in words]
    public = _public_address(lab)
    options = {"--node": _NODE, "--public-ip": public}
    return [
        f"{name}={options[name]}" if (name := word.split("=")[0]) in options else word
        for word in shown
    ]


def _public_address(lab: Cluster) -> str:
    text = subprocess.run(
        ["ip", "-n", lab.node_netns(_NODE), "-j", "-4", "address", "show", "dev", "eth0"],
        capture_output=True,
        check=True,
    ).stdout
    return str(json.loads(text)[0]["addr_info"][0]["local"])


def _forget(lab: Cluster) -> None:
    """Make node n4 a stranger: no lease, no state, nothing in its kernel."""
    url = next(word for word in _agent_command(lab) if word.startswith("--store=")).split("=")[1]
    inside(lab.node_netns("n1"), lambda: asyncio.run(_release(url)))
    time.sleep(0.2)
    directory = lab.node_dir(_NODE)
    for path in (directory / "state").glob("*"):
        path.unlink()
    netns = lab.node_netns(_NODE)
    for dev in ("podway.1", "cni0"):
        subprocess.run(["ip", "-n", netns, "link", "del", dev], capture_output=True, check=False)


async def _release(url: str) -> None:
    store = open_store(url, StoreAccess(plaintext=True))
    try:
        await store.release(_NODE)
    finally:
        await store.close()


def _attach(lab: Cluster, pod: str) -> str:
    """Call the plugin's ADD for *pod* until the agent serves it; return the pod's address."""
    agent_socket = lab.node_dir(_NODE) / "run" / "cni.sock"
    config = {
        "cniVersion": "1.0.0",
        "name": "podway",
        "type": "podway",
        "agentSocket": str(agent_socket),
    }
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": pod,
        "CNI_NETNS": f"/run/netns/{pod}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(Path(lab.plugin).parent),
        "PATH": os.environ["PATH"],
    }
    deadline = time.perf_counter() + _LIMIT_S
    while True:
        done = subprocess.run(
            [lab.plugin],
            env=environment,
            input=json.dumps(config).encode(),
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            return str(json.loads(done.stdout)["ips"][0]["address"].split("/")[0])
        if time.perf_counter() > deadline:
            raise RuntimeError(done.stdout.decode())


def _reach(netns: str, address: str) -> None:
    """Ask *address* by ICMP from *netns* until it answers."""
    echo = struct.pack("!BBHHH", 8, 0, 0xF7FF, 0, 0)
    with inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)) as probe:
        probe.settimeout(0.005)
        deadline = time.perf_counter() + _LIMIT_S
        while time.perf_counter() < deadline:
            try:
                probe.sendto(echo, (address, 0))
                while True:
                    data, (sender, _) = probe.recvfrom(1500)
                    if sender == address and data[20] == 0:
                        return
            except (TimeoutError, OSError):
                continue
    sys.exit(f"{address} does not answer {netns}")
