"""What a lab shows while it works: a spinner on a terminal, plain lines elsewhere, or nothing."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from podway.cli.lab_progress import shown

DIM = "\x1b[2m"
CURSOR_HIDDEN, CURSOR_SHOWN = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A terminal, and what it was sent."""

    def __init__(self) -> None:
        self._reader, self._writer = os.openpty()
        os.set_blocking(self._reader, False)

    def work(self) -> str:
        """Show work on it, which fails in the end; return what arrived."""
        with (
            open(self._writer, "w", encoding="utf-8", closefd=False) as stderr,
            pytest.MonkeyPatch.context() as patch,
            suppress(ZeroDivisionError),
        ):
            # Not in a fixture: pytest has streams of its own for each phase of a test.
            patch.setattr(sys, "stderr", stderr)
            with shown("podway lab up", quiet=False) as report:
                report("n1", "agent ready [after] 0.5 s")
                raise ZeroDivisionError
        return os.read(self._reader, 65536).decode()

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    made = Terminal()
    yield made
    made.close()


def work(*, quiet: bool = False) -> None:
    with shown("podway lab up", quiet=quiet) as report:
        report("n1", "agent ready [after] 0.5 s")


def test_lines_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    work()
    said = capsys.readouterr()
    assert said.err == "podway lab up\n  n1       agent ready [after] 0.5 s\n"
    assert said.out == "", "that is for the answer alone"


def test_nothing_where_only_the_answer_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    work(quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_what_goes_on_and_is_left_as_it_was(terminal: Terminal) -> None:
    said = terminal.work()
    assert "podway lab up" in said
    assert f"{DIM}n1" in said
    assert "agent ready [after] 0.5 s" in said
    assert said.rindex(CURSOR_SHOWN) > said.rindex(CURSOR_HIDDEN)


def test_a_terminal_without_colours(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    said = terminal.work()
    assert DIM not in said
    assert "  n1       agent ready [after] 0.5 s" in said
