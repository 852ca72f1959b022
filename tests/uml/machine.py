"""Runs one command under User Mode Linux: a complete second kernel, as a process of this one.

In: a command, the directories that it may write, its environment. Out: its exit status; what it
prints is shown while it runs. The caller is the second stage of ``make test`` (``run.py``).

Why it is hard: the machine may fail to boot, hang, or end in the middle, and consists of many
processes. So it is followed by its console (which must never be silent for long), told apart from
the command by the status file alone, and ended by its process group, however the run ends.
The other half, inside the machine, is ``init`` beside this file.
"""

import os
import selectors
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_INIT = Path(__file__).with_name("init")
_START_OF_TEXT = b"\x02"
_END_OF_TEXT = b"\x03"
_READ_BYTES = 65536


class UmlError(Exception):
    """The machine did not boot, hung, or ended before the command did.

    Attributes:
        log: what the console said outside of the command's own output.
    """

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True, slots=True)
class Machine:
    """The kernel to boot, and how long it may take.

    Attributes:
        kernel: the program, of Debian's package user-mode-linux.
        memory_mib: taken from the host only as far as it is used.
        boot_silence_s: longest time without a byte on the console before the command begins.
        silence_s: the same from then on; above the time limit of a single test, so that only a
            machine that hangs is ended by it.
    """

    kernel: str = "linux.uml"
    memory_mib: int = 2048
    boot_silence_s: float = 60.0
    silence_s: float = 300.0


class Console:
    """Tells the command's output from what the kernel says before and after it.

    Attributes:
        log: everything that is not the command's.
        is_booted: the command has begun.
        is_done: the command has ended.
    """

    def __init__(self) -> None:
        self.log = b""
        self.is_booted = False
        self.is_done = False

    def feed(self, chunk: bytes) -> bytes:
        """Take what the console printed next and return the part that is the command's output."""
        if not self.is_booted:
            before, start, chunk = chunk.partition(_START_OF_TEXT)
            self.log += before
            self.is_booted = bool(start)
        text = b""
        if self.is_booted and not self.is_done:
            text, end, chunk = chunk.partition(_END_OF_TEXT)
            self.is_done = bool(end)
        self.log += chunk
        return text


def run_under_uml(
    command: Sequence[str],
    *,
    shared: Sequence[Path],
    environment: Mapping[str, str],
    show: Callable[[bytes], object],
    machine: Machine,
) -> int:
    """Boot, run *command* in the present directory, power off, and return its exit status.

    Args:
        command: an argument vector.
        shared: directories of the host that the command writes for real. All else that it writes
            is gone afterwards.
        environment: of the command.
        show: is given the command's output, piece by piece, while it runs.
        machine: the kernel and its limits.

    Raises:
        UmlError: the kernel is not installed, did not boot in time, was silent for too long, or
            ended without the command's exit status. Nothing of it runs any longer.
    """
    with tempfile.TemporaryDirectory(prefix="podway-uml-") as name:
        job = Path(name)
        (job / "shared").write_text("".join(f"{path}\n" for path in (*shared, job)))
        (job / "command").write_text(render_command(command, Path.cwd(), environment))
        console = Console()
        _follow(_start(machine, job), machine, console, show)
        log = console.log.decode(errors="replace")
        try:
            return int((job / "status").read_text())
        except FileNotFoundError:
            raise UmlError("User Mode Linux ended before the command had ended", log) from None


def render_command(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> str:
    """Return the bash script that runs *command* in *directory* with just that environment."""
    variables = (f"{name}={value}" for name, value in sorted(environment.items()))
    there = shlex.quote(str(directory))
    return f"cd {there}\nexec {shlex.join(['env', '-i', *variables, *command])}\n"


def _start(machine: Machine, job: Path) -> subprocess.Popen[bytes]:
    """Start the kernel in a process group of its own, its console on a pipe."""
    argv = [
        machine.kernel,
        f"mem={machine.memory_mib}M",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"init={_INIT}",
        f"PODWAY_UML_JOB={job}",
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        f"uml_dir={job}/",
        "umid=machine",
    ]
    # Its memory is a file in TMPDIR; without one it takes /dev/shm, which is memory indeed.
    environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError:
        reason = f"{machine.kernel} is not installed: apt-get install user-mode-linux"
        raise UmlError(reason, "") from None


def _follow(
    process: subprocess.Popen[bytes],
    machine: Machine,
    console: Console,
    show: Callable[[bytes], object],
) -> None:
    """Pass the console on until the kernel ends; after that, or an error, nothing of it runs."""
    assert process.stdout is not None
    try:
        with process.stdout, _watch(process) as selector:
            while process.stdout in _ready(selector, machine, console):
                chunk = os.read(process.stdout.fileno(), _READ_BYTES)
                if not chunk:
                    return
                show(console.feed(chunk))
    finally:
        # Not yet waited for, so the group's number cannot belong to anybody else.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _watch(process: subprocess.Popen[bytes]) -> Iterator[selectors.BaseSelector]:
    """Give a selector that tells of output, and of the end of the kernel's first process.

    The end as well: its other processes may outlive it and would hold the console open.
    """
    assert process.stdout is not None
    end = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(end, selectors.EVENT_READ)
            yield selector
    finally:
        os.close(end)


def _ready(selector: selectors.BaseSelector, machine: Machine, console: Console) -> list[object]:
    """Wait for output or the end, and return which it was; UmlError when neither comes in time."""
    limit_s = machine.silence_s if console.is_booted else machine.boot_silence_s
    ready: list[object] = [key.fileobj for key, _events in selector.select(limit_s)]
    if not ready:
        raise UmlError(
            f"User Mode Linux printed nothing for {limit_s:g} s and was ended",
            console.log.decode(errors="replace"),
        )
    return ready
