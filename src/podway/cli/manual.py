"""``python -m podway.cli.manual DIR``: write the man pages, podway.1 and one for each command.

They say what ``--help`` says, since both come from the same parsers. Needs argparse-manpage, which
is a tool of developers and packagers; nothing else here imports it.
"""

import argparse
import sys
from pathlib import Path

from argparse_manpage.manpage import Manpage

from podway import __version__
from podway.cli.commands import COMMANDS
from podway.cli.main import build_parser, command_parsers

SUMMARY = "Kubernetes and container networking"


def main() -> int:
    """Write all pages into the directory that is named on the command line."""
    if len(sys.argv) != 2:
        print("usage: python -m podway.cli.manual DIR", file=sys.stderr)
        return 2
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in render_pages().items():
        (directory / name).write_text(text, encoding="utf-8")
        print(directory / name)
    return 0


def render_pages() -> dict[str, str]:
    """Return the text of every page, by the name of its file."""
    helps = {command.name: command.help for command in COMMANDS}
    pages = {"podway.1": _render(build_parser([]), SUMMARY)}
    for name, parser in command_parsers().items():
        pages[f"podway-{name}.1"] = _render(parser, helps[name])
    return pages


def _render(parser: argparse.ArgumentParser, summary: str) -> str:
    page = Manpage(parser)
    page.prog = parser.prog.replace(" ", "-")
    page.description = summary
    page.manual = "podway"
    page.source = f"podway {__version__}"
    return str(page)


if __name__ == "__main__":
    sys.exit(main())
