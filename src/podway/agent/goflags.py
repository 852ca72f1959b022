"""Command lines as Go's package ``flag`` reads them. Pure.

In: arguments, the environment, the flags that there are. Out: text by flag, or a `FlagError`. One
dash or two, ``-name value`` or ``-name=value``; a boolean takes its value by ``=`` alone; the first
word that is no flag ends the flags, and so does ``--``. A flag that the command line does not have
may come from the environment, as ``PREFIX_NAME`` with underscores.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from podway.errors import PodwayError

Kind: TypeAlias = Literal["text", "list", "flag", "number"]
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_HELP = frozenset({"h", "help"})


class FlagError(PodwayError):
    """The command line is none that the program takes."""


class GoFlag(Struct, frozen=True):
    """One flag.

    Attributes:
        kind: "list" may be repeated.
        default: as it would be written.
        help: one line.
    """

    kind: Kind
    default: str
    help: str


Values: TypeAlias = dict[str, list[str]]


def parse_go_flags(
    flags: Mapping[str, GoFlag], argv: Sequence[str], environ: Mapping[str, str], prefix: str
) -> Values:
    """Return what is given for each flag, the last value last; "help" where help is asked for.

    Args:
        flags: all that there are, by name.
        argv: without the program's name.
        environ: the process's environment.
        prefix: of the variables, without the underscore.

    Raises:
        FlagError: an unknown flag, a missing value, or one of the wrong kind.
    """
    given: Values = {}
    for name, value in _words(flags, argv):
        if name in _HELP and name not in flags:
            return {"help": ["true"]}
        given.setdefault(name, []).append(value)
    for name, flag in flags.items():
        variable = f"{prefix}_{name.upper().replace('-', '_')}"
        value = environ.get(variable, "")
        if value and name not in given:
            _check(flag, value, variable)
            given[name] = [value]
    return given


def is_true(text: str) -> bool:
    """Return the boolean that *text*, which was checked, stands for."""
    return text in _TRUE


def number(text: str) -> int:
    """Return *text* as Go reads an integer: 0x, 0o, 0b, and a mere 0 for octal. Raises ValueError.

    (strconv.ParseInt with base 0.)
    """
    digits = text.lstrip("+-")
    is_old_octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    return int(text, 8 if is_old_octal else 0)


def _words(flags: Mapping[str, GoFlag], argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of every flag in *argv*."""
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if len(word) < 2 or word[0] != "-" or word == "--":
            return
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {word}")
        flag = flags.get(name)
        if flag is None:
            if name in _HELP:
                yield name, ""
                return
            raise FlagError(f"flag provided but not defined: -{name}")
        if not equals:
            if flag.kind == "flag":
                value = "true"
            elif not rest:
                raise FlagError(f"flag needs an argument: -{name}")
            else:
                value = rest.pop(0)
        _check(flag, value, f"flag -{name}")
        yield name, value


def _check(flag: GoFlag, value: str, what: str) -> None:
    match flag.kind:
        case "flag" if value not in _TRUE | _FALSE:
            raise FlagError(f'invalid boolean value "{value}" for {what}')
        case "number":
            try:
                number(value)
            except ValueError:
                raise FlagError(f'invalid value "{value}" for {what}: must be a number') from None
        case _:
            pass
