"""What a lab shows while it works: a spinner on a terminal, plain lines elsewhere, or nothing."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO

import pytest

from podway.cli.lab_progress import shown

DIM = "\x1b[2m"
CURSOR_HIDDEN, CURSOR_SHOWN = "\x1b[?25l", "\x1b[?25h"


def work(*, quiet: bool = False) -> None:
    with shown("podway lab up", quiet=quiet) as report:
        report("n1", "agent ready [after] 0.5 s")


def fail() -> None:
    with shown("podway lab up", quiet=False) as report:
        report("n1", "agent ready [after] 0.5 s")
        raise ZeroDivisionError


def seen_on_a_terminal() -> str:
    """Return what arrives on a terminal while something is done there that fails."""
    reader, writer = os.openpty()
    with FileIO(reader) as screen:
        with (
            os.fdopen(writer, "w", encoding="utf-8") as stderr,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(sys, "stderr", stderr)
            with suppress(ZeroDivisionError):
                fail()
        return b"".join(until_its_end(screen)).decode()


def until_its_end(screen: FileIO) -> Iterator[bytes]:
    with suppress(OSError):  # EIO: nobody has the terminal open any more
        while chunk := screen.read(4096):
            yield chunk


@pytest.fixture
def in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment of a terminal that has colours."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_lines_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    work()
    said = capsys.readouterr()
    assert said.err == "podway lab up\n  n1       agent ready [after] 0.5 s\n"
    assert said.out == "", "that is for the answer alone"


def test_nothing_where_only_the_answer_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    work(quiet=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("in_colour")
def test_a_terminal_shows_what_goes_on_and_is_left_as_it_was() -> None:
    said = seen_on_a_terminal()
    assert "podway lab up" in said
    assert f"{DIM}n1" in said
    assert "agent ready [after] 0.5 s" in said
    assert said.rindex(CURSOR_SHOWN) > said.rindex(CURSOR_HIDDEN)


@pytest.mark.usefixtures("in_colour")
def test_a_terminal_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    said = seen_on_a_terminal()
    assert DIM not in said
    assert "  n1       agent ready [after] 0.5 s" in said
