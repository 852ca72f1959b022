"""Programs of a lab: start one in a namespace, find it again, end it, and never another one.

A number alone does not name a process: numbers are used again. So a pid file holds number and start
time (field 22 of /proc/PID/stat), and a signal is sent through a pidfd that was opened *before* the
start time was compared: what it points to cannot change any more.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from podway.lab.interrupts import uninterrupted
from podway.lab.namespaces import opened
from podway.lab.programs import Process
from podway.lab.state import write_whole
from podway.netlink.netns import entered

_LOG_MODE = 0o600
_OPTIONS, _OPTIONS_OF_LOGS = "PODWAY_", "PODWAY_LOG_"


class ProcessId(Struct, frozen=True):
    """One process, told apart from whoever gets its number later.

    Attributes:
        pid: its number.
        start_ticks: when it started, in clock ticks since the machine did.
    """

    pid: int
    start_ticks: int


def start(process: Process, environment: Mapping[str, str]) -> ProcessId:
    """Start *process* in its namespace, apart from this terminal, and write its pid file.

    Args:
        process: what to start.
        environment: added to this process's own, see `without_options`.

    Raises:
        OSError: it cannot be started.
    """
    process.directory.mkdir(parents=True, exist_ok=True)
    program = [process.program] if process.program else [sys.executable, "-P", "-m", "podway.cli"]
    command = [*program, *process.arguments]
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(process.log), log_flags, _LOG_MODE),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    with uninterrupted(), opened(process.namespace) as netns_fd:
        with entered(netns_fd):
            pid = os.posix_spawn(
                command[0],
                command,
                {**without_options(os.environ), **environment},
                file_actions=files,
                setsid=True,
                setsigmask=(),
            )
        identity = ProcessId(pid, _start_ticks(pid) or 0)
        write_whole(process.pid_file, msgspec.json.encode(identity))
    return identity


def without_options(environment: Mapping[str, str]) -> dict[str, str]:
    """Return *environment* without what is in it for this machine's own agent and its commands.

    PODWAY_INSTANCE, PODWAY_UPLINK, ...; but a lab may be told how to log.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(_OPTIONS) or name.startswith(_OPTIONS_OF_LOGS)
    }


def read_pid_file(path: Path) -> ProcessId | None:
    """Return what *path* holds; None when it is missing or damaged (nothing is known then)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ProcessId)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def is_running(identity: ProcessId | None) -> bool:
    """Tell whether the process is there and alive; a zombie is not."""
    return identity is not None and _start_ticks(identity.pid) == identity.start_ticks


def processes_in(inodes: Iterable[int]) -> list[ProcessId]:
    """Return the living processes whose network namespace is one of *inodes*."""
    wanted = {f"net:[{inode}]" for inode in inodes}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            if str(entry.joinpath("ns/net").readlink()) in wanted:
                start_ticks = _start_ticks(int(entry.name))
                if start_ticks is not None:
                    found.append(ProcessId(int(entry.name), start_ticks))
    return found


def kill_all(
    identities: Iterable[ProcessId],
    number: signal.Signals = signal.SIGKILL,
    *,
    timeout_s: float = 5.0,
) -> list[ProcessId]:
    """Send the signal *number* to all of *identities* and wait until they are gone.

    Returns:
        Those that were there and are gone now. One that does not go in time is left out.
    """
    pidfds = {identity: _open_checked(identity) for identity in set(identities)}
    opened = {identity: pidfd for identity, pidfd in pidfds.items() if pidfd is not None}
    try:
        for pidfd in opened.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
        gone = _wait_for_exit(opened, time.monotonic() + timeout_s)
    finally:
        for pidfd in opened.values():
            os.close(pidfd)
    for identity in gone:
        _reap(identity.pid)
    return gone


def _open_checked(identity: ProcessId) -> int | None:
    """Return a pidfd of exactly this process, or None when it is gone."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    if is_running(identity):
        return pidfd
    os.close(pidfd)
    _reap(identity.pid)
    return None


def _wait_for_exit(pidfds: Mapping[ProcessId, int], deadline: float) -> list[ProcessId]:
    waiting = {pidfd: identity for identity, pidfd in pidfds.items()}
    poll = select.poll()
    for pidfd in waiting:
        poll.register(pidfd, select.POLLIN)
    gone = []
    while waiting:
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            break
        for pidfd, _ in ready:
            poll.unregister(pidfd)
            gone.append(waiting.pop(pidfd))
    return gone


def _reap(pid: int) -> None:
    """Collect the exit status of *pid* if it was our own child; init does it for all others."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _start_ticks(pid: int) -> int | None:
    """Return the start time of the living process *pid*, or None."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, and may itself hold any of these.
    fields = text.rpartition(")")[2].split()
    state, start_ticks = fields[0], int(fields[19])
    return None if state in "ZX" else start_ticks
