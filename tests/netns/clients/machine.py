"""A machine in small for container runtimes: a network namespace with mounts of its own.

Runtimes write where they always write (/var/lib/cni, /run/netns, /run/containers): in here these
are file systems in memory, which go with the machine. A process that only sleeps keeps it; programs
are run beside it (`nsenter`). What is left running when the test ends is found by its namespace and
killed by its number.
"""

import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from netns.conftest import Netns

# What runtimes and plugins write outside of the directories that they can be told.
PRIVATE = (
    "/run/netns",
    "/var/lib/cni",
    "/run/cni",
    "/run/containers",
    "/run/libpod",
    "/run/runc",
    "/etc/cni",
    # podman's locks: those of containers whose files went with the test would be held for ever.
    "/dev/shm",
)
_SETUP = """\
set -e
mount --make-rprivate /
for each; do mkdir -p "$each"; mount -t tmpfs tmpfs "$each"; done
echo
exec sleep infinity
"""
_BUSYBOX = Path("/bin/busybox")
_COMMANDS = ("sh", "sleep", "ip", "ping", "wget", "httpd", "mkdir", "echo", "nc", "cat")


@dataclass(frozen=True)
class Machine:
    """Where a runtime runs.

    Attributes:
        netns: its network.
        pid: of the process that keeps it.
        directory: for the runtime's files; the test's own.
        environment: of programs.
    """

    netns: Netns
    pid: int
    directory: Path
    environment: dict[str, str]

    def command(self, *argv: str | Path) -> list[str]:
        """Return the command that runs *argv* here."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", *map(str, argv)]

    def run(self, *argv: str | Path, check: bool = True) -> str:
        """Run a program here and return what it prints; its complaint stands in the error."""
        done = subprocess.run(
            self.command(*argv),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout

    def fails(self, *argv: str | Path) -> bool:
        """Run a program here, and tell whether it failed."""
        done = subprocess.run(
            self.command(*argv), env=self.environment, capture_output=True, check=False, timeout=60
        )
        return done.returncode != 0

    def read(self, path: str | Path) -> str:
        """Return what a file here holds."""
        return self.run("cat", path)

    def files(self, directory: str | Path) -> list[str]:
        """Return the names of the files below a directory here; none if it is not there."""
        listed = self.run("find", directory, "-type", "f", check=False)
        return sorted(listed.split())


@contextmanager
def new_machine(netns: Netns, directory: Path) -> Iterator[Machine]:
    """Make a machine; whatever still runs in its namespaces at the end is killed."""
    keeper = subprocess.Popen(
        [
            "nsenter",
            f"--net={netns.path}",
            "unshare",
            "--mount",
            "sh",
            "-c",
            _SETUP,
            "sh",
            *PRIVATE,
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"\n"
        keeper.stdout.close()
        yield Machine(netns, keeper.pid, directory, {"PATH": os.environ["PATH"], "HOME": "/root"})
    finally:
        _kill_all(_mounts_of(keeper.pid), keeper.pid)
        keeper.kill()
        keeper.wait()


def _mounts_of(pid: int | str) -> str:
    return str(Path(f"/proc/{pid}/ns/mnt").readlink())


def _kill_all(mounts: str, keeper: int) -> None:
    """Kill what shares the machine's mounts, and wait until it is gone."""
    deadline = time.monotonic() + 10
    while others := [pid for pid in _processes(mounts) if pid != keeper]:
        assert time.monotonic() < deadline, others
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _processes(mounts: str) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if _mounts_of(entry.name) == mounts and _runs(entry.name):
                    yield int(entry.name)


def _runs(pid: str) -> bool:
    """Tell whether a process is more than an entry that its parent has not read yet."""
    state = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    return state not in {"Z", "X"}


def make_root(path: Path) -> Path:
    """Write a tar file of a root directory with a static busybox and nothing else."""
    with tarfile.open(path, "w") as archive:
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "srv"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(directory)
        archive.add(_BUSYBOX, "bin/busybox")
        for name in _COMMANDS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return path
