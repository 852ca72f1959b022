"""The project's documents as tests read them: pages, headings, links, blocks of code, commands.

In: Markdown, as far as the documents use it: fenced blocks, blocks indented by four columns (or
more, inside of a list), and code between backticks. All is pure but for reading the files.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:(?<=\n\n)|(?<=\A))((?: {4,}\S.*\n|\n(?= {4,}\S))+)")
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_PROMPT = re.compile(r"^(?:[#$] )?(?:\.venv/bin/)?(?=podway )")
_DRAWING = re.compile(r"[\u2500-\u25ff]")
# What ends a command for the shell; an ellipsis ends it for the reader.
_ENDS = frozenset({"|", ">", "&&", ";", "...", "…"})


@dataclass(frozen=True, slots=True)
class Page:
    """One document.

    Attributes:
        name: its path in the checkout.
        text: Markdown.
    """

    name: str
    text: str

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)


@dataclass(frozen=True, slots=True)
class Command:
    """A command of podway's in a document.

    Attributes:
        page: where it stands.
        words: after ``podway``, up to the shell's next operator.
        is_whole: nothing is left out of it, so it can be given as it stands.
    """

    page: str
    words: tuple[str, ...]
    is_whole: bool

    def __str__(self) -> str:
        return f"{self.page}: podway {shlex.join(self.words)}"


def read_page(name: str) -> Page:
    """Return the document at *name*."""
    return Page(name, (ROOT / name).read_text(encoding="utf-8"))


def read_pages() -> list[Page]:
    """Return every document of the project."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    return [read_page(str(path.relative_to(ROOT))) for path in sorted(paths)]


def fenced_blocks(page: Page, language: str) -> list[str]:
    """Return the text of every fenced block in *language*, without the indentation of the fence."""
    return [
        re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        for match in _FENCE.finditer(page.text)
        if match[2] == language
    ]


def blocks(page: Page) -> Iterator[str]:
    """Yield every block of code, fenced or indented."""
    for match in _FENCE.finditer(page.text):
        yield match[3]
    for match in _INDENTED.finditer(page.prose):
        yield match[1]


def inline_code(page: Page) -> list[str]:
    """Return what stands between backticks, on one line each."""
    return [" ".join(text.split()) for text in _INLINE.findall(page.prose)]


def commands_in(text: str) -> Iterator[str]:
    """Yield the command lines of podway's in a block of code; lines that go on are joined."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        stripped = line.strip()
        if (match := _PROMPT.match(stripped)) and not _DRAWING.search(stripped):
            yield stripped[match.end() :]


def read_command(page: str, line: str) -> Command:
    """Return the command that *line* (``podway ...``) gives."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>;&")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word in _ENDS:
            return Command(page, tuple(words[1:]), is_whole=word not in {"...", "…"})
        words.append(word)
    return Command(page, tuple(words[1:]), is_whole=True)


def shown_commands(page: Page) -> list[Command]:
    """Return the commands in the page's blocks of code."""
    return [read_command(page.name, line) for block in blocks(page) for line in commands_in(block)]


def named_commands(page: Page) -> list[Command]:
    """Return the commands that stand between backticks; seldom whole."""
    lines = [text for text in inline_code(page) if text.startswith("podway ")]
    return [read_command(page.name, line) for line in lines]
