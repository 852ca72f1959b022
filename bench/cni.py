"""ADD and DEL through the executables: podway against Debian's bridge with host-local and ipMasq.

Both run in the same node namespace, in turn, on namespaces made beforehand; what is timed is the
executable from start to end, as a runtime would see it.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.cluster import PODWAY
from bench.namespaces import inside
from bench.namespaces import run as run_command
from bench.node import Node, node, wait_until_ready
from bench.pods import WORKERS, empty_pods, time_at_once
from bench.report import Row, Times, at_most

SECTION = "CNI executables"
ROUNDS = 100
CONCURRENT = 50
MANY = 1000


class Plugin:
    """One way to attach pods.

    Args:
        name: of the network.
        path: of the executable.
        config: its network configuration, as JSON.
    """

    def __init__(self, name: str, path: str, config: dict[str, object]) -> None:
        self.name = name
        self._path = path
        self._config = json.dumps({"cniVersion": "1.0.0", "name": name, **config}).encode()

    def call(self, command: str, netns: str) -> float:
        """Run *command* for the pod in *netns*; return the seconds that it took."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"{self.name}-{netns}",
            "CNI_NETNS": f"/run/netns/{netns}",
            "CNI_IFNAME": "eth0" if self.name == "podway" else "eth1",
            "CNI_PATH": str(Path(self._path).parent),
            "PATH": os.environ["PATH"],
        }
        started = time.perf_counter()
        done = subprocess.run(
            [self._path], env=environment, input=self._config, capture_output=True, check=False
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"{self._path} {command}: {(done.stdout + done.stderr).decode()}")
        return seconds


def plugins(here: Node) -> tuple[Plugin, Plugin]:
    """Return podway's plugin and Debian's, for the node *here*."""
    directory = here.directory / "cni"
    directory.mkdir()
    run_command([PODWAY, "cni", "install", str(directory), "--no-conf"])
    ours = Plugin(
        "podway",
        str(directory / "podway"),
        {"type": "podway", "agentSocket": str(here.directory / "run" / "cni.sock")},
    )
    ipam = {
        "type": "host-local",
        "dataDir": str(here.directory / "host-local"),
        "ranges": [[{"subnet": "10.99.0.0/16"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cnideb", "isGateway": True, "ipMasq": True}
    return ours, Plugin("debian", "/usr/lib/cni/bridge", {**bridge, "ipam": ipam})


def run() -> list[Row]:
    """Measure; return the rows."""
    net_conf = {"Network": "10.240.0.0/12", "SubnetLen": 20, "Backend": {"Type": "vxlan"}}
    with node(net_conf) as here, here.agent():
        wait_until_ready(here)
        ours, theirs = plugins(here)
        rows = inside(here.netns, lambda: _one_by_one(ours, theirs))
        rows += inside(here.netns, lambda: _at_once(ours, theirs))
        return rows + inside(here.netns, lambda: _crowded(ours))


def _one_by_one(ours: Plugin, theirs: Plugin) -> list[Row]:
    times: dict[tuple[str, str], list[float]] = {}
    with empty_pods(ROUNDS) as names:
        for command in ("ADD", "DEL"):
            for netns in names:
                for plugin in (ours, theirs):
                    times.setdefault((plugin.name, command), []).append(plugin.call(command, netns))
    rows = []
    for command, limit in (("ADD", 0.6), ("DEL", 0.4)):
        mine, other = Times(times["podway", command]), Times(times["debian", command])
        note = f"podway {mine}, Debian {other}, {ROUNDS} each, in turn"
        rows.append(
            at_most(SECTION, f"{command}, median", mine.median / other.median, limit, "x", note)
        )
        rows.append(at_most(SECTION, f"{command}, p99", mine.p99 / other.p99, limit, "x"))
    return rows


def _at_once(ours: Plugin, theirs: Plugin) -> list[Row]:
    totals: dict[tuple[str, str], float] = {}
    with empty_pods(CONCURRENT) as names:
        for plugin in (ours, theirs):
            for command in ("ADD", "DEL"):
                totals[plugin.name, command] = time_at_once(partial(plugin.call, command), names)
    rows = []
    for command, limit in (("ADD", 0.6), ("DEL", 0.4)):
        mine, other = totals["podway", command], totals["debian", command]
        note = f"podway {mine:.2f} s, Debian {other:.2f} s in total"
        what = f"{CONCURRENT} {command}s, {WORKERS} at a time"
        rows.append(at_most(SECTION, what, mine / other, limit, "x", note))
    return rows


def _crowded(ours: Plugin) -> list[Row]:
    def median(call: Callable[[str], float], names: Sequence[str]) -> float:
        return Times([call(name) for name in names]).median

    # A bridge has 1,023 ports at the most (net/bridge/br_private.h, BR_MAX_PORTS).
    with empty_pods(MANY) as names:
        first = median(lambda name: ours.call("ADD", name), names[:30])
        time_at_once(partial(ours.call, "ADD"), names[30:-30])
        last = median(lambda name: ours.call("ADD", name), names[-30:])
        deleted = median(lambda name: ours.call("DEL", name), names[-30:])
        time_at_once(partial(ours.call, "DEL"), names[:-30])
    note = f"{first * 1e3:.1f} ms on an empty node, {last * 1e3:.1f} ms with {MANY} pods"
    rows = [at_most(SECTION, f"ADD with {MANY:,} pods there", last / first, 1.2, "x", note)]
    what = f"DEL with {MANY:,} pods there"
    return [*rows, Row(section=SECTION, what=what, value=f"{deleted * 1e3:.1f} ms")]
