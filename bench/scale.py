"""One agent among a thousand nodes: its start, one change, its memory, its idle time."""

import asyncio
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from bench.namespaces import inside
from bench.node import Node, cpu_seconds, node, resident_kib, wait_until_ready
from bench.report import Row, Times, at_most
from podway.agent.calls import call_agent
from podway.compute.backends import vxlan
from podway.model.addresses import Family
from podway.model.networks import parse_network
from podway.model.nodes import Claim, Identity, Wish
from podway.netlink import NetlinkSocket, dump_fdb, dump_neighbours, dump_routes, get_link
from podway.netlink.constants import AF_INET, NUD_PERMANENT
from podway.store.engines import open_store

SECTION = "Scale: one agent"
PEERS = 1000
CHANGES = 50
IDLE_S = 20
_NET_CONF = {"Network": "10.0.0.0/12", "SubnetLen": 24, "Backend": {"Type": "vxlan"}}
_PROTOCOL = 112


def run() -> list[Row]:
    """Measure; return the rows."""
    rows = []
    with node(_NET_CONF) as here:
        asyncio.run(claim_peers(here, 2))
        with here.agent() as agent:
            wait_until_ready(here)
            small = resident_kib(agent.pid) / 1024
            rows.append(at_most(SECTION, "resident memory, 3 nodes", small, 45, "MB"))
            idle = idle_percent(agent.pid)
            rows.append(at_most(SECTION, "idle CPU, 3 nodes", idle, 0.1, "%", f"over {IDLE_S} s"))
    with node(_NET_CONF) as here:
        asyncio.run(claim_peers(here, PEERS))
        started = time.perf_counter()
        with here.agent() as agent:
            inside(here.netns, lambda: wait_for_objects(PEERS))
            seconds = time.perf_counter() - started
            note = f"from the start of the process to {3 * PEERS} objects in the kernel"
            rows.append(at_most(SECTION, f"start with {PEERS:,} peers", seconds, 1.0, "s", note))
            wait_until_ready(here)
            took = call_agent(here.agent_socket, "status")["last_reconcile"].get("duration_ms", 0)
            rows.append(Row(section=SECTION, what="of which the last pass", value=f"{took} ms"))
            changed = Times(inside(here.netns, lambda: asyncio.run(change_peers(here))))
            note = f"{changed}, {CHANGES} changes, from the claim to the kernel's entry"
            what = "one peer of 1,000 changed, median"
            rows.append(at_most(SECTION, what, changed.median * 1e3, 10, "ms", note))
            large = resident_kib(agent.pid) / 1024
            rows.append(at_most(SECTION, f"resident memory, {PEERS:,} peers", large, 70, "MB"))
            idle = idle_percent(agent.pid)
            what = f"idle CPU, {PEERS:,} peers"
            rows.append(at_most(SECTION, what, idle, 0.1, "%", f"over {IDLE_S} s"))
    return rows


def peer_claim(number: int, shift: int = 0) -> Claim:
    """Return the claim of synthetic node *number*; *shift* gives it another public address."""
    name = f"peer{number}"
    network = parse_network(b'{"Network": "10.0.0.0/12", "Backend": {"Type": "vxlan"}}')
    wish = Wish(
        family=Family.IPV4,
        public_ip=IPv4Address("198.18.0.0") + number + shift,
        data=vxlan.publish(network, Identity(name=name), Family.IPV4),
    )
    return Claim(name=name, backend="vxlan", wishes=(wish,))


async def claim_peers(here: Node, count: int) -> None:
    """Make *count* synthetic nodes in the store."""
    store = open_store(here.store)
    try:
        for number in range(count):
            await store.claim(peer_claim(number))
    finally:
        await store.close()


async def change_peers(here: Node) -> list[float]:
    """Give one peer after the other a new address; return how long until the FDB has it."""
    store = open_store(here.store)
    times = []
    try:
        with NetlinkSocket() as netlink:
            for number in range(CHANGES):
                claim = peer_claim(number, shift=5000)
                wanted = claim.wishes[0].public_ip.packed
                started = time.perf_counter()
                await store.claim(claim)
                wait_until(lambda: wanted in fdb_destinations(netlink))  # noqa: B023
                times.append(time.perf_counter() - started)
    finally:
        await store.close()
    return times


def wait_for_objects(peers: int) -> None:
    """Wait until the kernel has the routes, neighbours and FDB entries of *peers*."""
    with NetlinkSocket() as netlink:
        wait_until(lambda: count_routes(netlink) >= peers)
        wait_until(lambda: len(fdb_destinations(netlink)) >= peers)
        wait_until(lambda: count_neighbours(netlink) >= peers)


def count_routes(netlink: NetlinkSocket) -> int:
    """Return how many routes are podway's."""
    return len(netlink.dump(dump_routes(AF_INET, protocol=_PROTOCOL)))


def count_neighbours(netlink: NetlinkSocket) -> int:
    """Return how many permanent neighbours there are."""
    found = netlink.dump(dump_neighbours(AF_INET))
    return sum(1 for entry in found if entry["state"] & NUD_PERMANENT)


def fdb_destinations(netlink: NetlinkSocket) -> set[bytes]:
    """Return where the VTEP's FDB entries lead."""
    link = netlink.request(get_link({"ifname": "podway.1"}))
    assert link is not None
    return {
        entry["dst"] for entry in netlink.dump(dump_fdb(ifindex=link["index"])) if "dst" in entry
    }


def wait_until(true: Callable[[], bool], limit_s: float = 30.0) -> None:
    """Ask until *true*; a device that is not there yet counts as no."""
    deadline = time.perf_counter() + limit_s
    while time.perf_counter() < deadline:
        try:
            if true():
                return
        except OSError:
            time.sleep(0.001)
    raise RuntimeError(f"still not so after {limit_s} s")


def idle_percent(pid: int) -> float:
    """Return how much of one processor *pid* uses when nothing happens."""
    time.sleep(1)
    before = cpu_seconds_fine(pid)
    time.sleep(IDLE_S)
    return (cpu_seconds_fine(pid) - before) / IDLE_S * 100


def cpu_seconds_fine(pid: int) -> float:
    """Return processor time in nanosecond resolution where the kernel tells it."""
    try:
        tasks = [f"/proc/{pid}/task/{tid}/schedstat" for tid in _threads(pid)]
        return sum(int(open(path).read().split()[0]) for path in tasks) / 1e9  # noqa: PTH123
    except OSError:
        return cpu_seconds(pid)


def _threads(pid: int) -> list[str]:
    import os  # noqa: PLC0415

    return os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
