"""``python -m podway.cli.manual DIR``: write the man pages, podway.1 and one for each command.

They say what ``--help`` says, since both come from the same parsers. Needs argparse-manpage, which
is a tool of developers and packagers; nothing else here imports it. What parsers say last it leaves
out where a command has commands, and fills where lines matter: here that becomes NOTES.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from argparse_manpage.manpage import Manpage

from podway import __version__
from podway.cli.commands import COMMANDS
from podway.cli.main import build_parser, command_parsers

SUMMARY = "Kubernetes and container networking"
_COLUMNS = 84


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
    others = [f"podway-{name}" for name in helps]
    pages = {"podway.1": _without_commands(_render(build_parser([]), SUMMARY, others))}
    for name, parser in command_parsers().items():
        pages[f"podway-{name}.1"] = _render(parser, helps[name], ["podway"])
    return pages


def _render(parser: argparse.ArgumentParser, summary: str, others: list[str]) -> str:
    for child in _commands_of(parser):
        child.description = "\n\n".join(filter(None, (child.description, child.epilog)))
    notes, parser.epilog = parser.epilog, None
    page = Manpage(parser)
    page.prog = parser.prog.replace(" ", "-")
    page.description = summary
    page.manual = "podway"
    page.source = f"podway {__version__}"
    if notes:
        page.add_section("notes", "=", _paragraphs(notes))
    page.add_section("see also", "=", ", ".join(rf"\fB{_escaped(other)}\fR(1)" for other in others))
    return str(page)


def _commands_of(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all commands below *parser*."""
    for action in parser._actions:  # noqa: SLF001  (it has no public name)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                yield child
                yield from _commands_of(child)


def _paragraphs(text: str) -> str:
    """Return *text* in roff: its lines stay as they are, long ones are paragraphs."""
    lines = text.strip("\n").splitlines()
    kept = [line for line in lines if len(line) <= _COLUMNS]
    filled = [part for line in lines if len(line) > _COLUMNS for part in (_escaped(line), ".P")]
    return "\n".join([*filled, ".nf", *map(_escaped, kept), ".fi"])


def _escaped(line: str) -> str:
    """Return *line* as text: roff takes . and ' at its start for a command (groff(7))."""
    escaped = line.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped[:1] in {".", "'"} else escaped


def _without_commands(page: str) -> str:
    """Return *page* without a section per command: each has a page of its own."""
    return re.sub(r"(?ms)^\.SH COMMAND \\fI.*?(?=^\.SH NOTES)", "", page)


if __name__ == "__main__":
    sys.exit(main())
