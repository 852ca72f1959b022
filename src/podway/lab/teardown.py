"""Take a lab away, whatever is left of it, and prove that nothing is.

What belongs to a lab is found by name (`names`) and by namespace, not in its state files: a lab
that was half made, or whose files are damaged, goes as completely as any other one. The pid files
count too, for a program whose namespace has lost its name.
"""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from podway.lab.errors import LabError
from podway.lab.interrupts import uninterrupted
from podway.lab.names import LABS_DIR, check_lab_name, lab_dir
from podway.lab.namespaces import delete_namespace, inode_of, list_lab_names, list_namespaces
from podway.lab.processes import ProcessId, is_running, kill_all, processes_in, read_pid_file
from podway.lab.progress import Report
from podway.lab.state import list_labs
from podway.netlink import NetnsError

# Each round kills what the one before had forked meanwhile.
ROUNDS = 10


class Removed(Struct, frozen=True, kw_only=True):
    """What `take_down` found and removed.

    Attributes:
        lab: its name.
        namespaces: their names; their links, addresses, routes and rules went with them.
        processes: how many were ended.
        files: how many were deleted.
    """

    lab: str
    namespaces: tuple[str, ...]
    processes: int
    files: int

    @property
    def nothing(self) -> bool:
        """There was nothing to remove."""
        return not (self.namespaces or self.processes or self.files)


def take_down(name: str, report: Report) -> Removed:
    """Remove everything of the lab *name*; nothing is left when this returns.

    Raises:
        LabError: something could not be removed, or this very process is part of the lab.
    """
    with uninterrupted():
        return _take_down(check_lab_name(name), report)


def _take_down(name: str, report: Report) -> Removed:
    namespaces = list_namespaces(name)
    inodes = {inode_of(namespace) for namespace in namespaces}
    _refuse_own_namespace(inodes)
    killed = _end_processes(name, inodes)
    if killed:
        report(name, f"ended {len(killed)} processes")
    for namespace in namespaces:
        with suppress(NetnsError):
            delete_namespace(namespace)
    if namespaces:
        report(name, f"removed {len(namespaces)} namespaces and what was in them")
    files = _delete_files(name)
    if files:
        report(name, f"deleted {files} files")
    _verify(name, inodes)
    return Removed(lab=name, namespaces=tuple(namespaces), processes=len(killed), files=files)


def all_labs() -> list[str]:
    """Return the names of all labs of which anything is there, sorted."""
    return sorted({*list_labs(), *list_lab_names()})


def _refuse_own_namespace(inodes: set[int]) -> None:
    own = Path("/proc/self/ns/net").stat().st_ino
    if own in inodes:
        raise LabError(
            "this shell is inside of the lab, and would be ended with it; leave it first"
        )


def _end_processes(name: str, inodes: set[int]) -> set[ProcessId]:
    killed: set[ProcessId] = set()
    for _ in range(ROUNDS):
        found = _find(name, inodes) or _find(name, inodes)
        if not found:
            return killed
        killed.update(kill_all(found))
    left = ", ".join(str(each.pid) for each in found)
    raise LabError(f"processes {left} of lab {name!r} do not end, although killed")


def _find(name: str, inodes: set[int]) -> set[ProcessId]:
    """Return the lab's processes that are seen in one look.

    One look does not prove that there is none: a process that becomes a daemon has ended by the
    time that it is looked at, and what it has become was not there when the list was made.
    """
    return {*processes_in(inodes), *_recorded(name)}


def _recorded(name: str) -> Iterable[ProcessId]:
    recorded = (read_pid_file(path) for path in lab_dir(name).glob("*/*.pid"))
    return [each for each in recorded if each is not None and is_running(each)]


def _delete_files(name: str) -> int:
    directory = lab_dir(name)
    count = sum(len(files) for _, _, files in os.walk(directory))
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
    for parent in (LABS_DIR, LABS_DIR.parent):
        with suppress(OSError):  # other labs, or an agent, still have something there
            parent.rmdir()
    return count


def _verify(name: str, inodes: set[int]) -> None:
    left = [
        *(f"namespace {namespace}" for namespace in list_namespaces(name)),
        *(f"process {each.pid}" for each in processes_in(inodes)),
        *([f"directory {lab_dir(name)}"] if lab_dir(name).exists() else []),
    ]
    if left:
        raise LabError(f"of lab {name!r} there is still: {', '.join(left)}")
