"""The udp backend's relay against a plain one in C that carries one packet at a time.

Both in the same four namespaces, in turn: two nodes joined by a veth pair, a pod behind each. The
relay in C speaks flannel's wire format, reads one packet and sends one packet; podway's relay is
measured as it works between podway nodes, and as it speaks to a flanneld (bare packets).
"""

import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.namespaces import inside, namespace
from bench.namespaces import run as run_command
from bench.report import Row, at_least
from bench.throughput import iperf, requests
from podway.compute.backends.udp import pod_gso_max_size
from podway.model.addresses import Family
from podway.udp.control import RelayClient, RelayConfig
from podway.udp.launch import start_relay
from podway.udp.peers import Peer
from podway.udp.tun import create_tun, keep_tun

SECTION = "Backend udp, podway's relay against a plain one in C, pod to pod"
STREAM_ROUNDS = 5
# Short and many: what else the machine does in a moment hits all ways alike.
PAIR_ROUNDS = 25
PAIRS = 1000
PORT, PLAIN_PORT = 8285, 8286
MTU = 1500 - 28
NODES = (1, 2)
SOURCE = Path(__file__).parent / "udp_relay.c"
PLAIN = "C"
WAYS = (PLAIN, "podway", "podway, bare packets")


def run() -> list[Row]:
    """Measure; return the rows."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        world = World(stack, Path(directory))
        streams = world.in_turn(STREAM_ROUNDS, lambda: iperf(*world.pods, "--parallel", "1"))
        pairs = world.in_turn(PAIR_ROUNDS, lambda: requests(*world.pods, PAIRS))
    return [
        *_rows("TCP, 1 stream", streams, 5.0, lambda value: f"{value / 1e9:.2f} Gbit/s"),
        *_rows("TCP request/response", pairs, 0.8, lambda value: f"{value / 1e3:.1f} k/s"),
    ]


def _rows(
    what: str, found: dict[str, list[float]], reach: float, unit: Callable[[float], str]
) -> list[Row]:
    rows = []
    for way in WAYS[1:]:
        ratio = statistics.median(
            mine / plain for mine, plain in zip(found[way], found[PLAIN], strict=True)
        )
        middle = {name: unit(statistics.median(values)) for name, values in found.items()}
        rounds = len(found[way])
        note = f"{way} {middle[way]}, C {middle[PLAIN]}, {rounds} rounds in turn"
        if way == "podway":
            rows.append(at_least(SECTION, what, ratio, reach, "x", note))
        else:
            name = f"{what}, to a flanneld"
            rows.append(Row(section=SECTION, what=name, value=f"{ratio:.2f} x", note=note))
    return rows


def compile_relay(directory: Path) -> str:
    """Compile the relay in C; return the program's path."""
    program = str(directory / "udp_relay")
    run_command(["cc", "-O2", "-o", program, str(SOURCE)])
    return program


class World:
    """Two nodes and two pods; both relays run all the time, and a route says which is used."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        names = [stack.enter_context(namespace("benchudp")) for _ in range(4)]
        self.nodes, self.pods = (names[0], names[1]), (names[2], names[3])
        first, second = self.nodes
        _ip(first, f"link add eth0 type veth peer name eth0 netns {second}")
        self._relays: list[RelayClient] = []
        program = compile_relay(directory)
        for number, node, pod in zip(NODES, self.nodes, self.pods, strict=True):
            _make_node(number, node, pod)
        for number, node in zip(NODES, self.nodes, strict=True):
            _start_plain(stack, program, number, node)
            self._relays.append(_start_podway(stack, directory / f"{number}.sock", number, node))

    def in_turn(self, rounds: int, measure: Callable[[], float]) -> dict[str, list[float]]:
        """Return what *measure* gives over each way, in turn."""
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                self.use(way)
                found[way].append(measure())
        return found

    def use(self, way: str) -> None:
        """Lead what is between the nodes over *way*."""
        for number, node, relay in zip(NODES, self.nodes, self._relays, strict=True):
            dev = "plain0" if way == PLAIN else "podway0"
            _ip(node, f"route replace 10.244.0.0/16 dev {dev}")
            where = (f"192.0.2.{3 - number}", PORT)
            relay.set([Peer(f"10.244.{3 - number}.0/24", where, segments=way == "podway")])


def _make_node(number: int, node: str, pod: str) -> None:
    _ip(node, "link set eth0 up")
    _ip(node, f"address add 192.0.2.{number}/24 dev eth0")
    _ip(node, f"link add pod0 mtu {MTU} type veth peer name eth0 mtu {MTU} netns {pod}")
    _ip(node, "link set pod0 up")
    _ip(node, f"address add 10.244.{number}.1/24 dev pod0")
    # As podway makes a pod's.
    _ip(pod, f"link set eth0 up gso_max_size {pod_gso_max_size({Family.IPV4: MTU})}")
    _ip(pod, f"address add 10.244.{number}.2/24 dev eth0")
    _ip(pod, f"route add default via 10.244.{number}.1")
    inside(node, _forward)
    _ip(node, "tuntap add dev plain0 mode tun")
    inside(node, _make_tun)
    for dev in ("plain0", "podway0"):
        _ip(node, f"link set {dev} mtu {MTU} up")


def _start_plain(stack: ExitStack, program: str, number: int, node: str) -> None:
    route = (f"10.244.{3 - number}.0/24", f"192.0.2.{3 - number}")
    # With the precedence that podway's relay gives itself.
    command = ["nice", "-n", "-10", program, "plain0", f"192.0.2.{number}", str(PLAIN_PORT), *route]
    relay = inside(node, lambda: subprocess.Popen(command, stdout=subprocess.PIPE))
    stack.callback(relay.wait)
    stack.callback(relay.kill)
    assert relay.stdout is not None
    stack.enter_context(relay.stdout)
    if relay.stdout.readline() != b"ready\n":
        raise RuntimeError(f"{' '.join(command)} does not start")


def _start_podway(stack: ExitStack, path: Path, number: int, node: str) -> RelayClient:
    config = RelayConfig("podway0", PORT, (f"192.0.2.{number}",), (f"10.244.{number}.0/24",))
    inside(node, lambda: start_relay(str(path), config))
    relay = RelayClient(str(path))
    stack.callback(relay.close)
    stack.callback(relay.stop)
    return relay


def _ip(netns: str, arguments: str) -> None:
    run_command(["ip", "-n", netns, *arguments.split()])


def _forward() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")


def _make_tun() -> None:
    fd = create_tun("podway0")
    try:
        keep_tun(fd)
    finally:
        os.close(fd)
