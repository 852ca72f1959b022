"""Wait until programs say that they are ready, as systemd does: sd_notify(3), not sleeping.

Each program gets a socket of its own in NOTIFY_SOCKET. What may happen next: it says ``READY=1``,
it ends (its pidfd becomes readable), or neither in time. The last two raise with the end of its
log, which is where it said why.
"""

import os
import select
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from podway.lab.errors import StartFailed
from podway.lab.processes import ProcessId, start
from podway.lab.programs import Process
from podway.lab.progress import Report

LOG_TAIL_LINES = 15


def start_ready(
    processes: Sequence[Process],
    report: Report,
    *,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 20.0,
) -> None:
    """Start *processes* side by side and return when all are ready.

    Args:
        processes: what to start.
        report: is told of each one as it becomes ready.
        environment: added to this process's own.
        timeout_s: how long they may take, together.

    Raises:
        StartFailed: one ended, or is not ready in time. The others go on running.
    """
    with ExitStack() as stack:
        started = [_Started(process, stack, environment or {}) for process in processes]
        _wait(started, report, time.monotonic() + timeout_s)


class _Started:
    """One program on its way up: the socket that it reports to and a handle on its life."""

    def __init__(self, process: Process, stack: ExitStack, environment: Mapping[str, str]) -> None:
        self.process = process
        self.began = time.monotonic()
        process.directory.mkdir(parents=True, exist_ok=True)
        path = process.directory / f"{process.role}.notify"
        path.unlink(missing_ok=True)
        self.notify = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.notify.bind(str(path))
        stack.callback(path.unlink, missing_ok=True)
        self.notify.setblocking(False)  # noqa: FBT003  (the socket module's own signature)
        self.identity = start(process, {**environment, "NOTIFY_SOCKET": str(path)})
        self.pidfd = _open_pidfd(self.identity, process)
        stack.callback(os.close, self.pidfd)

    def said_ready(self) -> bool:
        with suppress(BlockingIOError):
            while True:
                if b"READY=1" in self.notify.recv(4096).split(b"\n"):
                    return True
        return False


def _open_pidfd(identity: ProcessId, process: Process) -> int:
    try:
        return os.pidfd_open(identity.pid)
    except ProcessLookupError as error:
        raise StartFailed(describe_failure(process, "ended at once")) from error


def _wait(started: Sequence[_Started], report: Report, deadline: float) -> None:
    waiting = {each.notify.fileno(): each for each in started}
    lives = {each.pidfd: each for each in started}
    poll = select.poll()
    for number in (*waiting, *lives):
        poll.register(number, select.POLLIN)
    while waiting:
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            late = next(iter(waiting.values()))
            raise StartFailed(describe_failure(late.process, "is not ready in time"))
        for number, _ in ready:
            if number in lives:
                raise StartFailed(describe_failure(lives[number].process, "ended"))
            each = waiting[number]
            if each.said_ready():
                poll.unregister(number)
                del waiting[number]
                took_s = time.monotonic() - each.began
                report(each.process.member, f"{each.process.role} ready after {took_s:.2f} s")


def describe_failure(process: Process, what: str) -> str:
    """Return what happened to *process*, and the end of its log."""
    tail = log_tail(process.log)
    end = "; its log is empty" if not tail else "; the end of its log:\n  " + "\n  ".join(tail)
    return f"the {process.title} {what}{end}"


def log_tail(path: Path) -> list[str]:
    """Return the last lines of the log *path*; none when there is no log."""
    with suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return []
