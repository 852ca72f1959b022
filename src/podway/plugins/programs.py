"""Programs that a plugin starts: run to their end, their output read.

In: an argument vector (never a shell) and standard input. Out: exit code and what it printed. For
iptables-restore, nft and other plugins; whatever netlink can do is done by netlink. `subprocess`
would cost 10 ms of import; input and output are files in memory, so that nothing can wait for a
full pipe.
"""

import posix

from podway.cni.values import Value
from podway.plugins.program_paths import USUAL_PATH, find_program

__all__ = ["Outcome", "find_program", "run_program"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGPIPE = 13


class Outcome(Value):
    """How a program ended.

    Attributes:
        code: exit code; negative, the signal that ended it.
        stdout: what it printed.
        stderr: what it complained of.
    """

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """What it said on standard error, or else on standard output, as text."""
        return (self.stderr or self.stdout).decode(errors="replace").strip()


def run_program(
    argv: "list[str]", stdin: bytes = b"", variables: "Mapping[str, str] | None" = None
) -> Outcome:
    """Run ``argv[0]``, an absolute path, and return when it has ended.

    Args:
        argv: argument vector.
        stdin: what it reads.
        variables: environment beyond what this process has; a value replaces the one there.

    Raises:
        OSError: it cannot be started.
    """
    files = [posix.memfd_create(name, posix.MFD_CLOEXEC) for name in ("stdin", "stdout", "stderr")]
    try:
        _fill(files[0], stdin)
        actions = [(posix.POSIX_SPAWN_DUP2, file, target) for target, file in enumerate(files)]
        process = posix.posix_spawn(
            argv[0],
            argv,
            _environment(variables or {}),
            file_actions=actions,
            setsigdef=[_SIGPIPE],  # which Python ignores, and a child would go on ignoring
        )
        _, status = posix.waitpid(process, 0)
        return Outcome(
            code=posix.waitstatus_to_exitcode(status),
            stdout=_content(files[1]),
            stderr=_content(files[2]),
        )
    finally:
        for file in files:
            posix.close(file)


def _environment(variables: "Mapping[str, str]") -> "dict[bytes, bytes]":
    told = {name.encode(): value.encode() for name, value in variables.items()}
    return {b"PATH": USUAL_PATH.encode(), **posix.environ, **told}


def _fill(file: int, data: bytes) -> None:
    while data:
        data = data[posix.write(file, data) :]
    posix.lseek(file, 0, 0)


def _content(file: int) -> bytes:
    size = posix.fstat(file).st_size
    data = b""
    while len(data) < size:
        data += posix.pread(file, size - len(data), len(data))
    return data
