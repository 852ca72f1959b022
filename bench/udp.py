"""The udp backend's relay against a plain one in C that carries one packet at a time.

Both in the same four namespaces, in turn: two nodes joined by a veth pair, a pod behind each. The
relay in C speaks flannel's wire format, reads one packet and sends one packet; podway's relay is
measured as it works between podway nodes, and as it speaks to a flanneld (bare packets).
"""

import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.namespaces import inside, namespace
from bench.namespaces import run as run_command
from bench.report import Row, at_least
from bench.throughput import iperf, requests
from podway.udp.control import RelayClient, RelayConfig
from podway.udp.launch import start_relay
from podway.udp.peers import Peer
from podway.udp.tun import create_tun, keep_tun

SECTION = "Backend udp, podway's relay against a plain one in C, pod to pod"
ROUNDS = 5
PORT = 8285
MTU = 1500 - 28
NODES = (1, 2)
SOURCE = Path(__file__).parent / "udp_relay.c"


def run() -> list[Row]:
    """Measure; return the rows."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        program = compile_relay(Path(directory))
        world = World(stack)
        ways: dict[str, Callable[[], object]] = {
            "C": lambda: world.plain(program),
            "podway": lambda: world.podway(Path(directory), segments=True),
            "podway, bare packets": lambda: world.podway(Path(directory), segments=False),
        }
        streams: dict[str, list[float]] = {way: [] for way in ways}
        pairs: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, relays in ways.items():
                with relays():  # type: ignore[attr-defined]
                    streams[way].append(iperf(*world.pods, "--parallel", "1"))
                    pairs[way].append(requests(*world.pods))
    return [
        *_rows("TCP, 1 stream", streams, 5.0, lambda value: f"{value / 1e9:.2f} Gbit/s"),
        *_rows("TCP request/response", pairs, 0.8, lambda value: f"{value / 1e3:.1f} k/s"),
    ]


def _rows(
    what: str, found: dict[str, list[float]], reach: float, unit: Callable[[float], str]
) -> list[Row]:
    rows = []
    for way in list(found)[1:]:
        ratio = statistics.median(
            mine / plain for mine, plain in zip(found[way], found["C"], strict=True)
        )
        middle = {name: unit(statistics.median(values)) for name, values in found.items()}
        note = f"{way} {middle[way]}, C {middle['C']}, {ROUNDS} rounds in turn"
        if way == "podway":
            rows.append(at_least(SECTION, what, ratio, reach, "x", note))
        else:
            rows.append(
                Row(section=SECTION, what=f"{what}, bare", value=f"{ratio:.2f} x", note=note)
            )
    return rows


def compile_relay(directory: Path) -> str:
    """Compile the relay in C; return the program's path."""
    program = str(directory / "udp_relay")
    run_command(["cc", "-O2", "-o", program, str(SOURCE)])
    return program


class World:
    """Two nodes and two pods; the TUN devices of both relays are there from the start."""

    def __init__(self, stack: ExitStack) -> None:
        names = [stack.enter_context(namespace("benchudp")) for _ in range(4)]
        self.nodes, self.pods = (names[0], names[1]), (names[2], names[3])
        ip = _ip
        first, second = self.nodes
        ip(first, f"link add eth0 type veth peer name eth0 netns {second}")
        for number, node, pod in zip(NODES, self.nodes, self.pods, strict=True):
            ip(node, "link set eth0 up")
            ip(node, f"address add 192.0.2.{number}/24 dev eth0")
            ip(node, f"link add pod0 mtu {MTU} type veth peer name eth0 mtu {MTU} netns {pod}")
            ip(node, "link set pod0 up")
            ip(node, f"address add 10.244.{number}.1/24 dev pod0")
            ip(pod, "link set eth0 up")
            ip(pod, f"address add 10.244.{number}.2/24 dev eth0")
            ip(pod, f"route add default via 10.244.{number}.1")
            inside(node, _forward)
            ip(node, "tuntap add dev plain0 mode tun")
            inside(node, _make_tun)
            for dev in ("plain0", "podway0"):
                ip(node, f"link set {dev} mtu {MTU} up")

    def _use(self, dev: str) -> None:
        for node in self.nodes:
            _ip(node, f"route replace 10.244.0.0/16 dev {dev}")

    @contextmanager
    def plain(self, program: str) -> Iterator[None]:
        """Have both nodes joined by the relay in C."""
        with ExitStack() as stack:
            for number, node in zip(NODES, self.nodes, strict=True):
                other = 3 - number
                route = (f"10.244.{other}.0/24", f"192.0.2.{other}")
                command = [program, "plain0", f"192.0.2.{number}", str(PORT), *route]
                relay = inside(
                    node,
                    lambda c=command: subprocess.Popen(c, stdout=subprocess.PIPE),  # type: ignore[misc]
                )
                stack.callback(relay.wait)
                stack.callback(relay.kill)
                assert relay.stdout is not None
                stack.enter_context(relay.stdout)
                if relay.stdout.readline() != b"ready\n":
                    raise RuntimeError(f"{' '.join(command)} does not start")
            self._use("plain0")
            yield

    @contextmanager
    def podway(self, directory: Path, *, segments: bool) -> Iterator[None]:
        """Have both nodes joined by podway's relay."""
        with ExitStack() as stack:
            for number, node in zip(NODES, self.nodes, strict=True):
                other, path = 3 - number, str(directory / f"{number}.sock")
                config = RelayConfig(
                    "podway0", PORT, (f"192.0.2.{number}",), (f"10.244.{number}.0/24",)
                )
                inside(node, lambda p=path, c=config: start_relay(p, c))  # type: ignore[misc]
                relay = RelayClient(path)
                stack.callback(relay.close)
                stack.callback(relay.stop)
                relay.set([Peer(f"10.244.{other}.0/24", (f"192.0.2.{other}", PORT), segments)])
            self._use("podway0")
            yield


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
