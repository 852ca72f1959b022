"""Pod to pod across nodes against the bare underlay, in one lab, in turn, for every backend.

All backends that this machine can carry, in one table and one plot (docs/backends.svg). CPU is that
of the whole machine, both ends and all in between, while 1 GB travels in one TCP stream.

Why it is hard: the lab's cables have no speed of their own, so on one machine both nodes' work is
all there is, and a path with twice the devices shows as if nothing else bounded it. Between real
nodes a network card does. So TCP is measured twice: over cables without a limit, which tells what
the path costs, and over cables as fast as a card, which tells what pods get. The two ends are kept
on one core each: where the scheduler puts them makes more of a difference than any backend.
"""

import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import TypeAlias

from bench import plot
from bench.cluster import Cluster, LabRefused, cluster
from bench.namespaces import inside, process
from bench.report import Row, at_least

SECTION = "Throughput, pod to pod across nodes against the bare underlay"
ROUNDS = 3
SECONDS = 3
REQUESTS = 5000
Found: TypeAlias = dict[str, list[float]]
SMALL_BYTES = 64
_PORT = 5201
BY_A_PROCESS = {"udp", "wireguard"}
BACKENDS = ("host-gw", "ipip", "vxlan", "udp", "wireguard")
# What a backend should reach of the bare underlay in TCP; host-gw in all.
REACH = {"host-gw": 0.95, "ipip": 0.8, "vxlan": 0.8}
TCP = "TCP, 1 stream"
TCP_8 = "TCP, 8 streams"
# As of a small virtual machine: what two cores can fill with either path.
CARD_GBITS = 5
CARD = f", {CARD_GBITS} Gbit/s card"
CPU = "CPU per GB"


def run() -> list[Row]:
    """Measure; return the rows."""
    rows: list[Row] = []
    ratios: dict[str, dict[str, float]] = {}
    for backend in BACKENDS:
        try:
            with cluster("--nodes", "2", "--backend", backend) as lab:
                lab.podway("pod", "add", "--count", "2")
                found = _compare(lab, () if backend in BY_A_PROCESS else a_core_each())
        except LabRefused as reason:
            rows.append(Row(section=SECTION, what=backend, value="not here", note=str(reason)))
            continue
        ratios[backend] = {what: ratio_of(values) for what, values in found.items()}
        rows += [_row(backend, what, values) for what, values in found.items()]
    plot.write(ratios)
    return rows


def a_core_each() -> tuple[str, ...]:
    """Return iperf3's options that keep its two ends apart."""
    cores = sorted(os.sched_getaffinity(0))
    return ("--affinity", f"{cores[0]},{cores[-1]}")


def _compare(lab: Cluster, places: Sequence[str]) -> dict[str, Found]:
    paths = {
        "underlay": (lab.node_netns("n1"), lab.node_netns("n2")),
        "pods": (lab.pod_netns("p1"), lab.pod_netns("p2")),
    }
    kinds: dict[str, Callable[[str, str], float]] = {
        TCP: lambda a, b: iperf(a, b, "--parallel", "1", *places),
        TCP_8: lambda a, b: iperf(a, b, "--parallel", "8", *places),
        "TCP request/response": requests,
        f"UDP, {SMALL_BYTES} bytes": lambda a, b: small_datagrams(a, b, *places),
        CPU: lambda a, b: cpu_per_gb(a, b, *places),
    }
    found = {what: _in_turn(paths, measure) for what, measure in kinds.items()}
    with cards(paths["underlay"]):
        for what in (TCP, TCP_8):
            found[what + CARD] = _in_turn(paths, kinds[what])
    return found


def _in_turn(paths: Mapping[str, tuple[str, str]], measure: Callable[[str, str], float]) -> Found:
    """Return what *measure* says of each path, pair by pair."""
    values: Found = {name: [] for name in paths}
    for _ in range(ROUNDS):
        for name, (client, server) in paths.items():
            values[name].append(measure(client, server))
    return values


@contextmanager
def cards(nodes: Iterable[str]) -> Iterator[None]:
    """Let no node send faster than a network card."""
    shape = f"tbf rate {CARD_GBITS}gbit burst 256k latency 10ms"
    for node in nodes:
        _tc(node, f"qdisc replace dev eth0 root {shape}")
    try:
        yield
    finally:
        for node in nodes:
            _tc(node, "qdisc delete dev eth0 root")


