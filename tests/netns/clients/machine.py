"""A machine in small for container runtimes: network, mounts and processes of its own.

Runtimes write where they always write (/var/lib/cni, /run/netns, /run/containers): in here these
are file systems in memory, which go with the machine. Its first process only waits, and reaps those
whose parents have ended; programs are run beside it (`nsenter`). When the test ends that process is
killed by its number, and with it the kernel kills all others of its namespace, containers and their
monitors too (pid_namespaces(7)).
"""

import os
import select
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from netns.conftest import Netns

# What runtimes and plugins write outside of the directories that they can be told.
PRIVATE = (
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/containers",
    "/run/cni",
    "/run/containerd",
    "/run/containers",
    "/run/libpod",
    "/run/runc",
    "/etc/cni",
    # podman's locks: those of containers whose files went with the test would be held for ever.
    "/dev/shm",
)
# Where runtimes make their containers' cgroups.
_CGROUPS = ("libpod_parent/conmon", "libpod_parent", "k8s.io")
_SETUP = """\
set -e
for each; do mount -t tmpfs tmpfs "$each"; done
echo
sleep infinity &
wait
"""
_UNSHARE = (
    "unshare",
    "--mount",
    "--propagation=private",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
)
_CGROUP_ROOT = Path("/sys/fs/cgroup")
_BUSYBOX = Path("/bin/busybox")
_COMMANDS = ("sh", "sleep", "ip", "ping", "wget", "httpd", "mkdir", "echo", "nc", "cat")


@dataclass(frozen=True)
class Machine:
    """Where a runtime runs.

    Attributes:
        netns: its network.
        pid: of its first process, as others see it.
        directory: for the runtime's files; the test's own.
        environment: of programs.
    """

    netns: Netns
    pid: int
    directory: Path
    environment: dict[str, str]

    def command(self, *argv: str | Path) -> list[str]:
        """Return the command that runs *argv* here, as the child of the process that it makes."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", *map(str, argv)]

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
    """Make a machine; whatever still runs on it at the end is killed."""
    with _mount_points():
        keeper = subprocess.Popen(
            ["nsenter", f"--net={netns.path}", *_UNSHARE, "sh", "-c", _SETUP, "sh", *PRIVATE],
            stdout=subprocess.PIPE,
        )
        try:
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == b"\n"
            keeper.stdout.close()
            environment = {"PATH": os.environ["PATH"], "HOME": "/root"}
            yield Machine(netns, child_of(keeper.pid), directory, environment)
        finally:
            _end(keeper)
            _remove_unused_cgroups()


@contextmanager
def _mount_points() -> Iterator[None]:
    """Have the directories there that are mounted over: these are of the machine that runs tests.

    Where a runtime was never used it has none, and shall have none afterwards.
    """
    made = [path for path in map(Path, PRIVATE) if not path.exists()]
    try:
        for path in made:
            path.mkdir()
        yield
    finally:
        for path in made:
            with suppress(OSError):  # not made, or somebody has something in it by now
                path.rmdir()


def child_of(pid: int) -> int:
    """Return the number of the only child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def _end(keeper: subprocess.Popen[bytes]) -> None:
    """Kill the machine's first process, and wait until it is gone.

    The kernel lets it go only after all others of its namespace (kernel/pid_namespace.c,
    zap_pid_ns_processes).
    """
    if keeper.poll() is None:
        first = os.pidfd_open(child_of(keeper.pid))
        keeper.kill()
        select.select([first], [], [], 30)
        os.close(first)
    keeper.wait()


def _remove_unused_cgroups() -> None:
    """Remove the parents of cgroups that are gone, in each hierarchy (cgroups(7))."""
    for hierarchy in (_CGROUP_ROOT, *_CGROUP_ROOT.iterdir()):
        for name in _CGROUPS:
            with suppress(OSError):  # not there, or somebody has one below it
                hierarchy.joinpath(name).rmdir()


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
