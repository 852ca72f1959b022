"""Requests to the kernel: one, many, or a listing.

Comes in: `Request` values. Goes out: decoded messages, or `NetlinkError` with the operation, the
kernel's reason and the field at fault. Why it is hard: answers share one queue, which drops what
does not fit; a listing may be torn by a concurrent change and must be read again; and an error
must find its request among thousands sent in one system call.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Self, TypeVar

    from podway.netlink.errors import NetlinkError
    from podway.netlink.messages import Request

    Message = TypeVar("Message")


class NetlinkSocket:
    """A netlink socket for requests; blocking, for one thread at a time.

    The kernel answers rtnetlink requests before the send returns, so that no call here waits for
    anything but the kernel's own work.
    """

    def __init__(
        self, protocol: int = 0, netns_fd: int | None = None, groups: Sequence[int] = ()
    ) -> None:
        """Open the socket.

        Args:
            protocol: NETLINK_ROUTE or another NETLINK_*.
            netns_fd: namespace in which the socket lives for good; None for the thread's own.
            groups: notification groups to join; `EventSocket` reads them.

        Raises:
            NetlinkError: the kernel gives no such socket.
            NetnsError: the namespace cannot be entered.
        """
        raise NotImplementedError

    def fileno(self) -> int:
        """Return the file descriptor; -1 once closed."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the socket; may be called twice."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def request(self, request: Request[Message]) -> Message | None:
        """Carry out one request.

        Returns:
            The object for a read, the object made for NLM_F_ECHO; None for a bare acknowledgement.

        Raises:
            NetlinkError: the kernel refused.
            EncodeError: the message has an unknown field or an impossible value.
        """
        raise NotImplementedError

    def batch(self, requests: Iterable[Request[Any]]) -> list[NetlinkError | None]:
        """Carry out many requests in order, in as few system calls as possible.

        A failure stops nothing: requests are independent and each has a result of its own.

        Returns:
            For each request None or why it failed, in the order of *requests*.

        Raises:
            EncodeError: a message is impossible; then nothing at all was sent.
            NetlinkError: the socket itself failed, and what became of the requests is unknown.
        """
        raise NotImplementedError

    def dump(self, request: Request[Message]) -> list[Message]:
        """Carry out a listing, whole and consistent.

        Raises:
            NetlinkError: the kernel refused; EINTR when the objects kept changing under the
                listing, however often it was begun anew.
        """
        raise NotImplementedError
