"""What tests of labs look with: leftovers, pings, the command line as a user runs it, waiting."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from podway.lab.members import pod_stations
from podway.lab.names import LABS_DIR, NETNS_DIR, namespace_of
from podway.lab.namespaces import inode_of
from podway.lab.ping import Outcome, Station, ping_all
from podway.lab.processes import processes_in
from podway.lab.specs import LabSpec
from podway.lab.state import read_pods
from podway.lab.statuses import read_statuses
from podway.lab.steady_pings import steady_pings
from podway.model.addresses import Family

PODWAY = (sys.executable, "-m", "podway.cli")
DUAL = (Family.IPV4, Family.IPV6)
LEAST_PINGS = 1000


def leftovers(name: str) -> list[str]:
    """Return all that there is of the lab *name*: found without the code under test."""
    namespaces = [path.name for path in NETNS_DIR.glob(f"{namespace_of(name, '')}*")]
    files = [str(path) for path in LABS_DIR.glob(f"{name}*")]
    mark = f"{LABS_DIR / name}/".encode()
    processes = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if mark in command:
            processes.append(f"{path.parent.name} {command!r}")
    return [*namespaces, *files, *processes]


def run_podway(name: str, *words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run ``podway lab --name NAME *words*`` as a user does."""
    command = [*PODWAY, "lab", "--name", name, *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def podway_json(name: str, *words: str) -> Any:
    """Run the same with ``--json``, which must succeed; return what it prints."""
    done = run_podway(name, *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def eventually(what: str, holds: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Wait until *holds*; fail after *timeout_s*, which is generous: it bounds, it measures not."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not after {timeout_s} s: {what}")
        time.sleep(0.02)


def all_use(spec: LabSpec, backend: str) -> bool:
    """Tell whether every node is ready, uses *backend*, and has every other one programmed."""
    statuses, away = read_statuses(spec)
    return not away and all(
        status["ready"]
        and status["backend"] == backend
        and all(peer["state"] == "programmed" for peer in status["peers"])
        for status in statuses.values()
    )


def unanswered(
    spec: LabSpec, *others: Station, timeout_s: float = 2.0, payload_bytes: int = 56
) -> list[Outcome]:
    """Ping from all pods to all pods and to *others*; return what there is no answer to."""
    pods = pod_stations(spec, read_pods(spec.name))
    outcomes = ping_all(pods, [*pods, *others], timeout_s=timeout_s, payload_bytes=payload_bytes)
    return [each for each in outcomes if each.rtt_ms is None]


@contextmanager
def nothing_lost(spec: LabSpec) -> Iterator[None]:
    """Ping between all pods while the body runs, and check that all was answered."""
    with steady_pings(pod_stations(spec, read_pods(spec.name))) as pings:
        eventually("pings are under way", lambda: pings.sent > LEAST_PINGS / 10)
        yield
        eventually("there were enough of them", lambda: pings.sent > LEAST_PINGS)
    assert pings.unanswered == []


def processes_on(spec: LabSpec, node: str, word: str) -> set[int]:
    """Return the processes on *node* that have *word* in their command line."""
    found = processes_in({inode_of(namespace_of(spec.name, node))})
    return {each.pid for each in found if word.encode() in cmdline(each.pid)}


def cmdline(pid: int) -> bytes:
    """Return the arguments of the process *pid*; b"" when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
