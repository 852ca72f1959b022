"""``podway lab demo``: podway's main job, from nothing to nothing, with what it does printed.

Three nodes, two pods each; every pod pings every pod; throughput from pod to pod, beside the bare
underlay; the nodes' status. Whatever happens, Ctrl-C too, the lab is gone in the end.
"""

import sys
import time
from typing import Any

from podway.cli.lab_progress import shown
from podway.cli.lab_views import (
    describe_lab,
    lab_fields,
    measurement_fields,
    outcome_fields,
    pod_fields,
    render_matrix,
    render_measurement,
    render_pods,
    render_removed,
)
from podway.cli.output import print_json, style_of
from podway.cli.status_view import render_cluster
from podway.lab.errors import LabExists
from podway.lab.labs import bring_up
from podway.lab.members import end_of, pod_stations
from podway.lab.names import node_name
from podway.lab.ping import Outcome, ping_all
from podway.lab.progress import silent
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec
from podway.lab.state import Pod, natural
from podway.lab.statuses import read_statuses
from podway.lab.teardown import take_down
from podway.lab.throughput import Measurement, measure

PODS_PER_NODE = 2


def run_demo(spec: LabSpec, *, seconds: int, as_json: bool) -> int:
    """Run the demonstration with a lab like *spec*; 1 when any ping fails.

    Raises:
        LabExists: there is such a lab already, which is left alone.
        LabError: the lab could not be made or measured; it is gone all the same.
    """
    scene = _Scene(spec, quiet=as_json)
    try:
        ok = scene.play(seconds)
        scene.end()
    except LabExists:
        raise
    except BaseException:
        take_down(spec.name, silent)
        raise
    if as_json:
        print_json(scene.answer)
    return 0 if ok else 1


class _Scene:
    """The demonstration under way, and what it has found so far (`answer`, for JSON)."""

    def __init__(self, spec: LabSpec, *, quiet: bool) -> None:
        self.spec = spec
        self.quiet = quiet
        self.answer: dict[str, Any] = lab_fields(spec)
        self._style = style_of(sys.stdout)
        self._began = time.monotonic()

    def play(self, seconds: int) -> bool:
        """Do everything but the end; tell whether every ping was answered."""
        self._make()
        pods = self._add_pods()
        ok = self._ping(pods)
        self._measure(pods, seconds)
        self._status()
        return ok

    def end(self) -> None:
        """Remove the lab."""
        self._say("Remove it all")
        began = time.monotonic()
        with shown("podway lab down", quiet=self.quiet) as report:
            removed = take_down(self.spec.name, report)
        took_s = time.monotonic() - began
        self.answer["down_seconds"] = round(took_s, 3)
        self._print(render_removed(removed), f"Down after {took_s:.2f} s.")

    def _make(self) -> None:
        self._say(f"A cluster on this machine: {describe_lab(self.spec)}")
        with shown("podway lab up", quiet=self.quiet) as report:
            bring_up(self.spec, report)

    def _add_pods(self) -> list[Pod]:
        nodes = [node_name(number) for number in self.spec.nodes]
        # Spread in this order, p1 and p2 end up on n1, p3 and p4 on n2.
        names = [
            f"p{place * PODS_PER_NODE + turn + 1}"
            for turn in range(PODS_PER_NODE)
            for place in range(len(nodes))
        ]
        self._say(f"{PODS_PER_NODE} pods on each node, by the CNI plugin")
        pods = add_pods(self.spec, names)
        pods.sort(key=lambda pod: natural(pod.name))
        self.answer["pods"] = [pod_fields(pod) for pod in pods]
        self._print(*render_pods(pods, self._style))
        return pods

    def _ping(self, pods: list[Pod]) -> bool:
        self._say("Every pod pings every pod")
        outcomes: list[Outcome] = ping_all(pod_stations(self.spec, pods))
        took_s = time.monotonic() - self._began
        self.answer["pings"] = [outcome_fields(outcome) for outcome in outcomes]
        self.answer["pinging_after_seconds"] = round(took_s, 3)
        places = {pod.name: f"on {pod.node}" for pod in pods}
        self._print(*render_matrix(outcomes, places, self._style))
        self._print(f"From nothing to here in {took_s:.2f} s.")
        return all(outcome.rtt_ms is not None for outcome in outcomes)

    def _measure(self, pods: list[Pod], seconds: int) -> None:
        self._say("Throughput between two nodes, TCP")
        first = pods[0]
        far = next(pod for pod in pods if pod.node != first.node)
        between_pods = self._measure_one(first.name, far.name, seconds)
        underlay = self._measure_one(first.node, far.node, seconds)
        ratio = between_pods.bits_per_second / underlay.bits_per_second
        self.answer["throughput"] = [
            measurement_fields(measured) for measured in (between_pods, underlay)
        ]
        self._print(f"Pod to pod is {ratio:.2f} times the bare underlay.")

    def _measure_one(self, source: str, target: str, seconds: int) -> Measurement:
        measured = measure(end_of(self.spec, source), end_of(self.spec, target), seconds=seconds)
        self._print(render_measurement(measured, self._style))
        return measured

    def _status(self) -> None:
        self._say("How the nodes are doing")
        statuses, away = read_statuses(self.spec)
        self._print(*render_cluster(statuses, away, self._style))

    def _say(self, text: str) -> None:
        self._print(f"\n{self._style.bold(f'== {text}')}")

    def _print(self, *lines: str) -> None:
        if not self.quiet:
            print("\n".join(lines), flush=True)
