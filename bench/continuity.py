"""Agents and stores come and go while pods ping each other: how many of the pings are lost?

One lab for each store, all at the same time: two nodes with a pod each, IPv4 and IPv6, and pings up
to a hundred times a second each way, without a pause from before the first event until after the
last.
It takes a quarter of an hour and is idle most of the time: stores are away for ten minutes.

Each lab has a thread of its own, which also takes it down. Ctrl-C reaches the main thread alone: it
tells the others, who stop waiting and clear away.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TypeAlias

from msgspec import Struct

from bench.report import Row
from podway.lab import faults
from podway.lab.errors import LabError
from podway.lab.interrupts import uninterrupted
from podway.lab.labs import add_node, bring_up
from podway.lab.members import pod_stations
from podway.lab.names import node_name
from podway.lab.progress import silent
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec, StoreName
from podway.lab.state import read_pods
from podway.lab.statuses import in_order, read_statuses, store_is_away
from podway.lab.steady_pings import Request, SteadyPings, steady_pings
from podway.lab.store_members import find_programs
from podway.lab.stores import data_dir
from podway.lab.teardown import take_down
from podway.model.addresses import Family

SECTION = "Continuity: pings between existing pods while agents and stores come and go"
STORES: tuple[StoreName, ...] = ("hub", "etcd", "kubernetes")
# The etcd of an API server is restored by its own rules, with nodes that are kubelets'.
BACKED_UP = frozenset({"hub", "etcd"})
OUTAGE_S = 600.0
# How long pods go on after all is in order again, within the same event.
AFTERMATH_S = 2.0
TOLD_EVERY_S = 60.0
_PATIENCE_S = 120.0
_POLL_S = 0.1
_LOSSES_SHOWN = 5


class Ended(Exception):  # noqa: N818  (a request, not an accident)
    """The section is to end now."""


class Trial:
    """A lab to which things happen.

    Attributes:
        spec: the lab.
        backup: copy of what its store knew before the second node joined.
    """

    def __init__(self, spec: LabSpec, backup: Path, ended: Event) -> None:
        self.spec = spec
        self.backup = backup
        self._ended = ended

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes."""
        return [node_name(number) for number in self.spec.nodes]

    def say(self, text: str) -> None:
        """Tell how far it has come."""
        print(f"  {self.spec.store:<11} {text}", file=sys.stderr, flush=True)

    def pause(self, seconds: float) -> None:
        """Let *seconds* pass. Raises `Ended`."""
        if self._ended.wait(seconds):
            raise Ended

    def until(self, what: str, holds: Callable[[LabSpec], bool]) -> None:
        """Wait until *holds*; raises `Ended`, and `RuntimeError` when it takes too long."""
        deadline = time.monotonic() + _PATIENCE_S
        while not holds(self.spec):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.spec.store}: {what}: {read_statuses(self.spec)}")
            self.pause(_POLL_S)


Happening: TypeAlias = Callable[[Trial], None]


class Span(Struct, frozen=True, kw_only=True):
    """What was sent while something happened.

    Attributes:
        what: happened.
        first: number of the first request.
        last: number of the first request of what came next.
        took_s: from the end of what was done to the cluster until all was in order.
    """

    what: str
    first: int
    last: int
    took_s: float


def run() -> list[Row]:
    """Measure; return the rows."""
    ended = Event()
    with ThreadPoolExecutor(len(STORES), thread_name_prefix="continuity") as threads:
        try:
            with uninterrupted():
                calls = [threads.submit(_measure, store, ended) for store in STORES]
            done, _ = wait(calls, return_when=FIRST_EXCEPTION)
            for call in done:
                call.result()
        finally:
            ended.set()
    return [row for call in calls for row in call.result()]


def _measure(store: StoreName, ended: Event) -> list[Row]:
    """Return the rows of the lab with *store*."""
    spec = LabSpec(
        name=f"bench{os.getpid()}{store[0]}",
        nodes=(1,),
        families=(Family.IPV4, Family.IPV6),
        store=store,
    )
    try:
        find_programs(spec, os.environ)
    except LabError as reason:
        return [Row(section=SECTION, what=store, value="not measured", note=str(reason))]
    with _trial(spec, ended) as trial:
        pods = pod_stations(trial.spec, read_pods(spec.name))
        with steady_pings(pods) as pings:
            spans = [_happen(trial, pings, *each) for each in _happenings(store)]
    for request in pings.unanswered[:_LOSSES_SHOWN]:
        trial.say(f"lost: {request}")
    return [_row(store, span, pings.unanswered) for span in spans]


