"""Show what the lab is doing while it does it: a spinner on a terminal, plain lines elsewhere.

Progress goes to stderr, so that what a command prints on stdout is its answer alone.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from podway.cli.output import style_of
from podway.lab.progress import Report, silent


@contextmanager
def shown(title: str, *, quiet: bool) -> Iterator[Report]:
    """Give a `Report` that shows each step below *title*; nothing when *quiet*."""
    if quiet:
        yield silent
    elif sys.stderr.isatty():
        with _spinner(title) as report:
            yield report
    else:
        print(title, file=sys.stderr)
        yield _print_step


@contextmanager
def _spinner(title: str) -> Iterator[Report]:
    from rich.console import Console  # noqa: PLC0415  (only for a terminal)

    console = Console(stderr=True, highlight=False)
    style = style_of(sys.stderr)
    with console.status(title):

        def report(member: str, text: str) -> None:
            console.print(f"  {style.dim(f'{member:<8}')} {text}", markup=False)

        yield report


def _print_step(member: str, text: str) -> None:
    print(f"  {member:<8} {text}", file=sys.stderr)
