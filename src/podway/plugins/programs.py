"""Programs that a plugin starts: found, run to their end, their output read.

In: an argument vector (never a shell) and standard input. Out: exit code and what it printed. For
iptables-restore, nft and other plugins; whatever netlink can do is done by netlink. `subprocess`
would cost 10 ms of import; input and output are files in memory, so that nothing can wait for a
full pipe.
"""

import posix
from errno import EACCES, ENOENT

from podway.cni.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Where runtimes without a PATH have them (systemd units have one, some tests do not).
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
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


def find_program(name: str, search_path: str = "") -> str | None:
    """Return the path of executable *name* in *search_path* (default: PATH); None without one.

    Args:
        name: a file name without slash.
        search_path: directories with colons between them.
    """
    for directory in (search_path or _search_path()).split(":"):
        path = f"{directory}/{name}"
        # Relative directories would depend on where the runtime was started.
        if directory.startswith("/") and posix.access(path, posix.X_OK) and _is_file(path):
            return path
    return None


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
    return {b"PATH": _USUAL_PATH.encode(), **posix.environ, **told}


def _search_path() -> str:
    told = posix.environ.get(b"PATH", b"").decode(errors="surrogateescape")
    return f"{told}:{_USUAL_PATH}" if told else _USUAL_PATH


def _is_file(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o100000
    except OSError as error:
        if error.errno in {ENOENT, EACCES}:
            return False
        raise


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
