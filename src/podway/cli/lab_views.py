"""What the lab's commands print for people. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import Any, TypeAlias

from podway.cli.output import Style, plural, render_table
from podway.lab.labs import Added
from podway.lab.names import DEFAULT_LAB
from podway.lab.ping import Outcome
from podway.lab.pod_networks import CLUSTER
from podway.lab.specs import LabSpec
from podway.lab.state import Pod
from podway.lab.teardown import Removed
from podway.lab.throughput import Measurement
from podway.model.addresses import Family

FAILURES_SHOWN = 10
# What agents answered to "status", by node.
Statuses: TypeAlias = Mapping[str, Mapping[str, Any]]
_NO_STATUSES: Statuses = MappingProxyType({})


def describe_lab(spec: LabSpec, statuses: Statuses = _NO_STATUSES) -> str:
    """Return what kind of lab it is, in one line; as it is now, where its agents say so."""
    families = " and ".join(family.label for family in spec.families)
    underlay = "routed" if spec.routed_underlay else "flat"
    store = "" if spec.store == "hub" else f", store {spec.store}"
    return (
        f"{plural(len(spec.nodes), 'node')}, {_now(spec.backend, 'backend', statuses)}, "
        f"pods {_now(spec.attach, 'attach', statuses)}, "
        f"{families}, {underlay} underlay{store}"
    )


def lab_command(spec: LabSpec, words: str) -> str:
    """Return the command that does *words* to the lab, to be typed as it stands."""
    name = "" if spec.name == DEFAULT_LAB else f" --name {spec.name}"
    return f"'podway lab{name} {words}'"


def _now(made: str, field: str, statuses: Statuses) -> str:
    """Return what the agents use, who may be told something else since the lab was *made*.

    While they change, some may use one thing and some another.
    """
    used = {status[field]: None for status in statuses.values() if status.get(field)}
    return " and ".join(used) or made


def lab_fields(spec: LabSpec, statuses: Statuses = _NO_STATUSES) -> dict[str, Any]:
    """Return *spec* for JSON, as it is now where the agents say so."""
    return {
        "lab": spec.name,
        "nodes": [f"n{number}" for number in spec.nodes],
        "backend": _now(spec.backend, "backend", statuses),
        "attach": _now(spec.attach, "attach", statuses),
        "families": [family.label for family in spec.families],
        "routed_underlay": spec.routed_underlay,
        "mtu": spec.mtu,
        "store": spec.store,
    }


def render_labs(rows: Sequence[Mapping[str, Any]], style: Style) -> list[str]:
    """Return the table of all labs."""
    if not rows:
        return ["There is no lab. 'podway lab up' makes one."]
    header = ("LAB", "NODES", "PODS", "KIND")
    cells = [
        (
            row["lab"],
            "-" if row["damage"] else str(row["nodes"]),
            "-" if row["damage"] else str(row["pods"]),
            style.bad(row["damage"]) if row["damage"] else row["kind"],
        )
        for row in rows
    ]
    return render_table(header, cells, style)


def pod_fields(pod: Pod) -> dict[str, Any]:
    """Return *pod* for JSON."""
    return {
        "name": pod.name,
        "node": pod.node,
        "addresses": [str(address) for address in pod.addresses],
        "container_id": pod.container_id,
        "network": pod.attachment.network,
        "published": [str(port) for port in pod.attachment.ports],
    }


def render_pods(pods: Sequence[Pod], style: Style) -> list[str]:
    """Return the table of pods."""
    if not pods:
        return ["There is no pod. 'podway lab pod add' makes one."]
    rows = [(pod.name, pod.node, ", ".join(map(str, pod.addresses))) for pod in pods]
    if all(pod.attachment.network == CLUSTER for pod in pods):
        return render_table(("POD", "NODE", "ADDRESSES"), rows, style)
    modes = [_mode(pod) for pod in pods]
    wider = [(*row, mode) for row, mode in zip(rows, modes, strict=True)]
    return render_table(("POD", "NODE", "ADDRESSES", "NETWORK"), wider, style)


def _mode(pod: Pod) -> str:
    """Return the pod's network with what its node publishes, as ``bridge 8080:80/tcp``."""
    return " ".join((pod.attachment.network, *map(str, pod.attachment.ports)))


def render_removed(removed: Removed) -> str:
    """Return what ``down`` did, in one line."""
    if removed.nothing:
        return f"There is no lab {removed.lab!r}; nothing to remove."
    return (
        f"Lab {removed.lab!r} is gone: {plural(len(removed.namespaces), 'namespace')}, "
        f"{plural(removed.processes, 'process')} and {plural(removed.files, 'file')} removed; "
        "nothing is left."
    )