@contextmanager
def _trial(spec: LabSpec, ended: Event) -> Iterator[Trial]:
    """Make the lab, with two nodes of which its backup knows one; take it down."""
    with TemporaryDirectory(prefix="podway-bench") as directory:
        backup = Path(directory) / "backup"
        try:
            spec = bring_up(spec, silent)
            if spec.store in BACKED_UP:
                faults.kill_hub(spec)
                shutil.copytree(data_dir(spec), backup)
                faults.start_hub(spec)
            spec = add_node(spec, silent).spec
            add_pods(spec, ["p1", "p2"])
            trial = Trial(spec, backup, ended)
            trial.until("in order before anything happens", in_order)
            yield trial
        finally:
            take_down(spec.name, silent)


def _happenings(store: StoreName) -> list[tuple[str, Happening]]:
    """Return what happens to a lab with *store*, in this order."""
    happenings: list[tuple[str, Happening]] = [
        ("agents killed, started again", partial(_restart_agents, number=signal.SIGKILL)),
        ("agents ended by SIGTERM, started again", partial(_restart_agents, number=signal.SIGTERM)),
        (f"store away for {OUTAGE_S:g} s, an agent restarted meanwhile", _take_store_away),
    ]
    if store in BACKED_UP:
        happenings.append(("store lost, a backup put back, agents restarted", _lose_store))
    return happenings


def _happen(trial: Trial, pings: SteadyPings, what: str, happening: Happening) -> Span:
    """Let something happen, and all be in order again."""
    first = pings.sent
    trial.say(what)
    happening(trial)
    done_s = time.monotonic()
    trial.until(f"in order after: {what}", in_order)
    took_s = time.monotonic() - done_s
    trial.pause(AFTERMATH_S)
    last = pings.sent
    trial.say(f"in order again after {took_s:.1f} s; {last - first:,} pings sent")
    return Span(what=what, first=first, last=last, took_s=took_s)


def _restart_agents(trial: Trial, number: signal.Signals) -> None:
    for node in trial.nodes:
        faults.kill_agent(trial.spec, node, number)
        faults.start_agent(trial.spec, node)


def _take_store_away(trial: Trial) -> None:
    """Take the store away for as long as it should; half-way an agent starts, and finds nobody."""
    gone_s = time.monotonic()
    faults.kill_hub(trial.spec)
    trial.until("agents notice", store_is_away)
    _wait_since(trial, gone_s, OUTAGE_S / 2)
    node = trial.nodes[-1]
    faults.kill_agent(trial.spec, node)
    faults.start_agent(trial.spec, node)
    trial.say(f"agent of {node} restarted without a store")
    _wait_since(trial, gone_s, OUTAGE_S)
    faults.start_hub(trial.spec)


def _wait_since(trial: Trial, gone_s: float, until_s: float) -> None:
    """Wait until *until_s* after *gone_s*, and tell how long it has been."""
    while (left_s := gone_s + until_s - time.monotonic()) > 0:
        trial.pause(min(left_s, TOLD_EVERY_S))
        trial.say(f"store away for {time.monotonic() - gone_s:.0f} of {OUTAGE_S:g} s")


def _lose_store(trial: Trial) -> None:
    """Put the backup in the place of what the store knows; agents start anew after they hear."""
    faults.kill_hub(trial.spec)
    trial.until("agents notice", store_is_away)
    live = data_dir(trial.spec)
    shutil.rmtree(live)
    shutil.copytree(trial.backup, live)
    faults.start_hub(trial.spec)
    trial.until("in order with the backup", in_order)
    _restart_agents(trial, signal.SIGKILL)


def _row(store: StoreName, span: Span, unanswered: list[Request]) -> Row:
    """Return what was lost of what was sent in *span*."""
    lost = sum(span.first <= request.number < span.last for request in unanswered)
    return Row(
        section=SECTION,
        what=f"{store}: {span.what}",
        value=f"{lost:,} of {span.last - span.first:,} lost",
        reach="0 lost",
        reached=lost == 0,
        note=f"in order again after {span.took_s:.1f} s",
    )
