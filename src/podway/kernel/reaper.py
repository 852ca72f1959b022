"""Deletes devices and returns as soon as they are gone, not when the kernel has freed them.

In: device indexes. Out: for each None, or why the kernel refused. Why it is hard: RTM_DELLINK takes
the device out of both namespaces within a millisecond, then lets go of the rtnl lock and waits for
all pending RCU callbacks before it frees the memory (net/core/dev.c, netdev_run_todo: rcu_barrier),
16 to 30 ms in which the caller can only sit. So the request is made by a thread of its own, and the
caller asks for the device until the kernel says that there is none: that question waits for the
same lock, so one or two are enough.

Several devices go at once: they are put into a group of their own (IFLA_GROUP) and the group is
deleted by one message, with one wait for all of them.
"""

import errno
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import count
from queue import Empty, SimpleQueue

from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    change_link,
    delete_link,
    dump_links,
    get_link,
)

# How many deletions may wait for their memory at the same time; a further one waits for its turn.
_WORKERS = 8
_ASK_AGAIN_S = 0.0003
# Groups are 32 bits and 0 is everybody's; a range that nobody else has a reason to use.
_FIRST_GROUP = 0x70770000
_GROUPS = 0x10000


class LinkReaper:
    """Deletes devices of one namespace.

    Args:
        netns_fd: the namespace; None for the process's own.
    """

    def __init__(self, netns_fd: int | None = None) -> None:
        self._netns_fd = netns_fd
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="reaper")
        self._idle: SimpleQueue[NetlinkSocket] = SimpleQueue()
        self._numbers = count()
        self._ports: set[int] = set()
        self._asking = NetlinkSocket(netns_fd=netns_fd)

    def delete(self, indexes: Sequence[int]) -> list[NetlinkError | None]:
        """Delete the devices with *indexes*; one that is gone already counts as deleted."""
        if not indexes:
            return []
        request = self._threads.submit(self._delete, list(indexes))
        pending = list(indexes)
        while True:
            done = request.done()
            pending = [index for index in pending if self._exists(index)]
            if not pending:
                return [None] * len(indexes)
            if done:
                return self._outcomes(indexes, pending, request)
            wait([request], timeout=_ASK_AGAIN_S)

    def ports(self) -> list[int]:
        """Return the netlink ports whose notifications are our own doing."""
        return list(self._ports)

    def close(self) -> None:
        """Wait for what is under way and close everything."""
        self._threads.shutdown()
        while not self._idle.empty():
            self._idle.get().close()
        self._asking.close()

    def _delete(self, indexes: list[int]) -> None:
        netlink = self._socket()
        try:
            if len(indexes) == 1:
                netlink.request(delete_link({"index": indexes[0]}))
            else:
                self._delete_group(netlink, indexes)
        finally:
            self._idle.put(netlink)

    def _delete_group(self, netlink: NetlinkSocket, indexes: list[int]) -> None:
        group = _FIRST_GROUP + next(self._numbers) % _GROUPS
        strangers = [link for link in netlink.dump(dump_links()) if link.get("group") == group]
        if strangers:
            # Somebody uses our number: never delete what is not in this batch.
            netlink.batch(delete_link({"index": index}) for index in indexes)
            return
        netlink.batch(change_link({"index": index, "group": group}) for index in indexes)
        try:
            netlink.request(delete_link({"group": group}))
        except NetlinkError as error:
            if error.errno != errno.ENODEV:
                netlink.batch(delete_link({"index": index}) for index in indexes)

    def _socket(self) -> NetlinkSocket:
        try:
            return self._idle.get_nowait()
        except Empty:
            netlink = NetlinkSocket(netns_fd=self._netns_fd)
            self._ports.add(netlink.port_id)
            return netlink

    def _exists(self, index: int) -> bool:
        try:
            self._asking.request(get_link({"index": index}))
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def _outcomes(
        self, indexes: Sequence[int], pending: list[int], request: "Future[None]"
    ) -> list[NetlinkError | None]:
        """Return why *pending* ones are still there, although the request came to its end."""
        error = request.exception()
        if error is not None and not isinstance(error, NetlinkError):
            raise error
        left = error or NetlinkError(errno.EBUSY, "delete device")
        return [left if index in pending else None for index in indexes]