def render_added(added: Added) -> str:
    """Return what ``node add`` did, with a line for each node that has not heard of the new one."""
    but = f" but {', '.join(added.unaware)}" if added.unaware else ""
    lines = [f"{node}: {reason}" for node, reason in added.unaware.items()]
    return "\n".join([f"{added.name} is ready, and known to every node{but}.", *lines])


def outcome_fields(outcome: Outcome) -> dict[str, Any]:
    """Return one ping for JSON."""
    return {
        "from": outcome.source,
        "to": outcome.target,
        "address": str(outcome.address),
        "family": outcome.family.label,
        "rtt_ms": None if outcome.rtt_ms is None else round(outcome.rtt_ms, 3),
        "reason": outcome.reason if outcome.rtt_ms is None else "",
    }


def render_matrix(
    outcomes: Sequence[Outcome], places: Mapping[str, str], style: Style
) -> list[str]:
    """Return a table per family (who pings, across: who is pinged, in ms) and a last line.

    Args:
        outcomes: all pings.
        places: what stands beside a name in the first column: the node of a pod.
        style: marks up failures.
    """
    lines: list[str] = []
    for family in Family:
        chosen = [outcome for outcome in outcomes if outcome.family is family]
        if chosen:
            lines += [*_render_family(family, chosen, places, style), ""]
    return [*lines, *_render_failures(outcomes, style), summarize(outcomes, style)]


def _render_family(
    family: Family, outcomes: Sequence[Outcome], places: Mapping[str, str], style: Style
) -> list[str]:
    cells = {(outcome.source, outcome.target): _cell(outcome, style) for outcome in outcomes}
    sources = list(dict.fromkeys(outcome.source for outcome in outcomes))
    targets = list(dict.fromkeys(outcome.target for outcome in outcomes))
    rows = [
        (
            f"{source} {style.dim(places.get(source, ''))}".rstrip(),
            *(cells[source, target] for target in targets),
        )
        for source in sources
    ]
    return render_table((f"{family.label}, ms", *targets), rows, style, right=True)


def _cell(outcome: Outcome, style: Style) -> str:
    if outcome.rtt_ms is None:
        return style.bad("FAIL")
    return style.good(f"{outcome.rtt_ms:.2f}")


def _render_failures(outcomes: Sequence[Outcome], style: Style) -> list[str]:
    failed = [outcome for outcome in outcomes if outcome.rtt_ms is None]
    if not failed:
        return []
    lines = [
        f"{each.source} -> {each.target} {each.address}: {style.bad(each.reason)}"
        for each in failed[:FAILURES_SHOWN]
    ]
    more = len(failed) - len(lines)
    return [*lines, *([f"and {more} more"] if more else []), ""]


def summarize(outcomes: Sequence[Outcome], style: Style) -> str:
    """Return how many pings were answered, and how fast."""
    times = sorted(outcome.rtt_ms for outcome in outcomes if outcome.rtt_ms is not None)
    count = f"{len(times)} of {plural(len(outcomes), 'ping')} answered"
    if not times:
        return style.bad(count)
    spread = f"{times[0]:.2f} / {median(times):.2f} / {times[-1]:.2f} ms (least / median / most)"
    paint = style.good if len(times) == len(outcomes) else style.bad
    return f"{paint(count)}, {spread}"


def measurement_fields(measured: Measurement) -> dict[str, Any]:
    """Return *measured* for JSON."""
    return {
        "from": measured.source,
        "to": measured.target,
        "address": measured.address,
        "protocol": "UDP" if measured.udp else "TCP",
        "streams": measured.streams,
        "seconds": round(measured.seconds, 2),
        "bits_per_second": round(measured.bits_per_second),
        "retransmits": measured.retransmits,
        "lost_percent": measured.lost_percent,
    }


def render_measurement(measured: Measurement, style: Style) -> str:
    """Return *measured* in one line."""
    protocol = "UDP" if measured.udp else "TCP"
    detail = (
        f"{measured.lost_percent:.2g} % lost"
        if measured.lost_percent is not None
        else f"{measured.retransmits} retransmits"
    )
    rate = style.bold(f"{measured.bits_per_second / 1e9:.2f} Gbit/s")
    return (
        f"{measured.source} -> {measured.target} ({measured.address}): {rate}, {protocol}, "
        f"{plural(measured.streams, 'stream')}, {measured.seconds:.1f} s, {detail}"
    )
