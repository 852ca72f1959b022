"""What stands in files that others replace while we run: certificates, passwords, kubeconfigs.

In: a function that makes a value of files. Out: that value, as the files say it when it is asked
for, which is when a connection is made or somebody logs in. Nothing is polled: a look costs one
stat(2) a file. Hard are the moments in between. A certificate comes before its key, a file is half
written, a link points nowhere: then what was read before is used on, and the log says so, once. And
a file that is replaced while it is being read must be seen as another the next time, so what it was
is noted before it is opened.

Nothing that a file holds is ever in the log, as little as in a `ConfigError`.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from podway.errors import ConfigError

T = TypeVar("T")
# Called with a path just before it is read; returns that path.
Reading: TypeAlias = Callable[[Path], Path]
_Mark: TypeAlias = tuple[int, ...] | None
_log = logging.getLogger("podway.store")


class Renewed(Generic[T]):
    """A value made of files, made anew when one of them is another than it was.

    Args:
        load: makes the value. It passes the path of each file through its argument before it reads
            it, and raises ConfigError for files that cannot be used.

    Raises:
        ConfigError: they cannot be used now, so there is nothing to begin with.
    """

    def __init__(self, load: Callable[[Reading], T]) -> None:
        self._load = load
        self._marks: dict[Path, _Mark] = {}
        self._is_kept = False
        self._value = self._read()

    def now(self) -> T:
        """Return the value as the files say it now, or, where they cannot be used, said it last."""
        if any(_mark(path) != mark for path, mark in self._marks.items()):
            self._renew()
        return self._value

    def _renew(self) -> None:
        try:
            self._value = self._read()
        except ConfigError as error:
            if not self._is_kept:
                _tell(logging.WARNING, "what was read before is used on", reason=str(error))
            self._is_kept = True  # and the marks stay, so that the next look tries again
        else:
            self._is_kept = False
            _tell(logging.INFO, "read again", files=",".join(map(str, self._marks)))

    def _read(self) -> T:
        marks: dict[Path, _Mark] = {}

        def reading(path: Path) -> Path:
            marks.setdefault(path, _mark(path))
            return path

        value = self._load(reading)
        self._marks = marks
        return value


def _tell(level: int, message: str, **fields: str) -> None:
    _log.log(level, message, extra={"fields": fields})


def _mark(path: Path) -> _Mark:
    """Return what another file at *path*, or other content, has another of; None without one.

    Through links, as Kubernetes replaces mounted files. The size is for what is written within one
    tick of the file system's clock, the time of the inode's change for a mode that was put right.
    """
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
