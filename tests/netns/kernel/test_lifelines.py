"""A line that processes hold to their end: who waits for it, and who is killed.

The process under test is left behind by its parent, as daemons are, and says which one it is.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from podway.kernel.lifelines import Lifeline

PATIENCE_S = 10.0
# Holds the line, leaves a child behind that says its number and ends when its input does.
DAEMON = """
import os, sys
from pathlib import Path
from podway.kernel.lifelines import Lifeline
Lifeline(Path(sys.argv[1])).hold()
if not os.fork():
    os.execvp("sh", ["sh", "-c", "echo $$; read line; echo ended"])
"""


class Daemon:
    """A process that is nobody's child and holds the line of *path*."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.pid = int(self.process.stdout.readline())
        self.pidfd = os.pidfd_open(self.pid)
        assert self.process.wait(PATIENCE_S) == 0

    def let_end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def last_words(self) -> str:
        """Return what it said at its end, "" for one that was killed."""
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def has_ended(self, patience_s: float = PATIENCE_S) -> bool:
        return bool(select.select([self.pidfd], [], [], patience_s)[0])

    def close(self) -> None:
        if not self.has_ended(0):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.close(self.pidfd)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def line(tmp_path: Path) -> Lifeline:
    return Lifeline(tmp_path / "wg0")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "wg0")
    try:
        yield made
    finally:
        made.close()


def test_a_line_that_nobody_ever_held_is_free(line: Lifeline) -> None:
    assert line.end(PATIENCE_S)


def test_a_process_that_is_ending_is_waited_for(line: Lifeline, daemon: Daemon) -> None:
    daemon.let_end()
    assert line.end(PATIENCE_S)
    assert daemon.has_ended()
    assert daemon.last_words() == "ended\n"


@pytest.mark.parametrize("stopped", [False, True], ids=["goes on", "is stopped"])
def test_a_process_that_does_not_end_is_killed(
    line: Lifeline, daemon: Daemon, *, stopped: bool
) -> None:
    if stopped:
        signal.pidfd_send_signal(daemon.pidfd, signal.SIGSTOP)
    assert line.end(0.05)
    assert daemon.has_ended()
    assert not daemon.last_words()


def test_no_other_process_is_killed_by_an_old_number(
    line: Lifeline, daemon: Daemon, tmp_path: Path
) -> None:
    daemon.let_end()
    assert line.end(PATIENCE_S)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        try:
            (tmp_path / "wg0.pid").write_text(str(stranger.pid))
            assert line.end(0)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_line_is_held_again(line: Lifeline, daemon: Daemon, tmp_path: Path) -> None:
    daemon.let_end()
    assert line.end(PATIENCE_S)
    after = Daemon(tmp_path / "wg0")
    try:
        assert line.end(0.05)
        assert after.has_ended()
    finally:
        after.close()
