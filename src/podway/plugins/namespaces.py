"""The network namespace that CNI_NETNS names: opened, recognised, and never the plugin's own.

In: a path of the runtime's. Out: an open descriptor, which means the same in any other process.
Called by executables before they touch anything.
"""

import posix
from fcntl import ioctl

from podway.cni.errors import INVALID_NETNS, CniError, broken_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# linux/nsfs.h and linux/sched.h.
NS_GET_NSTYPE: "Final" = 0xB703
CLONE_NEWNET: "Final" = 0x40000000
_OWN: "Final" = "/proc/self/ns/net"


class NetnsGoneError(CniError):
    """No network namespace is at the path; for DEL that is no error."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(INVALID_NETNS, f"CNI_NETNS = {path!r}: {reason}")


def open_netns(path: str, *, may_be_own: bool) -> int:
    """Return a descriptor of the network namespace at *path*.

    Args:
        path: CNI_NETNS.
        may_be_own: the runtime set CNI_NETNS_OVERRIDE.

    Raises:
        NetnsGoneError: nothing is there, or something that is no network namespace: where a
            namespace was mounted, an ordinary file stays behind.
        CniError: INVALID_NETNS, it is the plugin's own.
    """
    descriptor = _open(path)
    try:
        _check(descriptor, path, may_be_own=may_be_own)
    except CniError:
        posix.close(descriptor)
        raise
    return descriptor


def refuse_own_path(path: str) -> None:
    """Refuse a path that leads to the plugin's own namespace; nothing else is looked at.

    Raises:
        CniError: INVALID_NETNS.
    """
    try:
        theirs = posix.stat(path)
    except OSError:
        return
    if _is_same(theirs):
        raise _own(path)


def _open(path: str) -> int:
    try:
        # Not blocking: the path might be a pipe that nobody writes to.
        return posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError as error:
        raise NetnsGoneError(path, f"cannot be opened: {error.strerror}") from None


def _check(descriptor: int, path: str, *, may_be_own: bool) -> None:
    if not _is_netns(descriptor):
        raise NetnsGoneError(path, "is no network namespace")
    if not may_be_own and _is_same(posix.fstat(descriptor)):
        raise _own(path)


def _own(path: str) -> CniError:
    rule = "is the plugin's own network namespace; CNI_NETNS_OVERRIDE=1 would allow it"
    return broken_rule("CNI_NETNS", path, rule, INVALID_NETNS)


def _is_netns(descriptor: int) -> bool:
    try:
        return ioctl(descriptor, NS_GET_NSTYPE) == CLONE_NEWNET
    except OSError:
        return False


def _is_same(theirs: "posix.stat_result") -> bool:
    ours = posix.stat(_OWN)
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
