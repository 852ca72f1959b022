"""The edges of an executable's process: environment and standard input in, standard output out.

Called by every CNI executable. `os`, `sys.stdin` and an orderly interpreter exit are avoided, since
each costs as much as the work: the system calls are at hand in `posix`.
"""

import posix

from podway.cni.errors import INVALID_ENVIRONMENT, IO_FAILURE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_CHUNK_BYTES = 1 << 16


def read_environment() -> dict[str, str]:
    """Return the CNI_* variables.

    Raises:
        CniError: INVALID_ENVIRONMENT, one of them is not UTF-8.
    """
    return {
        name.decode(): _text(name, value)
        for name, value in posix.environ.items()
        if name.startswith(b"CNI_") and name.isascii()
    }


def read_stdin(limit_bytes: int) -> bytes:
    """Return standard input, or its first *limit_bytes* + 1 bytes if it is longer.

    Raises:
        CniError: IO_FAILURE.
    """
    data = bytearray()
    try:
        while len(data) <= limit_bytes:
            chunk = posix.read(0, min(_CHUNK_BYTES, limit_bytes + 1 - len(data)))
            if not chunk:
                break
            data += chunk
    except OSError as error:
        raise CniError(IO_FAILURE, f"standard input cannot be read: {error.strerror}") from None
    return bytes(data)


def finish(code: int, stdout: str, stderr: str = "") -> "NoReturn":
    """Print and end the process, without the interpreter's clean-up (1.1 ms)."""
    _write(2, stderr.encode(errors="backslashreplace"))
    written = _write(1, stdout.encode(errors="backslashreplace"))
    posix._exit(code if written else 1)  # noqa: SLF001 - its name in POSIX


def complain(text: str) -> None:
    """Say something that is no error: a runtime logs standard error, and reads on in the result."""
    _write(2, f"{text}\n".encode(errors="backslashreplace"))


def _text(name: bytes, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        rule = "must be UTF-8"
        raise CniError(INVALID_ENVIRONMENT, f"{name.decode()} = {value!r}: {rule}") from None


def _write(descriptor: int, data: bytes) -> bool:
    """Write all of *data*; tell whether somebody could still take it."""
    try:
        while data:
            data = data[posix.write(descriptor, data) :]
    except OSError:
        return False
    return True
