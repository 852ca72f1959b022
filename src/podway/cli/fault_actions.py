"""What ``podway lab fault ...`` does: break the lab or mend it, and say what was done."""

import argparse
from collections.abc import Callable

import msgspec

from podway.cli.kernel_objects import describe_object
from podway.cli.lab_progress import shown
from podway.cli.output import print_done
from podway.lab import faults
from podway.lab.specs import LabSpec
from podway.lab.state import locked, read_spec
from podway.model.kernel import KernelObject


def link_down(args: argparse.Namespace) -> int:
    """Set the uplink down."""
    return _fault(args, lambda spec: faults.link_down(spec, args.node), "its uplink is down")


def link_up(args: argparse.Namespace) -> int:
    """Set the uplink up."""
    return _fault(args, lambda spec: faults.link_up(spec, args.node), "its uplink is up")


def pull_cable(args: argparse.Namespace) -> int:
    """Take the carrier away."""
    return _fault(args, lambda spec: faults.pull_cable(spec, args.node), "it has no carrier")


def kill_agent(args: argparse.Namespace) -> int:
    """End the agent."""
    return _fault(args, lambda spec: faults.kill_agent(spec, args.node), "its agent is dead")


def start_agent(args: argparse.Namespace) -> int:
    """Start the agent."""
    return _fault(args, lambda spec: faults.start_agent(spec, args.node), "its agent is ready")


def kill_hub(args: argparse.Namespace) -> int:
    """End the hub."""
    return _fault(args, faults.kill_hub, "the hub is dead")


def start_hub(args: argparse.Namespace) -> int:
    """Start the hub."""
    return _fault(args, faults.start_hub, "the hub is ready")


def partition(args: argparse.Namespace) -> int:
    """Cut nodes off."""
    nodes = ", ".join(args.nodes)
    return _fault(
        args,
        lambda spec: faults.partition(spec, args.nodes),
        f"{nodes}: cut off from all others and the hub",
    )


def delete_route(args: argparse.Namespace) -> int:
    """Delete routes."""
    return _delete(args, lambda spec: faults.delete_route(spec, args.node, args.dst))


def flush(args: argparse.Namespace) -> int:
    """Delete what podway has."""
    return _delete(args, lambda spec: faults.flush(spec, args.node))


def heal(args: argparse.Namespace) -> int:
    """Undo what podway cannot."""
    with locked(args.lab), shown(f"healing lab {args.lab!r}", quiet=args.json) as report:
        done = faults.heal(read_spec(args.lab), report)
    text = "\n".join((*done, "Every cable is in, every program runs."))
    return print_done(args, {"healed": done}, text)


def _fault(args: argparse.Namespace, inflict: Callable[[LabSpec], None], text: str) -> int:
    with locked(args.lab):
        inflict(read_spec(args.lab))
    shown_text = f"{args.node}: {text}" if hasattr(args, "node") else text
    return print_done(args, {"fault": shown_text}, shown_text)


def _delete(args: argparse.Namespace, delete: Callable[[LabSpec], list[KernelObject]]) -> int:
    with locked(args.lab):
        deleted = [
            describe_object(str(item.key), msgspec.to_builtins(item, enc_hook=str))
            for item in delete(read_spec(args.lab))
        ]
    text = "\n".join(f"- {each}" for each in deleted)
    return print_done(args, {"deleted": deleted}, f"{text}\nThe agent puts them back.")
