"""How long until what somebody took away is back: each kind of object, on a node with 1,000 peers.

An outsider's program deletes it, as an operator's mistake would; counted is from that program's end
to the moment in which the kernel has the object again.
"""

import asyncio
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.cni import plugins
from bench.namespaces import inside
from bench.namespaces import run as run_command
from bench.node import Node, node, wait_until_ready
from bench.pods import empty_pods
from bench.report import Row, Times, at_most
from bench.scale import (
    PEERS,
    claim_peers,
    count_neighbours,
    count_routes,
    fdb_destinations,
    wait_for_objects,
    wait_until,
)
from podway.netlink import NetlinkSocket, get_link

SECTION = "Repair"
ROUNDS = 20
REACH_S = 1.0
_NET_CONF = {"Network": "10.0.0.0/12", "SubnetLen": 24, "Backend": {"Type": "vxlan"}}
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def run() -> list[Row]:
    """Measure; return the rows."""
    with node(_NET_CONF) as here, empty_pods(1) as (pod,):
        asyncio.run(claim_peers(here, PEERS))
        with here.agent():
            inside(here.netns, lambda: wait_for_objects(PEERS))
            wait_until_ready(here)
            return inside(here.netns, lambda: _measure(here, pod))


def _measure(here: Node, pod: str) -> list[Row]:
    ours, _ = plugins(here)
    ours.call("ADD", pod)
    with NetlinkSocket() as netlink:
        rows = [_row(what, take, back) for what, (take, back) in _mishaps(netlink).items()]
    ours.call("DEL", pod)
    return rows


def _row(what: str, take: Callable[[], object], back: Callable[[], bool]) -> Row:
    times = Times([_time_one(take, back, number / ROUNDS) for number in range(ROUNDS)])
    note = f"{times}, {ROUNDS} times"
    return at_most(SECTION, f"{what}, slowest", max(times.values), REACH_S, "s", note)


def _time_one(take: Callable[[], object], back: Callable[[], bool], phase_s: float) -> float:
    """Return the seconds until what *take* takes is *back*.

    It is taken at another *phase_s* each time, for what is looked at every so often.
    """
    time.sleep(0.05 + phase_s)
    take()
    began_s = time.perf_counter()
    wait_until(back)
    return time.perf_counter() - began_s


def _mishaps(
    netlink: NetlinkSocket,
) -> Mapping[str, tuple[Callable[[], object], Callable[[], bool]]]:
    """Return how to take each kind of object, and how to see that it is back."""
    route = _words("ip", "-4", "route", "show", "proto", "112").split(" ", 1)[0]
    neighbour = _words("ip", "-4", "neigh", "show", "dev", "podway.1", "nud", "permanent")
    address, _, mac = neighbour.split()[:3]
    entry = next(
        line for line in _words("bridge", "fdb", "show", "dev", "podway.1").splitlines()
        if line.startswith(mac)
    )  # fmt: skip
    destination = entry.split()[entry.split().index("dst") + 1]

    def all_there() -> bool:
        return (
            count_routes(netlink) >= PEERS
            and count_neighbours(netlink) >= PEERS
            and len(fdb_destinations(netlink)) >= PEERS
        )

    return {
        "a peer's route": (_does("ip", "route", "del", route), all_there),
        "a peer's neighbour entry": (
            _does("ip", "neigh", "del", address, "dev", "podway.1"),
            all_there,
        ),
        "a peer's FDB entry": (
            _does("bridge", "fdb", "del", mac, "dev", "podway.1", "dst", destination),
            all_there,
        ),
        f"the tunnel's device with all of {PEERS:,} peers": (
            _does("ip", "link", "del", "podway.1"),
            all_there,
        ),
        "all routes": (_does("ip", "route", "flush", "proto", "112"), all_there),
        "the bridge of the pods": (
            _does("ip", "link", "del", "cni0"),
            lambda: _has_port(netlink),
        ),
        "the nftables table": (
            _does("nft", "delete", "table", "inet", "podway"),
            lambda: _succeeds("nft", "list", "table", "inet", "podway"),
        ),
        "a sysctl (ip_forward)": (
            lambda: _write_forward("0"),
            lambda: _FORWARD.read_text().strip() == "1",
        ),
    }


def _has_port(netlink: NetlinkSocket) -> bool:
    """Tell whether there is a bridge, and the pod's device is a port of it."""
    bridge = netlink.request(get_link({"ifname": "cni0"}))
    assert bridge is not None
    return bool(_words("ip", "-o", "link", "show", "master", "cni0"))


def _write_forward(value: str) -> None:
    _FORWARD.write_text(value)


def _does(*command: str) -> Callable[[], object]:
    return lambda: run_command(list(command))


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _words(*command: str) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout
