"""A node's kernel and what is wanted of it: the agent's passes without an agent.

For the tests of tunnels that a process carries, which have to see it too.
"""

import select
from pathlib import Path

from netns.conftest import Netns
from netns.kernel.worlds import PATIENCE_S
from podway.diff.tracker import Tracker
from podway.kernel.node import NodeKernel
from podway.kernel.protocol import KernelEvent
from podway.model.kernel import KernelObject


class Node:
    """The kernel of one node, which keeps its processes' sockets in *directory*."""

    def __init__(self, netns: Netns, directory: Path) -> None:
        self.netns, self.directory = netns, directory
        self.restart()

    def open(self) -> NodeKernel:
        return NodeKernel(
            self.netns.fd,
            run_dir=self.directory,
            wireguard_key=self.directory / "wireguard.key",
        )

    def restart(self) -> None:
        """Begin anew with what is there, as an agent that starts."""
        self.kernel = self.open()
        self.tracker = Tracker()
        self.tracker.sweeping = True

    def reconcile(self, *objects: KernelObject) -> list[str]:
        """Make it so that there are *objects*; return the operations that it took."""
        self.tracker.desire(("test",), objects)
        self.tracker.observe_all(self.kernel.read(list(self.tracker.wanted())))
        done = []
        while operations := self.tracker.plan():
            for operation, error in zip(operations, self.kernel.apply(operations), strict=True):
                assert error is None, (str(operation), error)
                self.tracker.record(operation, None, 0.0)
                done.append(str(operation))
        return done

    def next_events(self) -> list[KernelEvent]:
        """Return what the kernel tells next."""
        poll = select.poll()
        poll.register(self.kernel.fileno(), select.POLLIN)
        assert poll.poll(PATIENCE_S * 1000)
        return self.kernel.drain()

    def processes(self) -> list[int]:
        """Return the processes in the namespace."""
        inode = Path(self.netns.path).stat().st_ino
        names = [entry.name for entry in Path("/proc").iterdir()]
        return [pid for pid in map(int, filter(str.isdigit, names)) if _is_in(pid, inode)]


def _is_in(pid: int, inode: int) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == inode
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
