"""Notifications: what others (and we) changed in the kernel.

Comes in: datagrams of multicast groups. Goes out: `Event` values, and `OVERRUN` when the kernel
had to drop some, after which only a listing tells the truth.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Self


class Event:
    """One notification.

    Attributes:
        type: RTM_NEWROUTE, ... (or subsystem << 8 | NFT_MSG_* from NETLINK_NETFILTER).
        name: the same in words ("RTM_NEWROUTE").
        fields: the object: a LinkMessage, RouteMessage, ...; link notifications of family
            AF_BRIDGE speak of a bridge port, not of the device.
        port_id: whose request caused it (nlmsg_pid); 0 for the kernel itself.
    """

    __slots__ = ("fields", "name", "port_id", "type")

    def __init__(self, type: int, name: str, fields: Mapping[str, Any], port_id: int) -> None:  # noqa: A002
        self.type = type
        self.name = name
        self.fields = fields
        self.port_id = port_id


# Some notifications were lost: list everything anew. Compare by identity: ``event is OVERRUN``.
OVERRUN = Event(4, "NLMSG_OVERRUN", {}, 0)


class EventSocket:
    """A non-blocking socket for notifications; give `fileno` to the event loop."""

    def __init__(
        self, groups: Sequence[int], protocol: int = 0, netns_fd: int | None = None
    ) -> None:
        """Open the socket and join *groups* (RTNLGRP_*, or NFNLGRP_* of NETLINK_NETFILTER).

        Raises:
            NetlinkError: the kernel gives no such socket or group.
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

    def drain(self, limit: int = 10_000) -> list[Event]:
        """Return what has arrived, without waiting; `OVERRUN` stands where events were lost.

        Messages of unknown types are skipped. With *limit* events the rest stays for the next call
        (the descriptor remains readable), so that a storm cannot hold the caller for ever.

        Raises:
            DecodeError: a datagram is malformed.
        """
        raise NotImplementedError
