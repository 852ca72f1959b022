"""Executables and network configuration, put where a container runtime looks for them.

In: directories. Out: a report of what was written. ``podway cni install`` and the lab call
`install`; what should stand there (`desired_files`) and what that means for what does
(`plan_install`) is pure.

Every file is written aside and renamed into place, so that a runtime which starts a plugin or loads
its configuration meanwhile sees the old file or the new one. The configuration comes last: a
runtime that sees it takes the network for usable.
"""

import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from podway.errors import PodwayError
from podway.plugins.bundles import make_bundle
from podway.plugins.conflists import CONFLIST_NAME, Conflist, render_conflist
from podway.plugins.executables import (
    base_interpreter,
    check_interpreter,
    package_directory,
    render_executable,
)
from podway.plugins.registry import Plugin, find_plugins

EXECUTABLE_MODE: Final = 0o755
CONFLIST_MODE: Final = 0o644


class InstallError(PodwayError):
    """Files cannot be put in place.

    Attributes:
        path: the one in the way.
    """

    def __init__(self, path: Path, rule: str) -> None:
        super().__init__(f"{path}: {rule}")
        self.path = path


class Action(Enum):
    """What `write_install` does with a file."""

    CREATE = "created"
    REPLACE = "replaced"
    KEEP = "unchanged"


@dataclass(frozen=True, slots=True)
class File:
    """A file as it should stand, or as it stands.

    Attributes:
        path: where.
        content: bytes.
        mode: permission bits.
        precious: not to be replaced when somebody changed it.
    """

    path: Path
    content: bytes
    mode: int
    precious: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A file, and what is to be done with it."""

    file: File
    action: Action


@dataclass(frozen=True, slots=True)
class Report:
    """What an installation did, in order: for the command line to print.

    Attributes:
        steps: files.
        slow_because: why executables must load their modules one by one, "" if they need not.
    """

    steps: tuple[Step, ...]
    slow_because: str = ""

    def lines(self) -> tuple[str, ...]:
        """Return one line per file: ``created /opt/cni/bin/podway``, and what else is to say."""
        lines = tuple(f"{step.action.value} {step.file.path}" for step in self.steps)
        if not self.slow_because:
            return lines
        return (*lines, f"calls take 2 ms longer, no modules are compiled: {self.slow_because}")


def plan_install(desired: Iterable[File], found: Mapping[Path, File]) -> tuple[Step, ...]:
    """Return what makes *found* into *desired*, in the order of *desired*.

    Raises:
        InstallError: a precious file differs.
    """
    return tuple(Step(file, _action(file, found.get(file.path))) for file in desired)


def _action(file: File, found: File | None) -> Action:
    if found is None:
        return Action.CREATE
    if (found.content, found.mode) == (file.content, file.mode):
        return Action.KEEP
    if file.precious and found.content != file.content:
        rule = "is there and differs: remove it, or install with --replace"
        raise InstallError(file.path, rule)
    return Action.REPLACE


def install(
    directory: Path,
    *,
    plugins: tuple[str, ...] = (),
    conflist: Conflist | None = None,
    create_directories: bool = False,
    interpreter: str | None = None,
    package_root: str | None = None,
) -> Report:
    """Put executables and, if *conflist* is given, the network configuration in place.

    Args:
        directory: for executables (``/opt/cni/bin``).
        plugins: which; () for all.
        conflist: what to configure.
        create_directories: make the directories that are missing.
        interpreter: Python for the executables; None for the one that runs this.
        package_root: directory of the package ``podway``; None for the one this came from.

    Raises:
        ConfigError, CniError: a value breaks a rule; nothing was written.
        InstallError: a file or directory is in the way; files of the report so far may be written.
    """
    interpreter = interpreter or base_interpreter()
    check_interpreter(Path(interpreter))
    files = desired_files(
        directory,
        find_plugins(plugins),
        conflist,
        interpreter=interpreter,
        package_root=package_root or package_directory(),
    )
    for parent in dict.fromkeys(file.path.parent for file in files):
        _check_directory(parent, create=create_directories)
    steps = plan_install(files, read_files(file.path for file in files))
    write_install(steps)
    return Report(steps, make_bundle(interpreter, package_root or package_directory()))


def desired_files(
    directory: Path,
    plugins: Iterable[Plugin],
    conflist: Conflist | None,
    *,
    interpreter: str,
    package_root: str,
) -> tuple[File, ...]:
    """Return the files as they should stand, the network configuration last.

    Raises:
        ConfigError, CniError: a value breaks a rule.
    """
    executables = tuple(
        File(
            path=directory / plugin.name,
            content=render_executable(plugin, interpreter, package_root),
            mode=EXECUTABLE_MODE,
        )
        for plugin in plugins
    )
    if conflist is None:
        return executables
    configuration = File(
        path=conflist.directory / CONFLIST_NAME,
        content=render_conflist(conflist),
        mode=CONFLIST_MODE,
        precious=not conflist.replace,
    )
    return (*executables, configuration)


def read_files(paths: Iterable[Path]) -> dict[Path, File]:
    """Return those of *paths* that are there.

    Raises:
        InstallError: something else than an ordinary file is there, or it cannot be read.
    """
    found = {path: _read_file(path) for path in paths}
    return {path: file for path, file in found.items() if file is not None}


def _read_file(path: Path) -> File | None:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise InstallError(path, "is no ordinary file: remove it")
        return File(path, path.read_bytes(), stat.S_IMODE(status.st_mode))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InstallError(path, f"cannot be read: {error.strerror}") from error


def write_install(steps: Iterable[Step]) -> None:
    """Carry *steps* out.

    Raises:
        InstallError: a file cannot be written; those before it are.
    """
    for step in steps:
        if step.action is Action.KEEP:
            continue
        try:
            _write_atomically(step.file)
        except OSError as error:
            raise InstallError(step.file.path, f"cannot be written: {error.strerror}") from error


def _write_atomically(file: File) -> None:
    """Replace *file* in one step, also when the machine stops in the middle."""
    parent = file.path.parent
    # No runtime takes a file for a plugin or a configuration whose name ends like this.
    descriptor, name = tempfile.mkstemp(prefix=f".{file.path.name}.", suffix=".tmp", dir=parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(file.content)
            os.fchmod(stream.fileno(), file.mode)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file.path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    _sync_directory(parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_directory(directory: Path, *, create: bool) -> None:
    """Refuse a directory that is missing, unless it is to be made."""
    if directory.is_dir():
        return
    if not create:
        raise InstallError(directory, "is no directory: make it, or install with --create")
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise InstallError(directory, f"cannot be made: {error.strerror}") from error
