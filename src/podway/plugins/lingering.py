"""Waits for freed memory, left to a child process: the plugin's work is done before them.

In: devices to delete, sockets to close. Out: the devices are gone, and the process may end. Called
by DEL. Why it is here: RTM_DELLINK takes a device out of both namespaces within a millisecond, then
lets go of all locks and waits until the last reader of its memory is through (netdev_run_todo:
rcu_barrier), 16 to 30 ms in which the caller can only sit. Closing a socket by which nftables
rules were deleted waits likewise (nft_rcv_nl_event), 10 to 16 ms, and so does the end of the
process that has it open. Nothing of that matters to a runtime: what it asked for is done.

So a forked child makes the request, and the parent asks for the device until the kernel says that
there is none, which it does only once all that others can see is over. The child inherits the
sockets: whoever closes one last waits. It lets go of standard input and output at once, for a
runtime reads until the last writer is gone.

Somebody must reap the child after the plugin's end: init does. In another process namespace
process 1 may be anything (a daemon in a container), and would collect zombies; there everything is
waited for. An error of the child's request is found, too: the parent makes it again.
"""

import posix
from time import sleep

from podway.netlink.errors import NetlinkError
from podway.netlink.socket import NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, NoReturn

# The first process namespace of a machine: PROC_PID_INIT_INO, include/linux/proc_ns.h.
_FIRST_PID_NAMESPACE: "Final" = 0xEFFFFFFC
_ASK_AGAIN_S: "Final" = 0.0002


class LinkDeletion:
    """A device on its way out; `wait` returns when it is gone.

    Args:
        index: of the device.
        netns_fd: its namespace; None for the thread's own.

    Raises:
        NetlinkError: it could not be deleted (only where nobody would reap a child).
    """

    def __init__(self, index: int, netns_fd: int | None = None) -> None:
        self._index = index
        self._netns_fd = netns_fd
        self._child = _fork() if may_leave_children() else None
        if self._child is None:
            self._delete()
        elif not self._child:
            _end_after(self._delete)

    def wait(self) -> None:
        """Return when nobody can see the device any more.

        Raises:
            NetlinkError: it is still there, and the kernel refuses to delete it.
        """
        if self._child is None:
            return
        with NetlinkSocket(netns_fd=self._netns_fd) as netlink:
            while _exists(netlink, self._index):
                child, _ = posix.waitpid(self._child, posix.WNOHANG)
                if child:
                    self._delete()
                    break
                sleep(_ASK_AGAIN_S)
        self._child = None

    def _delete(self) -> None:
        from podway.netlink.links import delete_link  # noqa: PLC0415 - plugins without devices

        with NetlinkSocket(netns_fd=self._netns_fd) as netlink:
            try:
                netlink.request(delete_link({"index": self._index}))
            except NetlinkError as error:
                if not error.is_not_found:
                    raise


def leave_sockets_to_child() -> None:
    """Let a child close last what this process has open, so that its own end waits for nothing.

    To be called once, when all is done, after rules of nftables were deleted.
    """
    if not may_leave_children():
        return
    parent_is_gone, alive = posix.pipe()
    if _fork() == 0:
        posix.close(alive)
        _end_after(lambda: posix.read(parent_is_gone, 1))
    posix.close(parent_is_gone)


def may_leave_children() -> bool:
    """Tell whether somebody will reap a child that outlives this process."""
    try:
        return posix.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE
    except OSError:
        return False


def _fork() -> int | None:
    """Return the child's number, None if there can be none; in the child 0.

    There nothing leads to the runtime any more.
    """
    try:
        child = posix.fork()
    except OSError:
        return None
    if not child:
        nothing = posix.open("/dev/null", posix.O_RDWR)
        for descriptor in range(3):
            posix.dup2(nothing, descriptor)
    return child


def _end_after(work: "Callable[[], object]") -> "NoReturn":
    """Do *work* and end this process, whatever happens; exit code 0 if it was done."""
    code = 1
    try:
        work()
        code = 0
    finally:
        posix._exit(code)  # noqa: SLF001 - its name in POSIX


def _exists(netlink: NetlinkSocket, index: int) -> bool:
    from podway.netlink.links import get_link  # noqa: PLC0415 - plugins without devices

    try:
        netlink.request(get_link({"index": index}))
    except NetlinkError as error:
        if error.is_not_found:
            return False
        raise
    return True
