"""The sockets on which the kernel tells what changed, and one descriptor for all of them.

In: notifications of rtnetlink and nftables, from the moment that the listener is made. Out: nothing
but what `podway.kernel.events` makes of them; `fileno` is readable when there is news. Called by
`podway.kernel.node`, under its lock.

Why it is hard: whoever writes or reads takes notifications in besides, so there may be news that no
socket holds any more: a counter of our own (eventfd) then wakes who waits for the descriptor.
"""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from podway.kernel.events import GROUPS, Translator
from podway.kernel.protocol import KernelEvent
from podway.netlink import DecodeError, EventSocket, NetlinkError
from podway.netlink.constants import NETLINK_NETFILTER, NFNLGRP_NFTABLES

# Notifications that are taken in at one time: more than the queue holds, but a storm has an end.
_ROUND = 10_000
_ROUNDS = 4


class Listener:
    """Hears what is told of one namespace.

    Args:
        translator: takes the notifications in.
        netns_fd: the namespace; None for the calling thread's.

    Raises:
        NetlinkError: the kernel gives no sockets.
    """

    def __init__(self, translator: Translator, netns_fd: int | None = None) -> None:
        self._translator = translator
        self._events = EventSocket(GROUPS, netns_fd=netns_fd)
        self._commits = EventSocket((NFNLGRP_NFTABLES,), NETLINK_NETFILTER, netns_fd)
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        for fd in (self._events.fileno(), self._commits.fileno(), self._wake):
            self.watch(fd)

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is news."""
        return self._poll.fileno()

    def watch(self, fd: int) -> None:
        """Have the descriptor be readable when *fd* is, too."""
        self._poll.register(fd, select.EPOLLIN)

    def listen(self) -> None:
        """Take in the notifications that have come."""
        try:
            for _ in range(_ROUNDS):
                events = self._events.drain(_ROUND)
                self._translator.take(events)
                if len(events) < _ROUND:
                    break
            self._translator.take_commits(self._commits.drain())
        except (DecodeError, NetlinkError):
            self._translator.lose()

    @contextmanager
    def own_commit(self) -> Iterator[None]:
        """Let what nftables tells of the commit that is made inside be our own doing."""
        self._translator.take_commits(self._commits.drain())
        try:
            yield
        finally:
            self._translator.take_commits(self._commits.drain(), own=True)

    def news(self) -> list[KernelEvent]:
        """Return what is new since the last call, without waiting."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        self.listen()
        return self._translator.news()

    def wake_if_news(self) -> None:
        """Let the descriptor say that there is news that no socket holds any more."""
        if self._translator.has_news:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close everything."""
        self._poll.close()
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1
        self._events.close()
        self._commits.close()
