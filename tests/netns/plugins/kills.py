"""Kills a plugin at each of its system calls in turn; DEL and GC must then leave nothing.

In: a list of plugins as a runtime would call it, and which of them is to die. Out: an assertion
that fails with the point at which something was left. For the tests of every plugin::

    @pytest.mark.parametrize("command", ["ADD", "DEL"])
    def test_killed_at_any_point(command: str, runtime: Runtime, pod: Netns) -> None:
        kill_everywhere(Victim(runtime, pod, (bridge(runtime), portmap()), number=1), command)

A first call is recorded by strace; then each system call after the configuration was read is a
point, at which a further call is killed, before the kernel does it. Between two calls that change
something all points are the same to anybody else, so one of each is tried, and of those a sample
that takes a second or two; with ``every_change=True`` all of them. ``PODWAY_KILLS=changes`` is that
for every test, ``PODWAY_KILLS=all`` tries every system call whatever it is (a minute for `bridge`).

What is compared is the state before, when the same list had been added and deleted once: devices
in both namespaces, qdiscs, rules, files of IPAM, and what the caller adds (`Victim.more`).
"""

import json
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netns.conftest import Netns
from netns.plugins.cni_runtime import Document, Outcome, Runtime, with_previous

# How many points of a sample.
SAMPLE: Final = 12
# How often a call is recorded; the shortest record is that of a call that waited for nothing.
RECORDS: Final = 2
MODE: Final = os.environ.get("PODWAY_KILLS", "")
# System calls that change what others see. Of openat only those that make a file.
CHANGES: Final = frozenset(
    {
        *("sendto", "sendmsg", "write", "writev", "pwrite64", "ftruncate", "ioctl", "setns"),
        *("unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat"),
        *("symlink", "symlinkat", "mkdir", "mkdirat", "utimensat", "fchmod", "fchmodat", "chmod"),
        *("fork", "vfork", "clone", "clone3", "setxattr", "exit_group"),
    }
)
_CALL: Final = re.compile(r"^(\d+) +([a-z0-9_]+)\((.*)")
_KILLED: Final = {-signal.SIGKILL, 128 + signal.SIGKILL}
# Of what nft prints: counters, and handles, which grow.
_COUNTERS: Final = re.compile(r"counter packets \d+ bytes \d+")


@dataclass(frozen=True)
class Victim:
    """A list of plugins, one of which is killed.

    Attributes:
        runtime: calls them.
        pod: the container's namespace.
        plugins: configurations of one network, in the order of the list.
        number: position of the one that is killed.
        more: returns what else must be as before.
        args: CNI_ARGS.
    """

    runtime: Runtime
    pod: Netns
    plugins: tuple[Document, ...]
    number: int = 0
    more: Callable[[], object] = lambda: None
    args: str = ""

    def add(self, count: int) -> Document | None:
        """Call ADD of the first *count* plugins, which must succeed; return the last result."""
        result: Document | None = None
        for config in self.plugins[:count]:
            outcome = self._call("ADD", _told(config, result))
            assert outcome.code == 0, outcome
            result = outcome.document
        return result

    def delete(self, result: Document | None) -> None:
        """Call DEL of all plugins, last first; each must succeed."""
        for config in reversed(self.plugins):
            outcome = self._call("DEL", _told(config, result))
            assert outcome.code == 0, outcome

    def collect(self) -> None:
        """Call GC of all plugins; no attachment is valid."""
        for config in self.plugins:
            outcome = self._call("GC", {**config, "cni.dev/valid-attachments": []})
            assert outcome.code == 0, outcome

    def state(self) -> object:
        """Return what must be the same whenever nothing is attached."""
        host = self.runtime.host
        files = sorted(
            str(path.relative_to(self.runtime.directory))
            for path in self.runtime.directory.rglob("*")
            if not path.name.startswith("index.podway")
        )
        rules = _COUNTERS.sub("counter", host.exec("nft", "list", "ruleset"))
        qdiscs = [
            (each["kind"], each["dev"]) for each in json.loads(host.exec("tc", "-j", "qdisc"))
        ]
        devices = [_devices(host), _devices(self.pod)]
        return {
            "devices": devices,
            "qdiscs": qdiscs,
            "rules": rules.splitlines(),
            "files": files,
            "more": self.more(),
        }

    def strace(self, command: str, result: Document | None, *options: str) -> int:
        """Run the victim under strace; return its exit code."""
        config = self.plugins[self.number]
        done = subprocess.run(
            [
                "nsenter", f"--net={self.runtime.host.path}", "strace", "-f", "-qq",
                *options, self.runtime.executables / config["type"],
            ],
            input=json.dumps(_told(config, result)).encode(),
            env={
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": "c1",
                "CNI_NETNS": self.pod.path,
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(self.runtime.executables),
                "PATH": os.environ["PATH"],
                "CNI_ARGS": self.args,
            },
            capture_output=True,
            check=False,
            timeout=60,
        )  # fmt: skip
        assert done.returncode in {0, *_KILLED}, done
        return done.returncode

    def _call(self, command: str, config: Document) -> Outcome:
        return self.runtime.call(command, config, self.pod, args=self.args)


