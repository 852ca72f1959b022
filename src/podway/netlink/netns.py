"""Network namespaces by file descriptor: open, enter, make, delete, list.

Named namespaces are bind mounts under /run/netns, exactly as `ip netns add` makes them, so that
`ip netns exec` and podway see each other's. A namespace belongs to a *thread*: `entered` moves the
calling thread alone, and what cannot come home must die (`NamespaceLostError`).

Python has setns and unshare from 3.12 on; until then they are called in libc through `_ctypes`,
the C module under ctypes (whose own import would take longer than everything else here).

Sources: namespaces(7), network_namespaces(7), setns(2), iproute2 ip/ipnetns.c.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

NETNS_DIR = "/run/netns"


def open_netns(path: str) -> int:
    """Return a file descriptor (close-on-exec) of the namespace at *path*; the caller closes it.

    Raises:
        NetnsError: it cannot be opened.
    """
    raise NotImplementedError


def open_netns_of_pid(pid: int) -> int:
    """Return a file descriptor of the namespace that process *pid* is in."""
    raise NotImplementedError


def open_named_netns(name: str) -> int:
    """Return a file descriptor of the namespace that `ip netns` calls *name*."""
    raise NotImplementedError


def open_current_netns() -> int:
    """Return a file descriptor of the calling thread's namespace."""
    raise NotImplementedError


def identity(fd: int) -> tuple[int, int]:
    """Return what distinguishes a namespace from all others: (st_dev, st_ino)."""
    raise NotImplementedError


def current_identity() -> tuple[int, int]:
    """Return the identity of the calling thread's namespace."""
    raise NotImplementedError


class entered:  # noqa: N801  # reads as a phrase: with entered(fd)
    """Context manager: the calling thread is in namespace *fd*, and home again afterwards.

    Raises:
        NetnsError: *fd* cannot be entered; the thread has not moved.
        NamespaceLostError: the thread cannot go home; a SystemExit, not to be caught.
    """

    __slots__ = ("_fd", "_home")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._home = -1

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        raise NotImplementedError


def create_named_netns(name: str) -> None:
    """Make a namespace as `ip netns add` does; the calling thread stays where it is.

    Raises:
        NetnsError: EEXIST when the name is taken, EINVAL for an impossible name, EPERM without
            CAP_SYS_ADMIN.
    """
    raise NotImplementedError


def delete_named_netns(name: str) -> None:
    """Take a name away as `ip netns delete` does; the kernel ends the namespace when unused.

    Raises:
        NetnsError: ENOENT when there is no such name.
    """
    raise NotImplementedError


def list_named_netns() -> list[str]:
    """Return the names of all named namespaces, sorted."""
    raise NotImplementedError
