"""WireGuard where the kernel has none: Debian's wireguard-go, one process per device.

The process makes the device (a TUN), answers the text protocol on a Unix socket, and ends when the
device is deleted; when it ends, the device is gone, which the agent sees as drift and makes both
anew. It is nobody's child and outlives the agent, so packets flow on while that restarts.

It goes later than its device, by tens of milliseconds, and until then it has the device's UDP port
and will remove a socket by its name, whosever that is by now; a process that finds its socket
removed ends. So the next one is started when the one before is known to have ended.

wireguard-go listens at ``/var/run/wireguard/<device>.sock`` and nowhere else. So that the nodes of
a lab, which share one file system, do not meet there, it is started in a mount namespace of its own
in which that directory is one of this node's (``python -m podway.kernel.wireguard_process``).
"""

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from podway.kernel.lifelines import Lifeline
from podway.kernel.protocol import KernelError
from podway.kernel.wireguard_text import END, GET

PROGRAM = "wireguard-go"
_SOCKETS = "/var/run/wireguard"
_START_S = 10.0
_ANSWER_S = 5.0
# How long the process of a device that is gone may take to end by itself.
_END_S = 0.5


class WireguardProcesses:
    """The processes of one node.

    Args:
        directory: where their sockets lie.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def start(self, dev: str) -> None:
        """Start the process for *dev*; when this returns, the device is there and it answers.

        Called in the network namespace in which the device shall be, and is not. A process that
        had a device of that name is waited for, half a second at most, and then killed.

        Raises:
            KernelError: EOPNOTSUPP where there is no such program; EBUSY when the process before
                cannot be ended; EIO when it does not start, ETIMEDOUT when it takes too long.
        """
        if shutil.which(PROGRAM) is None:
            rule = "this kernel has no WireGuard, and there is no wireguard-go: install either"
            raise KernelError(errno.EOPNOTSUPP, f"create link {dev}", rule)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _lifeline(self._directory, dev).end(_END_S):
            rule = f"the one before it, by {self._directory / dev}.pid, does not even end by force"
            raise KernelError(errno.EBUSY, f"start {PROGRAM} {dev}", rule)
        (self._directory / f"{dev}.sock").unlink(missing_ok=True)
        self._run(dev)

    def _run(self, dev: str) -> None:
        command = (sys.executable, "-m", __spec__.name, str(self._directory), dev)
        operation, log = f"start {PROGRAM} {dev}", self._directory / f"{dev}.log"
        try:
            with log.open("wb") as output:
                done = subprocess.run(  # it leaves the process behind and ends
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, "LOG_LEVEL": "error"},
                    timeout=_START_S,
                    check=False,
                )
        except subprocess.TimeoutExpired as error:
            rule = f"it has not started within {_START_S:g} s: see {log}"
            raise KernelError(errno.ETIMEDOUT, operation, rule) from error
        if done.returncode:
            said = log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise KernelError(errno.EIO, operation, said or f"see {log}")

    def answers(self, dev: str) -> bool:
        """Tell whether the process for *dev* lives."""
        try:
            return bool(self.ask(dev, GET))
        except OSError:
            return False

    def ask(self, dev: str, request: bytes) -> bytes:
        """Return the answer of *dev*'s process. Raises `OSError` as the socket does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_S)
            connection.connect(str(self._directory / f"{dev}.sock"))
            connection.sendall(request)
            answer = bytearray()
            while not answer.endswith(END):
                piece = connection.recv(1 << 16)
                if not piece:
                    break
                answer += piece
        return bytes(answer)


def _lifeline(directory: Path, dev: str) -> Lifeline:
    return Lifeline(directory / dev)


def main(directory: str, dev: str) -> None:
    """Become wireguard-go for *dev*, with its sockets in *directory*."""
    from podway.netlink.mounts import enter_private_mounts, mount_over  # noqa: PLC0415

    _lifeline(Path(directory), dev).hold()
    Path(_SOCKETS).mkdir(mode=0o700, parents=True, exist_ok=True)
    enter_private_mounts()
    mount_over(_SOCKETS, directory)
    os.execvp(PROGRAM, [PROGRAM, dev])  # noqa: S606  (no shell is meant)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
