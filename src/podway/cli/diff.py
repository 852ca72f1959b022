"""``podway diff``: what the agent would write into the kernel now, like a plan."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from podway.cli.agents import add_agent, ask_agent
from podway.cli.arguments import add_json
from podway.cli.kernel_objects import describe_object
from podway.cli.output import Style, plural, print_json, style_of

SIGNS = {"create": "+", "change": "~", "delete": "-"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of ``podway diff``."""
    parser.epilog = "+ is made, ~ is changed, - is removed. Exit code 1 when anything differs."
    add_agent(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the agent and print the plan; 1 when it is not empty, as diff does."""
    answer = ask_agent(args, "diff", timeout_s=30.0)
    operations: Sequence[Mapping[str, Any]] = answer["operations"]
    if args.json:
        print_json(answer)
    else:
        print("\n".join(render_diff(operations, style_of(sys.stdout))))
    return 1 if operations else 0


def render_diff(operations: Sequence[Mapping[str, Any]], style: Style) -> list[str]:
    """Return the lines of a plan: one per object, below a change what it changes."""
    if not operations:
        return ["The kernel holds exactly what it should."]
    count = plural(len(operations), "object")
    return [
        *(line for operation in operations for line in _render_operation(operation, style)),
        "",
        f"{count} to write; the agent does so by itself.",
    ]


def _render_operation(operation: Mapping[str, Any], style: Style) -> list[str]:
    paint = {"create": style.good, "change": style.warn, "delete": style.bad}
    verb = str(operation["verb"])
    has, shall = operation["observed"] or {}, operation["desired"] or {}
    shown = describe_object(operation["object"], shall or has)
    line = paint[verb](f"{SIGNS[verb]} {shown}")
    if verb != "change":
        return [line]
    return [
        line,
        *(
            style.dim(f"    {field}: {has.get(field)} -> {value}")
            for field, value in shall.items()
            if value != has.get(field)
        ),
    ]
