"""``podway status``: how this node is doing, on one screen."""

import argparse
import sys
import time

from podway.cli.agents import add_agent, ask_agent
from podway.cli.arguments import add_json
from podway.cli.output import print_json, style_of
from podway.cli.status_view import render_status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of ``podway status``."""
    parser.epilog = "Exit code 1 when the node is not ready."
    add_agent(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the agent and print its answer; 1 when the node is not ready."""
    status = ask_agent(args, "status")
    if args.json:
        print_json(status)
    else:
        print("\n".join(render_status(status, style_of(sys.stdout), time.time())))
    return 0 if status["ready"] else 1
