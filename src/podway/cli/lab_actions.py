"""What the commands of ``podway lab`` do: call the lab, print its answer, give an exit code."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from podway.cli.lab_demo import run_demo
from podway.cli.lab_progress import shown
from podway.cli.lab_views import (
    describe_lab,
    lab_command,
    lab_fields,
    measurement_fields,
    pod_fields,
    render_added,
    render_labs,
    render_measurement,
    render_pods,
    render_removed,
)
from podway.cli.output import print_done, print_json, style_of
from podway.cli.status_view import render_cluster
from podway.errors import ArgumentError
from podway.lab.errors import LabError
from podway.lab.labs import (
    add_node,
    bring_up,
    remove_node,
    warning_of,
)
from podway.lab.members import (
    end_of,
)
from podway.lab.names import DEFAULT_LAB, check_lab_name
from podway.lab.pod_networks import parse_attachment
from podway.lab.runtime import add_pods, check_pod, free_names, remove_pods
from podway.lab.specs import MAX_NODES, LabSpec, check_spec
from podway.lab.state import locked, read_pod, read_pods, read_spec
from podway.lab.statuses import read_statuses
from podway.lab.teardown import all_labs, take_down
from podway.lab.throughput import measure
from podway.model.addresses import Family

MAX_WAIT_S = 3600
MAX_SECONDS = 3600


def up(args: argparse.Namespace) -> int:
    """Make a lab."""
    spec = spec_from(args, args.lab, args.nodes)
    began = time.monotonic()
    with shown(f"making lab {spec.name!r}", quiet=args.json) as report:
        bring_up(spec, report)
    took_s = time.monotonic() - began
    warning = warning_of(spec)
    if args.json:
        print_json({**lab_fields(spec), "seconds": round(took_s, 3), "warning": warning})
    else:
        if warning:
            print(style_of(sys.stdout).warn(f"Warning: {warning}."))
        print(f"Lab {spec.name!r} is up after {took_s:.2f} s: {describe_lab(spec)}.")
        print(f"Next: {lab_command(spec, 'pod add --count 6')}, then {lab_command(spec, 'ping')}")
    return 0


def spec_from(args: argparse.Namespace, name: str, nodes: int) -> LabSpec:
    """Return the lab that the arguments ask for. Raises `ConfigError` for an impossible one."""
    if not 1 <= nodes <= MAX_NODES:
        raise ArgumentError("--nodes", nodes, f"must be 1 to {MAX_NODES}")
    if args.kube_apiserver and args.store != "kubernetes":
        rule = "goes with --store kubernetes alone"
        raise ArgumentError("--kube-apiserver", args.kube_apiserver, rule)
    families: tuple[Family, ...] = (Family.IPV4,)
    if args.ipv6:
        families = (Family.IPV6,)
    elif args.dual:
        families = (Family.IPV4, Family.IPV6)
    return check_spec(
        LabSpec(
            name=name,
            nodes=tuple(range(1, nodes + 1)),
            backend=args.backend,
            attach=args.attach,
            families=families,
            routed_underlay=args.routed_underlay,
            mtu=args.mtu,
            store=args.store,
            kube_apiserver=args.kube_apiserver,
        )
    )


def down(args: argparse.Namespace) -> int:
    """Remove a lab, or all."""
    names = all_labs() if args.all else [check_lab_name(args.lab)]
    removed = []
    for name in names:
        with shown(f"removing lab {name!r}", quiet=args.json) as report:
            removed.append(take_down(name, report))
    if args.json:
        print_json({"removed": [_removed_fields(each) for each in removed]})
    else:
        print("\n".join(map(render_removed, removed)) or "There is no lab; nothing to remove.")
    return 0


def _removed_fields(removed: Any) -> dict[str, Any]:
    return {
        "lab": removed.lab,
        "namespaces": list(removed.namespaces),
        "processes": removed.processes,
        "files": removed.files,
    }


def list_labs(args: argparse.Namespace) -> int:
    """List the labs."""
    rows = [_lab_row(name) for name in all_labs()]
    if args.json:
        print_json({"labs": rows})
    else:
        print("\n".join(render_labs(rows, style_of(sys.stdout))))
    return 0


def _lab_row(name: str) -> dict[str, Any]:
    try:
        spec = read_spec(name)
        pods = len(read_pods(name))
    except LabError as error:
        return {"lab": name, "nodes": 0, "pods": 0, "kind": "", "damage": str(error)}
    kind = describe_lab(spec, read_statuses(spec)[0])
    return {"lab": name, "nodes": len(spec.nodes), "pods": pods, "kind": kind, "damage": ""}


def status(args: argparse.Namespace) -> int:
    """Show all nodes; 1 when one is not ready."""
    spec = read_spec(args.lab)
    statuses, away = read_statuses(spec)
    if args.json:
        print_json({**lab_fields(spec, statuses), "status": statuses, "away": away})
    else:
        style = style_of(sys.stdout)
        print(f"lab {style.bold(repr(spec.name))}: {describe_lab(spec, statuses)}\n")
        print("\n".join(render_cluster(statuses, away, style)))
    return 1 if away or not all(status["ready"] for status in statuses.values()) else 0


def iperf(args: argparse.Namespace) -> int:
    """Measure between two pods or nodes."""
    if not 1 <= args.streams <= 128:
        raise ArgumentError("--streams", args.streams, "must be 1 to 128")
    _check_seconds(args.seconds)
    spec = read_spec(args.lab)
    measured = measure(
        end_of(spec, args.source),
        end_of(spec, args.target),
        seconds=args.seconds,
        streams=args.streams,
        udp=args.udp,
    )
    if args.json:
        print_json(measurement_fields(measured))
    else:
        print(render_measurement(measured, style_of(sys.stdout)))
    return 0


def _check_seconds(seconds: int) -> None:
    if not 1 <= seconds <= MAX_SECONDS:
        raise ArgumentError("--seconds", seconds, f"must be 1 to {MAX_SECONDS}")


def pod_add(args: argparse.Namespace) -> int:
    """Add pods."""
    if not 1 <= args.count <= 1000 or (args.pod and args.count != 1):
        rule = "must be 1 to 1000, and 1 with --name"
        raise ArgumentError("--count", args.count, rule)
    attachment = parse_attachment(args.network, args.publish)
    with locked(args.lab):
        spec = read_spec(args.lab)
        names = [args.pod] if args.pod else free_names(read_pods(spec.name), args.count)
        pods = add_pods(spec, names, args.node, attachment)
    return _print_pods(args, pods)


def pod_remove(args: argparse.Namespace) -> int:
    """Remove pods."""
    with locked(args.lab):
        spec = read_spec(args.lab)
        pods = [read_pod(spec.name, name) for name in dict.fromkeys(args.pods)]
        remove_pods(spec, pods)
    names = [pod.name for pod in pods]
    return print_done(args, {"removed": names}, f"Removed {', '.join(names)}.")


def pod_check(args: argparse.Namespace) -> int:
    """Call the plugin's CHECK."""
    spec = read_spec(args.lab)
    pods = [read_pod(spec.name, name) for name in args.pods] or read_pods(spec.name)
    for pod in pods:
        check_pod(spec, pod)
    names = [pod.name for pod in pods]
    text = f"{', '.join(names)}: as the plugin made them." if names else "There is no pod."
    return print_done(args, {"checked": names}, text)


