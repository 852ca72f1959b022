"""Small files in which a plugin notes what a later call needs: whole, or not there.

In: a path and bytes. Out: a file that is never seen half written, whoever is killed when. Called by
plugins that have to undo something with which the kernel cannot help.
"""

import posix
from errno import ENOENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MODE_DIRECTORY: "Final" = 0o700
_MODE_FILE: "Final" = 0o600
_READ: "Final" = posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW
_WRITE: "Final" = (
    posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW
)


def read_if_any(path: str) -> bytes | None:
    """Return what a file holds, None without one.

    Raises:
        OSError: it cannot be read.
    """
    try:
        descriptor = posix.open(path, _READ)
    except OSError as error:
        if error.errno == ENOENT:
            return None
        raise
    try:
        return posix.read(descriptor, posix.fstat(descriptor).st_size)
    finally:
        posix.close(descriptor)


def write_whole(path: str, aside: str, data: bytes) -> None:
    """Write a file, and the directories above it if there are none.

    Args:
        path: of the file.
        aside: where it is while it is being written; in the same directory.
        data: its content.

    Raises:
        OSError: it cannot be written.
    """
    make_directories(path.rpartition("/")[0])
    descriptor = posix.open(aside, _WRITE, _MODE_FILE)
    try:
        while data:
            data = data[posix.write(descriptor, data) :]
    finally:
        posix.close(descriptor)
    posix.rename(aside, path)


def remove_if_any(path: str) -> None:
    """Remove a file; none is no error.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        posix.unlink(path)
    except OSError as error:
        if error.errno != ENOENT:
            raise


def names_in(directory: str) -> list[str]:
    """Return the names of the files in a directory; without one there are none.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return sorted(posix.listdir(directory))
    except OSError as error:
        if error.errno == ENOENT:
            return []
        raise


def make_directories(path: str, mode: int = _MODE_DIRECTORY) -> None:
    """Make a directory and those above it; what is there is left as it is.

    Args:
        path: absolute.
        mode: of those that are made.

    Raises:
        OSError: it cannot be made.
    """
    try:
        posix.mkdir(path, mode)
    except FileExistsError:
        return  # or another call was faster
    except FileNotFoundError:
        parent = path.rpartition("/")[0]
        if not parent:
            raise
        make_directories(parent, mode)
        make_directories(path, mode)
