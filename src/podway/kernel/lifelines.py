"""Whether a process still lives that is nobody's child, and its end: a FIFO that it holds open.

In: a path. The process holds the line when it starts; whoever comes later, also an agent started
since, sees whether it is held, waits for its release, and ends a process that does not end. Called
by `podway.kernel.wireguard_process`, before a device gets another process.

Why it is hard: a program that becomes a daemon does not say which process it became; a number in a
file may be another process's by now; and a socket tells nothing of a process that is ending, which
closes that first. But the kernel closes a descriptor at the end of whatever process, inherited or
not, and the reading end of a FIFO becomes ready when the last writer is gone (fifo(7), POLLHUP in
poll(2)). As long as the line is held, the number of the holders' process group is nobody else's.
"""

import fcntl
import os
import select
import signal
from contextlib import suppress
from pathlib import Path

# Above what programs give a meaning of their own: wireguard-go's daemon takes 0 to 4 for it.
_FIRST_FD = 100
# How long a process takes to go whom nobody asks.
_KILLED_S = 1.0


class Lifeline:
    """The line of one process.

    Args:
        path: without a suffix; ``.alive`` (the FIFO) and ``.pid`` (the process group) are added.
    """

    def __init__(self, path: Path) -> None:
        self._fifo = path.with_name(f"{path.name}.alive")
        self._group = path.with_name(f"{path.name}.pid")

    def hold(self) -> None:
        """Have this process, and those that it becomes or starts, hold the line to their end.

        It leads a session of its own from now on. Raises `OSError`.
        """
        os.setsid()
        self._group.write_text(f"{os.getpid()}\n", encoding="ascii")
        with suppress(FileExistsError):
            os.mkfifo(self._fifo, 0o600)
        fd = os.open(self._fifo, os.O_RDWR)
        fcntl.fcntl(fd, fcntl.F_DUPFD, _FIRST_FD)  # a copy that is inherited
        os.close(fd)

    def end(self, patience_s: float) -> bool:
        """Return once nobody holds the line: at once, or when the process has ended.

        Whoever has not ended within *patience_s* is killed. False when not even that helps in
        another second (a process in a call of the kernel that does not return). Raises `OSError`.
        """
        try:
            fd = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return True
        with open(fd, "rb", buffering=0) as fifo:  # noqa: PTH123  (it is a descriptor)
            if fifo.read(1) == b"" or _is_released(fifo.fileno(), patience_s):
                return True
            with suppress(ProcessLookupError):
                os.killpg(int(self._group.read_text(encoding="ascii")), signal.SIGKILL)
            return _is_released(fifo.fileno(), _KILLED_S)


def _is_released(fd: int, patience_s: float) -> bool:
    """Wait until the last writer of FIFO *fd* is gone; False when it is not in time."""
    poll = select.poll()
    poll.register(fd, 0)  # POLLHUP is told unasked
    return bool(poll.poll(patience_s * 1000))