@dataclass(frozen=True)
class Point:
    """A system call of the victim's process: the how manieth of its name.

    Attributes:
        name: of the system call.
        ordinal: counted from 1 for each name, from the start of the process.
        changes: it changes what others see.
    """

    name: str
    ordinal: int
    changes: bool


def kill_everywhere(
    victim: Victim,
    command: str,
    *,
    every_change: bool = False,
    sample: int = SAMPLE,
    records: int = RECORDS,
) -> None:
    """Kill *command* of the victim at each point in turn; see that DEL and GC leave nothing.

    Args:
        victim: what is called.
        command: ADD or DEL.
        every_change: try every point after which something may have changed, not a sample.
        sample: how many points that has.
        records: how often the call is recorded.
    """
    before = victim.number if command == "ADD" else len(victim.plugins)
    victim.delete(victim.add(len(victim.plugins)))
    victim.collect()
    expected = victim.state()
    # How often something is looked for until it is there differs from call to call.
    recorded = [_record(victim, command, before) for _ in range(records)]
    points = _choose(min(recorded, key=len), sample, every_change=every_change)
    killed = 0
    for point in points:
        result = victim.add(before)
        inject = f"--inject={point.name}:signal=KILL:when={point.ordinal}"
        killed += victim.strace(command, result, "-o", "/dev/null", inject) != 0
        victim.delete(result)
        victim.collect()
        assert victim.state() == expected, point
    assert killed > len(points) // 2, f"only {killed} of {len(points)} calls were killed"


def parse_trace(lines: Sequence[str]) -> list[Point]:
    """Return the points of a process, from where it has read standard input.

    Args:
        lines: of ``strace -f``; the first one is of the process.
    """
    process = lines[0].split(maxsplit=1)[0]
    counts: Counter[str] = Counter()
    points: list[Point] = []
    has_read = False
    for line in lines:
        call = _CALL.match(line)
        if call is None or call[1] != process:
            continue
        name, arguments = call[2], call[3]
        counts[name] += 1
        if has_read:
            changes = name in CHANGES or (name == "openat" and "O_CREAT" in arguments)
            points.append(Point(name, counts[name], changes))
        has_read = has_read or (name == "read" and arguments.startswith("0,"))
    return points


def _record(victim: Victim, command: str, before: int) -> list[Point]:
    """Return the points of one call; what it made is deleted."""
    result = victim.add(before)
    trace = victim.runtime.directory / "trace"
    try:
        code = victim.strace(command, result, "-o", str(trace))
        assert code == 0
        victim.delete(None)
        return parse_trace(trace.read_text(encoding="utf-8", errors="replace").splitlines())
    finally:
        Path(trace).unlink(missing_ok=True)


def _choose(points: Sequence[Point], sample: int, *, every_change: bool) -> Sequence[Point]:
    """Return the points to try; the first and the last are always among them."""
    if MODE == "all":
        return points
    changing = [point for point in points if point.changes]
    if every_change or MODE == "changes" or len(changing) <= sample:
        return changing
    last = len(changing) - 1
    return [changing[round(n * last / (sample - 1))] for n in range(sample)]


def _told(config: Document, result: Document | None) -> Document:
    return config if result is None else with_previous(config, result)


def _devices(netns: Netns) -> list[str]:
    return sorted(link["ifname"] for link in json.loads(netns.ip("-j", "link")))
