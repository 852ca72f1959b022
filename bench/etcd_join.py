"""A node joins a network in etcd: how many requests that takes, and how long until it knows all.

Nodes of flannel fill the store; etcd itself counts the requests that reach it. A joining flanneld
asks for the rest of each lease's time, one by one: 1 + N requests to list N nodes, twice.
"""

import asyncio
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.namespaces import inside, namespace, process
from bench.node import Node, make_uplink, resident_kib, wait_until_ready
from bench.report import Row, Times, at_most
from bench.scale import wait_for_objects, wait_until
from podway.agent.calls import call_agent
from podway.model.addresses import derive_mac
from podway.store.access import StoreAccess
from podway.store.etcd_messages import PutRequest, RequestOp, TxnRequest
from podway.store.etcd_open import open_etcd

SECTION = "etcd: one node joins"
ENDPOINT = "http://127.0.0.1:2379"
PREFIX = "/coreos.com/network"
FEW, MANY = 10, 1000
ROUNDS = 5
_NET_CONF = {"Network": "10.0.0.0/12", "SubnetLen": 24, "Backend": {"Type": "vxlan"}}
_PUTS_PER_TXN = 100


def run() -> list[Row]:
    """Measure; return the rows."""
    with joining(FEW) as here:
        few = count_join(here)
    with joining(MANY) as here:
        many = count_join(here)
        times = Times([time_join(here) for _ in range(ROUNDS)])
        with agent(here) as running:
            wait_until_ready(here)
            memory = resident_kib(running.pid) / 1024
    note = f"counted by etcd; {few} to join {FEW} nodes"
    what = f"requests to join {MANY:,} nodes"
    took = f"{times}, {ROUNDS} joins, from the start of the agent's process"
    return [
        at_most(SECTION, what, many, few, "", note),
        at_most(SECTION, "last peer programmed, median", times.median, 1.0, "s", took),
        at_most(SECTION, f"resident memory, {MANY:,} peers", memory, 70, "MB"),
    ]


class EtcdNode(Node):
    """A node whose store is an etcd in its own namespace."""

    @property
    def store(self) -> str:
        """URL of the network in etcd."""
        return f"etcd:{ENDPOINT}{PREFIX}"


@contextmanager
def joining(nodes: int) -> Iterator[EtcdNode]:
    """Make a node beside an etcd that knows *nodes* others."""
    with TemporaryDirectory(prefix="podway-bench") as directory, namespace() as netns:
        inside(netns, make_uplink)
        command = ["etcd", "--data-dir", f"{directory}/etcd", "--log-level", "error"]
        with process([*command, "--logger", "zap"], netns=netns):
            inside(netns, lambda: wait_until(is_up))
            inside(netns, lambda: asyncio.run(fill(nodes)))
            yield EtcdNode(netns, Path(directory))


def is_up() -> bool:
    """Tell whether etcd serves."""
    with urllib.request.urlopen(f"{ENDPOINT}/health", timeout=1) as reply:
        return bool(json.load(reply)["health"] == "true")


async def fill(nodes: int) -> None:
    """Write what *nodes* flannelds would."""
    store = open_etcd(f"etcd:{ENDPOINT}{PREFIX}", StoreAccess())
    puts = [(f"{PREFIX}/config", json.dumps(_NET_CONF))]
    puts += [flannel_lease(number) for number in range(1, nodes + 1)]
    for start in range(0, len(puts), _PUTS_PER_TXN):
        steps = [
            RequestOp(request_put=PutRequest(key=key.encode(), value=value.encode()))
            for key, value in puts[start : start + _PUTS_PER_TXN]
        ]
        # No call of a store writes what a flanneld would.
        await store._client.txn(TxnRequest(success=steps))  # noqa: SLF001
    await store.close()


def flannel_lease(number: int) -> tuple[str, str]:
    """Return key and value of flannel's node *number*."""
    high, low = divmod(number, 250)
    mac = derive_mac("bench", str(number))
    data = f'"BackendData":{{"VNI":1,"VtepMAC":"{mac}"}}'
    value = f'{{"PublicIP":"198.18.{high}.{low}","PublicIPv6":null,"BackendType":"vxlan",{data}}}'
    return f"{PREFIX}/subnets/10.{high}.{low}.0-24", value


@contextmanager
def agent(here: EtcdNode) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the agent of *here* as one that has never been there."""
    for path in (here.directory / "state").glob("*"):
        path.unlink()
    with here.agent() as running:
        yield running


def count_join(here: EtcdNode) -> int:
    """Return how many requests of a joining agent reach etcd."""
    before = inside(here.netns, count_requests)
    with agent(here):
        wait_until_ready(here)
        status = call_agent(here.agent_socket, "status")
        assert all(peer["state"] == "programmed" for peer in status["peers"])
        counted = inside(here.netns, count_requests) - before
    leave(here)
    return counted


def count_requests() -> int:
    """Return how many calls of its API etcd has counted."""
    with urllib.request.urlopen(f"{ENDPOINT}/metrics", timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    started = [line for line in lines if line.startswith("grpc_server_started_total{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in started)


def time_join(here: EtcdNode) -> float:
    """Return the seconds from the start of an agent until its kernel has every peer."""
    started = time.perf_counter()
    with agent(here):
        inside(here.netns, lambda: wait_for_objects(MANY))
        took = time.perf_counter() - started
        wait_until_ready(here)
    leave(here)
    return took


def leave(here: EtcdNode) -> None:
    """Make the node a stranger again: no lease, nothing in its kernel."""

    async def release() -> None:
        store = open_etcd(here.store, StoreAccess())
        await store.release("n1")
        await store.close()

    inside(here.netns, lambda: asyncio.run(release()))
    subprocess.run(
        ["ip", "-n", here.netns, "link", "del", "podway.1"], capture_output=True, check=False
    )