def pod_list(args: argparse.Namespace) -> int:
    """List the pods."""
    return _print_pods(args, read_pods(read_spec(args.lab).name))


def _print_pods(args: argparse.Namespace, pods: Sequence[Any]) -> int:
    if args.json:
        print_json({"pods": [pod_fields(pod) for pod in pods]})
    else:
        print("\n".join(render_pods(pods, style_of(sys.stdout))))
    return 0


def node_add(args: argparse.Namespace) -> int:
    """Add a node."""
    with (
        locked(args.lab),
        shown(f"adding a node to lab {args.lab!r}", quiet=args.json) as report,
    ):
        added = add_node(read_spec(args.lab), report)
    away = dict(added.unaware)
    return print_done(args, {"added": added.name, "away": away}, render_added(added))


def node_remove(args: argparse.Namespace) -> int:
    """Remove a node."""
    with locked(args.lab):
        remove_node(read_spec(args.lab), args.node)
    return print_done(args, {"removed": args.node}, f"{args.node} and its pods are gone.")


def demo(args: argparse.Namespace) -> int:
    """Show it all."""
    _check_seconds(args.seconds)
    name = args.lab if args.lab != DEFAULT_LAB else "demo"
    return run_demo(spec_from(args, name, 3), seconds=args.seconds, as_json=args.json)
