"""Arguments that commands share, and a parser whose complaints say what to do."""

import argparse
import difflib
import re
import textwrap
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

Run: TypeAlias = Callable[[argparse.Namespace], int]
Group: TypeAlias = "argparse._SubParsersAction[Any]"  # noqa: SLF001  (it has no public name)
# argparse has no other place for it than the text of its own error.
_INVALID_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


_COMMAND = "COMMAND"
_NO_COMMAND = f"the following arguments are required: {_COMMAND}"


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps line breaks of descriptions and epilogs, and folds lines that are longer than wide."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = (textwrap.fill(line, width) for line in text.splitlines())
        return textwrap.indent("\n".join(lines), indent)


class CommandParser(argparse.ArgumentParser):
    """An argument parser that keeps line breaks, never abbreviates, and suggests."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", HelpFormatter)
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and what to do about it; exit with 2.

        Whoever names no command wants to know which there are.
        """
        if message == _NO_COMMAND:
            self.exit(2, f"{self.format_help()}\n{self.prog}: name one of these commands\n")
        hint = suggest(message) or f"'{self.prog} --help' shows what is possible"
        self.exit(2, f"{self.prog}: {message}\n{hint}\n")


def suggest(message: str) -> str:
    """Return ``did you mean ...?`` when argparse's *message* is about a mistyped choice."""
    found = _INVALID_CHOICE.search(message)
    if found is None:
        return ""
    choices = re.findall(r"'([^']*)'", found[2])
    close = difflib.get_close_matches(found[1], choices, n=1)
    return f"did you mean '{close[0]}'?" if close else ""


def add_groups(parser: argparse.ArgumentParser) -> Group:
    """Give *parser* sub-commands, of which one must be named."""
    return parser.add_subparsers(title="commands", metavar=_COMMAND, required=True)


def add_leaf(
    group: Group,
    name: str,
    run: Run,
    summary: str,
    *,
    epilog: str = "",
) -> argparse.ArgumentParser:
    """Add the sub-command *name*, carried out by *run*, with ``--json``; return its parser."""
    description = f"{summary[0].upper()}{summary[1:]}."
    leaf: argparse.ArgumentParser = group.add_parser(
        name, help=summary, description=description, epilog=epilog or None
    )
    leaf.set_defaults(run=run, parser=leaf)
    add_json(leaf)
    return leaf


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json", action="store_true", help="print the answer as JSON, and nothing else"
    )
