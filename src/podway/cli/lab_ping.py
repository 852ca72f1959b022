"""``podway lab ping``: every pod pings every pod, once as a matrix, or for a while without a pause.

In: which lab, whom, how long. Out: a table, and an exit code of 1 when any ping was not answered.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from podway.cli.lab_progress import shown
from podway.cli.lab_views import lab_command, outcome_fields, render_matrix
from podway.cli.output import print_json, style_of
from podway.cli.steady_view import find_silences, render_steady, steady_fields
from podway.errors import ArgumentError
from podway.lab.errors import NoSuchLab
from podway.lab.members import node_stations, pod_stations, reachable
from podway.lab.ping import Station, ping_all
from podway.lab.state import Pod, read_pods, read_spec
from podway.lab.steady_pings import steady_pings

MAX_WAIT_S = 3600
MAX_STEADY_S = 86400


def ping(args: argparse.Namespace) -> int:
    """Ping the full matrix; 1 when any ping fails."""
    _check(args)
    spec = read_spec(args.lab)
    pods = [] if args.nodes else reachable(read_pods(spec.name))
    stations = node_stations(spec) if args.nodes else pod_stations(spec, pods)
    if not stations:
        raise NoSuchLab(f"there is no pod to ping; make some with {lab_command(spec, 'pod add')}")
    named = _named(stations, args.members)
    return _once(args, named, pods) if args.seconds is None else _for_a_while(args, named)


def _check(args: argparse.Namespace) -> None:
    if not 0 <= args.size <= 65000:
        raise ArgumentError("--size", args.size, "must be 0 to 65000 bytes")
    if not 0 < args.timeout <= MAX_WAIT_S:
        raise ArgumentError("--timeout", args.timeout, f"must be above 0, to {MAX_WAIT_S} seconds")
    if args.seconds is not None and not 0 < args.seconds <= MAX_STEADY_S:
        rule = f"must be above 0, to {MAX_STEADY_S} seconds"
        raise ArgumentError("--for", args.seconds, rule)


def _once(args: argparse.Namespace, stations: Sequence[Station], pods: Sequence[Pod]) -> int:
    outcomes = ping_all(stations, timeout_s=args.timeout, payload_bytes=args.size)
    if args.json:
        print_json({"pings": [outcome_fields(outcome) for outcome in outcomes]})
    else:
        places = {pod.name: f"on {pod.node}" for pod in pods}
        print("\n".join(render_matrix(outcomes, places, style_of(sys.stdout))))
    return 0 if all(outcome.rtt_ms is not None for outcome in outcomes) else 1


def _for_a_while(args: argparse.Namespace, stations: Sequence[Station]) -> int:
    """Ping without a pause until the time is over, or Ctrl-C says that it was enough."""
    if len(stations) == 1:
        raise NoSuchLab(f"{stations[0].name} has nobody to ping")
    names = {str(address): each.name for each in stations for address in each.addresses}
    began_s = time.monotonic()
    title = f"pinging for {args.seconds:g} s; Ctrl-C ends it and shows what was lost"
    with (
        steady_pings(stations, payload_bytes=args.size, patience_s=args.timeout) as pings,
        shown(title, quiet=args.json),
        suppress(KeyboardInterrupt),
    ):
        time.sleep(args.seconds)
    seconds = min(args.seconds, time.monotonic() - began_s)
    silences = find_silences(pings.unanswered, names)
    if args.json:
        print_json(steady_fields(pings.sent, seconds, silences))
    else:
        print("\n".join(render_steady(pings.sent, seconds, silences, style_of(sys.stdout))))
    return 1 if silences else 0


def _named(stations: Sequence[Station], names: Sequence[str]) -> list[Station]:
    """Return those of *stations* that are called so, in the order named; all where none is."""
    known = {station.name: station for station in stations}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise NoSuchLab(f"{unknown[0]} is none of those who can be pinged: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(stations)
