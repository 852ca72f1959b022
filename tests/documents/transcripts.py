"""Transcripts in documents: commands with what they print, and what of it must be so again.

A transcript is a fenced block ``text`` in which lines that begin with ``# podway`` are typed, and
the lines below each are printed. ``...`` stands for lines that are left out. What no two runs have
alike (times, rates, counts of packets and files, the order in which nodes become ready) is not
compared; everything else is, word by word.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from documents.pages import Page, fenced_blocks

_TYPED = "# podway "
_LEFT_OUT = "..."
# What is not compared, and what stands for it.
_VARIES = (
    (re.compile(r"\b\d+(?:\.\d+)? (ms|s|h|m|min)\b"), r"N \1"),
    (re.compile(r"\b\d+(?:\.\d+)? [GMk]?bit/s"), "N bit/s"),
    (re.compile(r"\b\d+ (retransmits|files)\b"), r"N \1"),
    (re.compile(r"\bwrote \d+ objects?\b"), "wrote N objects"),
    (re.compile(r"\brevision \d+\b"), "revision N"),
    (re.compile(r"(?<![\d.:])\d+\.\d\d(?![\d.])"), "N"),
    (re.compile(r"@if\d+"), "@ifN"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "CONTAINER"),
    # Containers that are made together get their addresses in any order.
    (re.compile(r"\b10\.244\.(\d+)\.[2-9]\b"), r"10.244.\1.N"),
    (re.compile(r"\bfd00:10:244:(\d+)::[2-9]\b"), r"fd00:10:244:\1::N"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a transcript.

    Attributes:
        words: after ``podway``.
        lines: what the document says that it prints.
    """

    words: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def fails(self) -> bool:
        """Whether the document shows a failure."""
        return any(line.startswith("podway: ") for line in self.lines)


def transcripts(page: Page) -> list[list[Step]]:
    """Return the transcripts of a page, in order."""
    texts = [text for text in fenced_blocks(page, "text") if text.startswith(_TYPED)]
    return [list(_steps(text)) for text in texts]


def _steps(text: str) -> Iterator[Step]:
    command, lines = "", list[str]()
    for line in [*text.splitlines(), _TYPED]:
        if not line.startswith(_TYPED):
            lines.append(line)
            continue
        if command:
            yield Step(tuple(shlex.split(command, comments=True)), tuple(lines))
        command, lines = line.removeprefix(_TYPED), []


def compared(lines: list[str]) -> Counter[str]:
    """Return *lines* as they are compared: no order, no spaces that align, nothing that varies."""
    words = (" ".join(line.split()) for line in lines)
    return Counter(_without_what_varies(line) for line in words if line)


def _without_what_varies(line: str) -> str:
    for pattern, stand_in in _VARIES:
        line = pattern.sub(stand_in, line)
    return line


def difference(told: tuple[str, ...], printed: list[str]) -> list[str]:
    """Return ``- line`` for what is told and not printed, ``+ line`` the other way round."""
    shown = [line for line in told if line.strip() != _LEFT_OUT]
    lost = compared(shown) - compared(printed)
    more = Counter[str]() if len(shown) < len(told) else compared(printed) - compared(shown)
    return [*(f"- {line}" for line in lost), *(f"+ {line}" for line in more)]
