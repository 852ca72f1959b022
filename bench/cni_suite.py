"""The plugin suite against Debian's originals: lists of plugins, called as a runtime calls them.

Both run in the same node's namespace, each with a network of its own, in turn and in changing
order, so that whatever else the machine does hits both. A plugin that podway has not got yet is
left out.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.cni_lists import ORIGINALS, Bench, List
from bench.namespaces import inside, namespace
from bench.pods import WORKERS, empty_pods, time_at_once
from bench.report import Row, Times, at_most
from podway.netlink import entered, open_named_netns
from podway.plugins.executables import base_interpreter
from podway.plugins.programs import run_program
from podway.plugins.registry import PLUGINS

SECTION: Final = "CNI plugin suite"
ROUNDS: Final = 100
CONCURRENT: Final = 50
# A bridge has 1,023 ports at the most (net/bridge/br_private.h, BR_MAX_PORTS).
MANY: Final = 1000
FEW: Final = 40


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
    with empty_pods(ROUNDS) as pods:
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
    with empty_pods(CONCURRENT) as pods:
        for round_pair in (pair, pair[::-1]):
            for each in round_pair:
                for command in ("ADD", "DEL"):
                    key = f"{each.name}{command}"
                    totals.setdefault(key, []).append(
                        time_at_once(partial(each.call, command), pods)
                    )
    ours, theirs = (
        [sum(totals[f"{each.name}{command}"]) / 2 for command in ("ADD", "DEL")] for each in pair
    )
    mine, other = sum(ours), sum(theirs)
    note = f"ADD {ours[0]:.2f} s, Debian {theirs[0]:.2f} s; DEL {ours[1]:.2f} s, {theirs[1]:.2f} s"
    what = f"{CONCURRENT} ADDs and DELs of that, {WORKERS} at a time"
    return [at_most(SECTION, what, mine / other, 0.5, "x", note)]


def _crowded(bench: Bench, what: str, *chained: str) -> list[Row]:
    """Return rows for a node with many attachments, beside one with few."""
    with namespace() as empty, namespace() as full, empty_pods(MANY) as pods:
        few, many = (bench.bridge(bench.executables, *chained) for _ in range(2))
        inside(full, lambda: time_at_once(many.add, pods[FEW:]))
        rows = []
        for command in ("ADD", "DEL"):
            first, last = _in_turn(
                [_within(empty, few, command), _within(full, many, command)], pods[:FEW]
            )
            note = f"{first} on an empty node, {last} with {MANY:,}, in turn"
            told = f"{what}: {command} with {MANY:,} attachments"
            rows.append(at_most(SECTION, told, last.median / first.median, 1.15, "x", note))
        inside(full, lambda: time_at_once(many.delete, pods[FEW:]))
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
    with empty_pods(ROUNDS) as pods:
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
