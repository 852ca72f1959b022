"""What tests may leave on the machine that runs them: looked at before and after.

In: nothing but the machine. Out: what is there afterwards and was not before, a line for each.
``run.py`` calls it, so that a test that forgets a process, a namespace or a file fails the run,
whichever test it is: what a run leaves behind is what the next one stumbles over.

A process counts if it is in a network namespace of its own, as all that tests start there are. Its
command names it; another may have the same, so its number and its start tell it apart.
"""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Where podway, the plugins and their callers write, unless told otherwise.
_DIRECTORIES: Final = (
    "/dev/shm",
    "/etc/cni",
    "/run/cni",
    "/run/containerd",
    "/run/flannel",
    "/run/libpod",
    "/run/podway",
    "/run/wireguard",
    "/var/lib/cni",
    "/var/lib/podway",
)
_STARTED_FIELD: Final = 19  # of /proc/PID/stat behind the command (proc(5): field 22)


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """One thing that is there.

    Attributes:
        kind: what it is, in a word or two.
        name: how people call it.
        identity: tells it from another of the same name.
    """

    kind: str
    name: str
    identity: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def take_inventory() -> frozenset[Thing]:
    """Return all that is there now."""
    return frozenset(
        {
            *(Thing("network namespace", path.name) for path in _entries(Path("/run/netns"))),
            *(Thing("device", path.name) for path in _entries(Path("/sys/class/net"))),
            *(Thing("nftables", line) for line in _lines("nft", "list", "tables")),
            *(Thing("rule", line) for line in _lines("ip", "-4", "rule")),
            *(Thing("rule", line) for line in _lines("ip", "-6", "rule")),
            *(Thing("file", str(path)) for path in _files()),
            *_processes(),
        }
    )


def left_behind(before: frozenset[Thing], after: frozenset[Thing]) -> list[str]:
    """Return what is in *after* only; of nested files the outermost."""
    new = after - before
    names = {thing.name for thing in new if thing.kind == "file"}
    inner = {name for name in names if not names.isdisjoint(map(str, Path(name).parents))}
    return [str(thing) for thing in sorted(new) if thing.kind != "file" or thing.name not in inner]


def _entries(directory: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return list(directory.iterdir())
    return []


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def _files() -> Iterator[Path]:
    yield from Path("/tmp").glob("podway-*")
    for name in _DIRECTORIES:
        directory = Path(name)
        if directory.exists():
            yield directory
            yield from directory.rglob("*")


def _processes() -> Iterator[Thing]:
    own = Path("/proc/self/ns/net").readlink()
    for entry in _entries(Path("/proc")):
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended
                if entry.joinpath("ns/net").readlink() != own:
                    yield _process(entry)


def _process(entry: Path) -> Thing:
    words = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    fields = entry.joinpath("stat").read_text().rpartition(")")[2].split()
    identity = f"{entry.name} {fields[_STARTED_FIELD]}"
    return Thing("process", words.strip() or "without a name", identity)
