"""``podway``: find the command in the arguments, import its module, run it.

Only the module of the command that was named is imported: the agent is started through here, and
it should not carry the lab, nor should ``podway status`` wait for asyncio.

Exit codes: 0 done, 1 failed (the reason is on stderr, or in the JSON), 2 wrong arguments.
"""

import argparse
import errno
import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from podway import __version__
from podway.cli.arguments import CommandParser
from podway.cli.commands import COMMANDS, Command
from podway.errors import PodwayError, exit_code

DESCRIPTION = "Kubernetes and container networking: any pod reaches any pod, without NAT."
EPILOG = """\
The first minute, as root:
  podway lab up --nodes 3        three nodes on this machine
  podway lab pod add --count 6   six pods, spread over them
  podway lab ping                every pod pings every pod
  podway lab down                nothing of it is left

Exit codes: 0 done, 1 failed, 2 wrong arguments.
'podway COMMAND --help' tells more about a command.
"""
FAILED = 1
STDERR = 2
# The answer cannot be written: the disk behind stdout.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
# What befalls a command from the machine that it runs on, and is no defect of the command.
_CONDITIONS = _UNWRITABLE | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE}
_FLANNELD = "flanneld"
INTERRUPTED = 130


class _CommandModule(Protocol):
    """What every command's module has; `run`, too, unless it has commands of its own."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out ``podway *argv*`` (of the process when None) and return the exit code."""
    _claim_standard_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None and Path(sys.argv[0]).name == _FLANNELD:
        return _run_flanneld(words)
    if words[:1] == [_FLANNELD] and words[1:] not in (["--help"], ["-h"]):
        return _run_flanneld(words[1:])
    try:
        return _carry_out(words)
    except KeyboardInterrupt:
        print("podway: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _let_go_of_stdout()  # the reader (`| head`) has seen enough
        return FAILED
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _let_go_of_stdout()
        return _report(error, as_json=False)


def _carry_out(words: Sequence[str]) -> int:
    """Parse *words*, run the command that they name, and see to it that its answer is out.

    That is flushed here, and not at the interpreter's end, where a reader that has left or a disk
    that is full would be an accident.
    """
    parser = build_parser(words)
    try:
        args, unknown = parser.parse_known_args(words)
    except SystemExit:
        sys.stdout.flush()
        raise
    if unknown:
        # The parser of the command itself knows best what would have been right.
        getattr(args, "parser", parser).error(f"unknown argument {unknown[0]!r}")
    try:
        code = cast("int", args.run(args))
    except PodwayError as error:
        code = _report(error, as_json=getattr(args, "json", False))
    except OSError as error:
        # Of a daemon, which has no --json, the log shall say where it happened.
        if error.errno not in _CONDITIONS or not hasattr(args, "json"):
            raise
        code = _report(error, as_json=args.json)
    sys.stdout.flush()
    return code


def _claim_standard_streams() -> None:
    """Open what whoever started us has closed: else the next file opened would be taken for it.

    Only then: in a root that is being built there is no /dev/null.
    """
    for fd in range(STDERR + 1):
        if not _is_open(fd):
            # The lowest number that is free, so this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _let_go_of_stdout() -> None:
    """Point stdout away, so that closing it at the end is silent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run_flanneld(words: Sequence[str]) -> int:
    """Run an agent with *words*, which are in Go's form, of which argparse knows nothing."""
    from podway.cli.flanneld import run_flanneld  # noqa: PLC0415

    return run_flanneld(words)


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser that knows all commands by name, and the one in *words* in full."""
    named = next((word for word in words if not word.startswith("-")), None)
    return _build(lambda command: command.name == named)[0]


def full_parser() -> argparse.ArgumentParser:
    """Return the parser with every command in full, for completion scripts."""
    return _build(lambda _command: True)[0]


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """Return every command's own parser, by the command's name, for man pages."""
    return _build(lambda _command: True)[1]


def _build(
    wanted: "_Wanted",
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = CommandParser(prog="podway", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"podway {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True
    )
    children: dict[str, argparse.ArgumentParser] = {}
    for command in COMMANDS:
        children[command.name] = child = commands.add_parser(
            command.name, help=command.help, description=_sentence(command.help)
        )
        if wanted(command):
            _fill(child, command)
    return parser, children


class _Wanted(Protocol):
    def __call__(self, command: Command, /) -> bool: ...


def _fill(parser: argparse.ArgumentParser, command: Command) -> None:
    module = cast("_CommandModule", importlib.import_module(command.module))
    parser.set_defaults(run=getattr(module, "run", None), parser=parser)
    module.add_arguments(parser)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _report(error: PodwayError | OSError, *, as_json: bool) -> int:
    text = str(error)
    if not isinstance(error, PodwayError):
        text = ": ".join(filter(None, (error.strerror, str(error.filename or ""))))
    if as_json:
        print(json.dumps({"error": text}))
    else:
        print(f"podway: {text}", file=sys.stderr)
    return exit_code(error)
