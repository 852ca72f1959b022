"""The plugin suite against Debian's originals: lists of plugins, called as a runtime calls them.

Both run in the same node's namespace, each with a network of its own, in turn and in changing
order, so that whatever else the machine does hits both. What is timed is the executables from start
to end; the JSON between them is the runtime's. A plugin that podway has not got yet is left out.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

from bench.namespaces import inside, namespace
from bench.report import Row, Times, at_most
from podway.netlink import entered, open_named_netns
from podway.plugins.executables import base_interpreter
from podway.plugins.install import install
from podway.plugins.programs import run_program
from podway.plugins.registry import PLUGINS

Document: TypeAlias = dict[str, Any]

SECTION: Final = "CNI plugin suite"
ORIGINALS: Final = Path("/usr/lib/cni")
ROUNDS: Final = 100
CONCURRENT: Final = 50
WORKERS: Final = 8
# A bridge has 1,023 ports at the most (net/bridge/br_private.h, BR_MAX_PORTS).
MANY: Final = 1000
FEW: Final = 40


@dataclass(frozen=True)
class List:
    """A network: plugins that are called one after the other.

    Attributes:
        name: of the network.
        directory: of the executables.
        plugins: configurations without name and version.
        ifname: of the containers' interface.
    """

    name: str
    directory: Path
    plugins: tuple[Document, ...]
    ifname: str
    results: dict[str, Document | None] = field(default_factory=dict)

    def add(self, pod: str) -> float:
        """Call ADD of each plugin for the pod in namespace *pod*; return the seconds."""
        result: Document | None = None
        seconds = 0.0
        for plugin in self.plugins:
            took, stdout = self._call("ADD", plugin, pod, result)
            seconds += took
            result = json.loads(stdout)
        self.results[pod] = result
        return seconds

    def delete(self, pod: str) -> float:
        """Call DEL of each plugin, last first; return the seconds."""
        result = self.results.pop(pod)
        return sum(self._call("DEL", each, pod, result)[0] for each in reversed(self.plugins))

    def call(self, command: str, pod: str) -> float:
        """Call *command*; return the seconds."""
        return self.add(pod) if command == "ADD" else self.delete(pod)

    def call_last(self, command: str, pod: str) -> float:
        """Call the last plugin alone, after what others have made; return the seconds."""
        return self._call(command, self.plugins[-1], pod, self.results[pod])[0]

    def _call(
        self, command: str, plugin: Document, pod: str, result: Document | None
    ) -> tuple[float, bytes]:
        config = {"cniVersion": "1.0.0", "name": self.name, **plugin}
        if result is not None:
            config["prevResult"] = result
        if "runtimeConfig" in config:
            config["runtimeConfig"] = _runtime_config(pod)
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"{self.name}-{pod}",
            "CNI_NETNS": f"/run/netns/{pod}",
            "CNI_IFNAME": self.ifname,
            "CNI_PATH": str(self.directory),
        }
        argv = [str(self.directory / plugin["type"])]
        stdin = json.dumps(config).encode()
        started = time.perf_counter()
        outcome = run_program(argv, stdin, variables)
        seconds = time.perf_counter() - started
        if outcome.code:
            raise RuntimeError(f"{argv[0]} {command}: {outcome.stdout!r} {outcome.complaint}")
        return seconds, outcome.stdout


def _runtime_config(pod: str) -> Document:
    """Return a port and rates for a pod; the last digits of its name make the port its own."""
    port = 10_000 + int(pod.rpartition("-")[2], 16) % 50_000
    rates = {"ingressRate": 10**8, "ingressBurst": 10**7}
    rates |= {"egressRate": 10**8, "egressBurst": 10**7}
    mapping = {"hostPort": port, "containerPort": 80, "protocol": "tcp"}
    return {"portMappings": [mapping], "bandwidth": rates}


class Bench:
    """Podway's and Debian's executables, and networks made of them.

    Args:
        directory: the benchmark's own.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._networks = 0
        self.executables = directory / "cni"
        self.executables.mkdir()
        install(self.executables)

    def bridge(self, directory: Path, *chained: str, **keys: object) -> List:
        """Return a network of a bridge with masquerade, and *chained* plugins."""
        self._networks += 1
        n = self._networks
        ipam = {
            "type": "host-local",
            "dataDir": str(self._directory / "networks"),
            "ranges": [[{"subnet": f"10.{n}.0.0/16"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        told = {"bridge": f"br{n}", "isGateway": True, "ipMasq": True, "ipam": ipam, **keys}
        plugins: list[Document] = [{"type": "bridge", **told}]
        plugins += ({"type": name, "runtimeConfig": {}} for name in chained)
        return List(f"net{n}", directory, tuple(plugins), f"eth{n}")

    def pair(self, *chained: str, **keys: object) -> tuple[List, List]:
        """Return the same network twice: podway's, and Debian's (without *keys*)."""
        ours = self.bridge(self.executables, *chained, **keys)
        return ours, self.bridge(ORIGINALS, *chained)

    def alone(self, plugin: Document) -> tuple[List, List]:
        """Return a network of one plugin twice."""
        self._networks += 1
        name = f"net{self._networks}"
        ours = List(name, self.executables, (plugin,), "lo")
        return ours, List(f"{name}d", ORIGINALS, (plugin,), "lo")


def run() -> list[Row]:
    """Measure; return the rows."""
    rows: list[Row] = []
    with TemporaryDirectory(prefix="podway-bench") as directory:
        bench = Bench(Path(directory))
        sections: list[Callable[[Bench], list[Row]]] = [_plain, _nftables]
        if _has("portmap", "bandwidth"):
            sections += [_chain, _at_once]
        for section in [*sections, _alone]:
            with namespace() as node:
                rows += inside(node, partial(section, bench))
        rows += _crowded(bench, "bridge, host-local")
        if _has("portmap", "bandwidth"):
            rows += _crowded(bench, "with portmap, bandwidth", "portmap", "bandwidth")
    return rows


def _has(*names: str) -> bool:
    return set(names) <= {plugin.name for plugin in PLUGINS}


@contextmanager
def _pods(count: int) -> Iterator[list[str]]:
    """Make *count* empty namespaces."""
    with ExitStack() as stack:
        yield [stack.enter_context(namespace("benchpod")) for _ in range(count)]


def _plain(bench: Bench) -> list[Row]:
    return _compare("bridge, host-local, ipMasq", bench.pair(), (0.6, 0.4))


def _nftables(bench: Bench) -> list[Row]:
    pair = bench.pair(ipMasqBackend="nftables")
    return _compare("the same, podway with nftables", pair, (0.6, 0.4))


def _chain(bench: Bench) -> list[Row]:
    pair = bench.pair("portmap", "bandwidth")
    return _compare("the same with portmap, bandwidth", pair, (0.5, 0.3))


def _compare(what: str, pair: tuple[List, List], limits: tuple[float, float]) -> list[Row]:
    """Return rows for ADD and DEL, medians and p99s, of both of *pair* in turn."""
    rows: list[Row] = []
    with _pods(ROUNDS) as pods:
        for command, limit in zip(("ADD", "DEL"), limits, strict=True):
            ours, theirs = _in_turn([partial(each.call, command) for each in pair], pods)
            note = f"podway {ours}, Debian {theirs}, {ROUNDS} each, in turn"
            told = f"{what}: {command}"
            ratio, tail = ours.median / theirs.median, ours.p99 / theirs.p99
            rows.append(at_most(SECTION, f"{told}, median", ratio, limit, "x", note))
            rows.append(at_most(SECTION, f"{told}, p99", tail, limit, "x"))
    return rows


def _in_turn(calls: Sequence[Callable[[str], float]], pods: Sequence[str]) -> list[Times]:
    """Return the times of each of *calls* for all *pods*; who is first changes every time."""
    times: list[list[float]] = [[] for _ in calls]
    for n, pod in enumerate(pods):
        for k in range(len(calls)):
            which = (n + k) % len(calls)
            times[which].append(calls[which](pod))
    return [Times(each) for each in times]


def _at_once(bench: Bench) -> list[Row]:
    """Return rows for many calls at a time; both twice, in turn."""
    pair = bench.pair("portmap", "bandwidth")
    totals: dict[str, list[float]] = {}
    with _pods(CONCURRENT) as pods:
        for round_pair in (pair, pair[::-1]):
            for each in round_pair:
                for command in ("ADD", "DEL"):
                    key = f"{each.name}{command}"
                    totals.setdefault(key, []).append(_parallel(each, command, pods))
    ours, theirs = (
        [sum(totals[f"{each.name}{command}"]) / 2 for command in ("ADD", "DEL")] for each in pair
    )
    mine, other = sum(ours), sum(theirs)
    note = f"ADD {ours[0]:.2f} s, Debian {theirs[0]:.2f} s; DEL {ours[1]:.2f} s, {theirs[1]:.2f} s"
    what = f"{CONCURRENT} ADDs and DELs of that, {WORKERS} at a time"
    return [at_most(SECTION, what, mine / other, 0.5, "x", note)]


def _parallel(network: List, command: str, pods: Sequence[str]) -> float:
    """Return the seconds that *command* takes for all *pods*, several at a time."""
    fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:

        def call(pod: str) -> float:
            with entered(fd):
                return network.call(command, pod)

        with ThreadPoolExecutor(WORKERS) as threads:
            started = time.perf_counter()
            list(threads.map(call, pods))
            return time.perf_counter() - started
    finally:
        os.close(fd)


def _crowded(bench: Bench, what: str, *chained: str) -> list[Row]:
    """Return rows for a node with many attachments, beside one with few."""
    with namespace() as empty, namespace() as full, _pods(MANY) as pods:
        few, many = (bench.bridge(bench.executables, *chained) for _ in range(2))
        inside(full, lambda: _parallel(many, "ADD", pods[FEW:]))
        rows = []
        for command in ("ADD", "DEL"):
            first, last = _in_turn(
                [_within(empty, few, command), _within(full, many, command)], pods[:FEW]
            )
            note = f"{first} on an empty node, {last} with {MANY:,}, in turn"
            told = f"{what}: {command} with {MANY:,} attachments"
            rows.append(at_most(SECTION, told, last.median / first.median, 1.15, "x", note))
        inside(full, lambda: _parallel(many, "DEL", pods[FEW:]))
        return rows


def _within(node: str, network: List, command: str) -> Callable[[str], float]:
    def call(pod: str) -> float:
        fd = open_named_netns(node)
        try:
            with entered(fd):
                return network.call(command, pod)
        finally:
            os.close(fd)

    return call


def _alone(bench: Bench) -> list[Row]:
    """Return rows for plugins that fork nothing, with the least that a Python process takes."""
    static = {"type": "static", "ipam": {"type": "static", "addresses": [{"address": _ADDRESS}]}}
    cases = {"loopback": bench.alone({"type": "loopback"}), "static": bench.alone(static)}
    with _pods(ROUNDS) as pods:
        rows = [
            _against_floor(what, command, [partial(each.call, command) for each in pair], pods)
            for what, pair in cases.items()
            for command in ("ADD", "DEL")
        ]
        if _has("bandwidth"):
            rows += _bandwidth_alone(bench, pods)
    return rows


_ADDRESS: Final = "10.200.0.5/24"


def _bandwidth_alone(bench: Bench, pods: Sequence[str]) -> list[Row]:
    """Return rows for bandwidth, each on devices of its own: the original leaves a qdisc behind."""
    plugin = {"type": "bandwidth", "runtimeConfig": {}}
    bases = [bench.bridge(bench.executables) for _ in range(2)]
    chained = [
        List(base.name, directory, (plugin,), base.ifname, base.results)
        for base, directory in zip(bases, (bench.executables, ORIGINALS), strict=True)
    ]
    for pod in pods:
        for base in bases:
            base.add(pod)
    rows = [
        _against_floor(
            "bandwidth", command, [partial(each.call_last, command) for each in chained], pods
        )
        for command in ("ADD", "DEL")
    ]
    for pod in pods:
        for base in bases:
            base.delete(pod)
    return rows


def _against_floor(
    what: str, command: str, calls: Sequence[Callable[[str], float]], pods: Sequence[str]
) -> Row:
    """Return a row for one command of *calls*, podway's and Debian's, and the floor's time."""
    ours, theirs, floor = _in_turn([*calls, lambda _: _bare_python()], pods)
    note = f"podway {ours}, Debian {theirs}; python3 -IS -c pass {floor}: "
    note += f"{floor.median / theirs.median:.1f} x"
    ratio = ours.median / theirs.median
    return at_most(SECTION, f"{what} alone: {command}, median", ratio, 3, "x", note)


def _bare_python() -> float:
    started = time.perf_counter()
    run_program([base_interpreter(), "-IS", "-c", "pass"])
    return time.perf_counter() - started