def _tc(netns: str, words: str) -> None:
    subprocess.run(["tc", "-n", netns, *words.split()], check=True)


def ratio_of(found: Found) -> float:
    """Return what pods reach of the underlay: the median of the pairs."""
    pairs = zip(found["pods"], found["underlay"], strict=True)
    return statistics.median(pods / bare for pods, bare in pairs)


def _row(backend: str, what: str, found: Found) -> Row:
    ratio = ratio_of(found)
    middle = {name: statistics.median(values) for name, values in found.items()}
    note = f"pods {_unit(what, middle['pods'])}, underlay {_unit(what, middle['underlay'])}"
    reach = REACH.get(backend) if what.startswith("TCP, ") or backend == "host-gw" else None
    if reach is not None and what != CPU:
        return at_least(SECTION, f"{backend}: {what}", ratio, reach, "x", note)
    return Row(section=SECTION, what=f"{backend}: {what}", value=f"{ratio:.2f} x", note=note)


def _unit(what: str, value: float) -> str:
    if what == CPU:
        return f"{value:.2f} s"
    return f"{value / 1e9:.1f} Gbit/s" if what.startswith("TCP, ") else f"{value / 1e3:.1f} k/s"


def address_of(netns: str) -> str:
    """Return the IPv4 address of eth0 in *netns*."""
    text = subprocess.run(
        ["ip", "-n", netns, "-j", "-4", "address", "show", "dev", "eth0"],
        capture_output=True,
        check=True,
    ).stdout
    return str(json.loads(text)[0]["addr_info"][0]["local"])


def iperf(client: str, server: str, *options: str) -> float:
    """Return bits per second of one iperf3 run."""
    address = address_of(server)
    command = ["iperf3", "--client", address, "--time", str(SECONDS), "--omit", "1", "--json"]
    with process(["iperf3", "--server", "--bind", address, "--one-off"], netns=server):
        deadline = time.perf_counter() + 5
        while True:
            done = inside(
                client,
                lambda: subprocess.run([*command, *options], capture_output=True, check=False),
            )
            # With --json it ends well whatever happened, and says so in there.
            report = json.loads(done.stdout)
            if "error" not in report:
                return float(report["end"]["sum_received"]["bits_per_second"])
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{' '.join(command)}: {report['error']}")
            time.sleep(0.05)


def requests(client: str, server: str, count: int = REQUESTS) -> float:
    """Return request/response pairs a second, of *count*, over one TCP connection, a byte each."""
    address = address_of(server)
    with closing(inside(server, lambda: socket.create_server((address, _PORT + 1)))) as listener:
        answering = Thread(target=_echo, args=(listener,))
        answering.start()
        with closing(
            inside(client, lambda: socket.create_connection((address, _PORT + 1)))
        ) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            started = time.perf_counter()
            for _ in range(count):
                connection.sendall(b"x")
                connection.recv(1)
            seconds = time.perf_counter() - started
        answering.join()
    return count / seconds


def _echo(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        while data := connection.recv(1):
            connection.sendall(data)


def small_datagrams(client: str, server: str, *more: str) -> float:
    """Return datagrams a second that arrive, of `SMALL_BYTES` bytes of payload."""
    options = ("--udp", "--bitrate", "0", "--length", str(SMALL_BYTES))
    return iperf(client, server, *options, *more) / 8 / SMALL_BYTES


def cpu_per_gb(client: str, server: str, *options: str) -> float:
    """Return the seconds that all of the machine's cores work for 1 GB of one TCP stream."""
    before, started = busy_s(), time.perf_counter()
    bits = iperf(client, server, *options)
    seconds = time.perf_counter() - started
    return (busy_s() - before) / (bits * seconds / 8e9)


def busy_s() -> float:
    """Return how long all cores have worked since the machine started."""
    first, _, _ = Path("/proc/stat").read_text(encoding="ascii").partition("\n")
    user, nice, system, _idle, _iowait, irq, softirq = map(int, first.split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
