"""Runs several sessions of pytest side by side, because most tests wait more than they compute.

In: lanes, each a name and the arguments that choose its tests. Out: what each session printed, line
by line behind its lane's name while tests pass, and the account of its failures in one piece when
it ends. ``run.py`` calls it.

A lane is a process group of its own with nothing to read: Ctrl-C reaches the driver alone, which
hands it on once, so that every lane takes down what it made as pytest does anywhere.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

# Output of all lanes goes through here, whole lines or whole accounts at a time.
_OUT: Final = threading.Lock()
_COLOURS: Final = re.compile(rb"\x1b\[[0-9;]*m")
_ACCOUNT: Final = re.compile(rb"=+ (?!test session starts)[^=]+ =+$")
_POLL_S: Final = 0.1
_READ_BYTES: Final = 65536
_LAST_WORDS_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Lane:
    """Tests that run one after the other.

    Attributes:
        name: what its lines begin with.
        arguments: pytest's, which choose its tests.
    """

    name: str
    arguments: tuple[str, ...]


class Output:
    """What one lane prints: passed on line by line, its account of failures as one block.

    Args:
        name: put before every line.
        out: where it goes.
    """

    def __init__(self, name: str, out: BinaryIO) -> None:
        self._prefix = f"{name:<8}| ".encode()
        self._out = out
        self._begun = b""
        self._account: list[bytes] = []

    def feed(self, chunk: bytes) -> None:
        """Take what came next."""
        *lines, self._begun = (self._begun + chunk).split(b"\n")
        for line in lines:
            if self._account or _ACCOUNT.match(_COLOURS.sub(b"", line)):
                self._account.append(line)
            else:
                self._print([line])

    def close(self) -> None:
        """Print what was kept back."""
        rest = [self._begun] if self._begun else []
        self._print([*self._account, *rest])
        self._account, self._begun = [], b""

    def _print(self, lines: Sequence[bytes]) -> None:
        with _OUT:
            self._out.writelines(self._prefix + line + b"\n" for line in lines)
            self._out.flush()


class Running:
    """A lane that runs.

    Args:
        lane: which.
        directory: where it leaves its report and the tests that it leaves out.

    Attributes:
        report: file of its numbers, once it has ended.
        duration_s: from its start to its end.
    """

    def __init__(self, lane: Lane, options: Sequence[str], directory: Path) -> None:
        self.name = lane.name
        self.report = directory / f"{lane.name}.json"
        self.duration_s = 0.0
        self._deferred = directory / f"{lane.name}.deferred"
        self._started_s = time.monotonic()
        own = [f"--stage-report={self.report}", f"--deferred-tests={self._deferred}"]
        colour = f"--color={'yes' if sys.stdout.isatty() else 'no'}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *lane.arguments, colour, *options, *own],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, name=lane.name, daemon=True)
        self._reader.start()

    def deferred(self) -> list[str] | None:
        """Return the tests that it leaves to another kernel; None while that is not known."""
        with suppress(FileNotFoundError):
            return self._deferred.read_text().splitlines()
        return None if self._reader.is_alive() else []

    def interrupt(self) -> None:
        """Have it end as by Ctrl-C, if it has not yet."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """Return its exit status, once it has ended and all that it printed is shown."""
        status = self._process.wait()
        # Somebody whom a test left behind may hold the pipe open for ever.
        self._reader.join(_LAST_WORDS_S)
        return status

    def _read(self) -> None:
        assert self._process.stdout is not None
        output = Output(self.name, sys.stdout.buffer)
        with self._process.stdout as pipe:
            while chunk := os.read(pipe.fileno(), _READ_BYTES):
                output.feed(chunk)
        output.close()
        self.duration_s = time.monotonic() - self._started_s


def await_choices(lanes: Sequence[Running]) -> list[str]:
    """Wait until every lane has chosen its tests; return those that are left to another kernel."""
    while True:
        choices = [lane.deferred() for lane in lanes]
        known = [choice for choice in choices if choice is not None]
        if len(known) == len(choices):
            return [node_id for choice in known for node_id in choice]
        time.sleep(_POLL_S)
