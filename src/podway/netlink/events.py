"""Notifications: what others (and we) changed in the kernel.

Comes in: datagrams of multicast groups. Goes out: `Event` values for the agent's loop, and
`OVERRUN` when the kernel had to drop some, after which only a listing tells the truth. Why it is
hard: the queue is finite and the kernel does not wait, so that reading must be cheap, and losing
must be seen.
"""

from __future__ import annotations

import errno as errnos
from _socket import MSG_DONTWAIT, MSG_TRUNC

from podway.netlink.addresses import ADDRESS_OF_LINK
from podway.netlink.constants import (
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    NLMSG_OVERRUN,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELNETCONF,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWNETCONF,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    SOL_NETLINK,
)
from podway.netlink.errors import DecodeError, NetlinkError
from podway.netlink.links import LINK
from podway.netlink.neighbours import NEIGHBOUR
from podway.netlink.netconf import NETCONF
from podway.netlink.nftables import NFT_MESSAGES
from podway.netlink.routes import ROUTE
from podway.netlink.rules import RULE
from podway.netlink.socket import OpenSocket, open_socket
from podway.netlink.wire import iter_frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from podway.netlink.messages import Schema

_BUFFER_BYTES = 64 * 1024
_RTNETLINK: Mapping[int, tuple[str, Schema[Any]]] = {
    RTM_NEWLINK: ("RTM_NEWLINK", LINK),
    RTM_DELLINK: ("RTM_DELLINK", LINK),
    RTM_NEWADDR: ("RTM_NEWADDR", ADDRESS_OF_LINK),
    RTM_DELADDR: ("RTM_DELADDR", ADDRESS_OF_LINK),
    RTM_NEWROUTE: ("RTM_NEWROUTE", ROUTE),
    RTM_DELROUTE: ("RTM_DELROUTE", ROUTE),
    RTM_NEWNEIGH: ("RTM_NEWNEIGH", NEIGHBOUR),
    RTM_DELNEIGH: ("RTM_DELNEIGH", NEIGHBOUR),
    RTM_NEWRULE: ("RTM_NEWRULE", RULE),
    RTM_DELRULE: ("RTM_DELRULE", RULE),
    RTM_NEWNETCONF: ("RTM_NEWNETCONF", NETCONF),
    RTM_DELNETCONF: ("RTM_DELNETCONF", NETCONF),
}
_MESSAGES: Mapping[int, Mapping[int, tuple[str, Schema[Any]]]] = {
    NETLINK_ROUTE: _RTNETLINK,
    NETLINK_NETFILTER: NFT_MESSAGES,
}


class Event:
    """One notification.

    Attributes:
        type: RTM_NEWROUTE, ... (or subsystem << 8 | NFT_MSG_* from NETLINK_NETFILTER).
        name: the same in words ("RTM_NEWROUTE").
        fields: the object: a LinkMessage, RouteMessage, ...; link notifications of family
            AF_BRIDGE speak of a bridge port, not of the device.
        port_id: whose request caused it (nlmsg_pid, a `NetlinkSocket.port_id`); 0 for the kernel
            itself.
    """

    __slots__ = ("fields", "name", "port_id", "type")

    def __init__(self, type: int, name: str, fields: Mapping[str, Any], port_id: int) -> None:  # noqa: A002
        self.type = type
        self.name = name
        self.fields = fields
        self.port_id = port_id

    def __repr__(self) -> str:
        return f"Event({self.name}, {self.fields}, port_id={self.port_id})"


# Some notifications were lost: list everything anew. Compare by identity: ``event is OVERRUN``.
OVERRUN = Event(NLMSG_OVERRUN, "NLMSG_OVERRUN", {}, 0)


class EventSocket(OpenSocket):
    """A non-blocking socket for notifications; give `fileno` to the event loop."""

    __slots__ = ("_buffer", "_messages")

    def __init__(
        self, groups: Sequence[int], protocol: int = NETLINK_ROUTE, netns_fd: int | None = None
    ) -> None:
        """Open the socket and join *groups* (RTNLGRP_*, or NFNLGRP_* of NETLINK_NETFILTER).

        Raises:
            NetlinkError: the kernel gives no such socket or group.
            NetnsError: the namespace cannot be entered.
        """
        self._messages = _MESSAGES[protocol]
        self._buffer = bytearray(_BUFFER_BYTES)
        self._socket = open_socket(protocol, netns_fd)
        try:
            for group in groups:
                self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except OSError as error:
            self._socket.close()
            operation = f"join netlink groups {list(groups)} of protocol {protocol}"
            raise NetlinkError(error.errno or 0, operation) from error

    def drain(
        self, limit: int = 10_000, ignored_ports: frozenset[int] = frozenset()
    ) -> list[Event]:
        """Return what has arrived, without waiting; `OVERRUN` stands where events were lost.

        What requests from *ignored_ports* (`NetlinkSocket.port_id`) caused is passed over before it
        is decoded: who writes thousands of objects need not read them all again.

        Messages of unknown types are skipped. From *limit* events on the rest stays for the next
        call (the descriptor remains readable), so that a storm cannot hold the caller for ever.

        Raises:
            DecodeError: a datagram is malformed; take it for an overrun.
            NetlinkError: the socket failed.
        """
        events: list[Event] = []
        while len(events) < limit:
            try:
                size, sender = self._socket.recvfrom_into(self._buffer, 0, MSG_DONTWAIT | MSG_TRUNC)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errnos.ENOBUFS:
                    raise NetlinkError(error.errno or 0, "read notifications") from error
                events.append(OVERRUN)
                continue
            if size > len(self._buffer):
                raise DecodeError(f"a notification has {size} bytes, {len(self._buffer)} fit")
            if sender[0] == 0:  # from the kernel, not from a process
                self._decode_into(events, bytes(memoryview(self._buffer)[:size]), ignored_ports)
        return events

    def _decode_into(self, events: list[Event], data: bytes, ignored_ports: frozenset[int]) -> None:
        for kind, _, _, port_id, start, stop in iter_frames(data):
            known = self._messages.get(kind)
            if known is not None and port_id not in ignored_ports:
                name, schema = known
                events.append(Event(kind, name, schema.decode(data, start, stop), port_id))
