"""A server as a process of its own, for tests: started, killed, hung, and gone in the end.

What it is and when it serves is said by a subclass. Each has a directory that outlives its starts,
and a log there; with the end of the ``with`` the process is ended by its own number, and the
directory goes.
"""

import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 30.0


class ServerProcess(ABC):
    """One server.

    Attributes:
        directory: holds its data and its log.
    """

    def __init__(self, name: str, parent: str | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"podway-{name}-", dir=parent))
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def serves(self) -> bool:
        """Tell whether it answers."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process of the last start."""
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything that it has logged, over all starts."""
        return (self.directory / "log").read_text()

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def wait(self) -> None:
        """Wait until it serves."""
        deadline_s = time.monotonic() + START_S
        while not self.serves():
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError(f"{self.command()[0]} did not start:\n{self.log}")
            time.sleep(0.005)

    def kill(self) -> None:
        """End it as a power cut would (kill -9)."""
        self._end_by(signal.SIGKILL)

    def stop(self) -> int:
        """End it as an operator would; return its exit code."""
        return self._end_by(signal.SIGTERM)

    def freeze(self) -> None:
        """Have it hang: its connections stay, and say nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """End it, if it runs, and remove its files."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory)

    def _end_by(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=START_S)
