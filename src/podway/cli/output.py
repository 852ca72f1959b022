"""What every command prints with: JSON, tables, and colours only where a person looks.

Views build text out of `Style` and `render_table`; both are pure, so that a view can be compared
with a golden text. `style_of` decides about colours: a terminal, and NO_COLOR not set.
"""

import argparse
import json
import math
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TextIO

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class Style(NamedTuple):
    """Marks up text for a terminal, or leaves it as it is."""

    coloured: bool = False

    def good(self, text: str) -> str:
        """What is as it should be."""
        return self._mark("32", text)

    def bad(self, text: str) -> str:
        """What is not."""
        return self._mark("31;1", text)

    def warn(self, text: str) -> str:
        """What may become bad, or is on its way to good."""
        return self._mark("33", text)

    def bold(self, text: str) -> str:
        """What the eye should find first."""
        return self._mark("1", text)

    def dim(self, text: str) -> str:
        """What matters least."""
        return self._mark("2", text)

    def _mark(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured and text else text


def style_of(stream: TextIO) -> Style:
    """Return the style for *stream*: coloured on a terminal, never with NO_COLOR (no-color.org)."""
    return Style(coloured=stream.isatty() and not os.environ.get("NO_COLOR"))


def print_json(answer: Any) -> None:
    """Print *answer* as one JSON document."""
    print(json.dumps(answer, indent=2))


def print_done(args: argparse.Namespace, answer: dict[str, Any], text: str) -> int:
    """Print *answer* as JSON where that was asked for, else *text*; return the exit code 0."""
    if args.json:
        print_json(answer)
    else:
        print(text)
    return 0


def render_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], style: Style, *, right: bool = False
) -> list[str]:
    """Return the lines of a table: columns as wide as their widest cell, two spaces apart.

    Args:
        header: one title per column.
        rows: cells; may hold colour codes, which take no room.
        style: marks up the header.
        right: align all columns but the first one to the right (numbers).
    """
    grid = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(_width(row[column]) for row in grid) for column in range(len(header))]
    lines = [_render_row(row, widths, right=right) for row in grid]
    return [style.bold(lines[0]), *lines[1:]]


def _render_row(row: Sequence[str], widths: Sequence[int], *, right: bool) -> str:
    cells = [
        _pad(cell, width, right=right and column > 0)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _pad(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(cell: str) -> int:
    return len(_ESCAPE.sub("", cell))


def indent(lines: Sequence[str], by: str = "  ") -> list[str]:
    """Return *lines* moved to the right."""
    return [f"{by}{line}" for line in lines]


def plural(count: int, noun: str) -> str:
    """Return ``1 pod`` or ``2 pods``."""
    if count == 1:
        return f"{count} {noun}"
    ending = "es" if noun.endswith(("ss", "x")) else "s"
    return f"{count} {noun}{ending}"


def elapsed(seconds: float) -> str:
    """Return a span of time as a person says it: ``12 s``, ``3 min``, ``2 h``, ``5 d``."""
    for limit, unit, length in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds // 86400)} d"


def counted(count: int) -> str:
    """Return a number; one that only IPv6 has, as the power of two that is nearest to it."""
    return str(count) if count < 1 << 32 else f"2^{round(math.log2(count))}"
