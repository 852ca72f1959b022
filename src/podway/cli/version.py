"""``podway version``: what to write into a report of a fault."""

import argparse
import platform

from podway import __version__
from podway.cli.arguments import add_json
from podway.cli.output import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of ``podway version``."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print podway's version, and what it runs on."""
    answer = {
        "podway": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
    }
    if args.json:
        print_json(answer)
    else:
        print("  ".join(f"{name} {value}" for name, value in answer.items()))
    return 0
