"""The loopback device, by messages in their bytes.

In: a network namespace. Out: its ``lo`` up or down, or what it is and has. Called by the plugin
``loopback``, which lives 8 ms and sends three small messages: the tables of `links` and `addresses`
take longer to load than all that it does (0.8 ms). They say how the messages look; a test compares.

An answer of the kernel is in the queue when the send returns. Nobody else sends to a socket that
lives this long, and its few answers fit its queue and one buffer.

Sources: rtnetlink(7), include/uapi/linux/if_addr.h.
"""

from _socket import SOCK_CLOEXEC, SOCK_RAW
from _socket import socket as Socket  # noqa: N812 - a class
from _struct import Struct

from podway.netlink.netns import entered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, Self

# LOOPBACK_IFINDEX, include/net/flow.h: in every namespace.
LO_INDEX: "Final" = 1
_IFF_UP: "Final" = 1
_AF_NETLINK, _NETLINK_ROUTE = 16, 0
_REQUEST, _ACK, _DUMP, _DUMP_INTR = 1, 4, 0x300, 0x10
_ERROR, _DONE = 2, 3
_RTM_NEWLINK, _RTM_GETLINK, _RTM_GETADDR = 16, 18, 22
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_BUFFER_BYTES: "Final" = 1 << 15
_SO_RCVTIMEO: "Final" = 20
_ANSWER_WITHIN_S: "Final" = 10
_ATTEMPTS: "Final" = 20
_EINTR: "Final" = 4
_HEADER = Struct("=IHHII")
# struct ifinfomsg, struct ifaddrmsg, struct nlattr.
_IFINFOMSG = Struct("=BxHiII")
_IFADDRMSG = Struct("=BBBBI")
_NLATTR = Struct("=HH")
_S32 = Struct("=i")
_TIMEVAL = Struct("@ll")


class LoopbackDevice:
    """``lo`` of a network namespace; a context manager.

    Args:
        netns_fd: the namespace.

    Raises:
        NetnsError: it cannot be entered.
        OSError: the kernel gives no socket.
    """

    __slots__ = ("_socket",)

    def __init__(self, netns_fd: int) -> None:
        with entered(netns_fd):
            self._socket = Socket(_AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, _NETLINK_ROUTE)
        self._socket.setsockopt(1, _SO_RCVTIMEO, _TIMEVAL.pack(_ANSWER_WITHIN_S, 0))

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def set_up(self, *, up: bool) -> None:
        """Bring it up or down.

        Raises:
            NetlinkError: the kernel refuses.
        """
        what = "set lo up" if up else "set lo down"
        self._exchange(what, _RTM_NEWLINK, _ACK, encode_state(up=up))

    def is_up(self) -> bool:
        """Tell whether it is up.

        Raises:
            NetlinkError: the kernel refuses.
        """
        answers, _ = self._exchange("read lo", _RTM_GETLINK, _ACK, encode_question())
        flags: int = _IFINFOMSG.unpack_from(answers[0])[3]
        return bool(flags & _IFF_UP)

    def list_addresses(self) -> "list[tuple[bytes, int]]":
        """Return its addresses, of 4 or 16 bytes, with the lengths of their prefixes.

        Raises:
            NetlinkError: the kernel refuses, or they kept changing under the listing.
        """
        for _ in range(_ATTEMPTS):
            body = _IFADDRMSG.pack(0, 0, 0, 0, 0)
            answers, is_torn = self._exchange("list addresses", _RTM_GETADDR, _DUMP, body)
            if not is_torn:
                return [found for each in answers if (found := parse_address_of_lo(each))]
        raise _refusal(_EINTR, "list the addresses of lo, which kept changing")

    def _exchange(
        self, operation: str, kind: int, flags: int, body: bytes
    ) -> "tuple[list[bytes], bool]":
        """Send one message; return the payloads of the answers, and if a listing was torn."""
        size = _HEADER.size + len(body)
        self._socket.sendto(_HEADER.pack(size, kind, _REQUEST | flags, 0, 0) + body, (0, 0))
        payloads: list[bytes] = []
        is_torn = False
        while True:
            for answer, answer_flags, payload in split_messages(self._socket.recv(_BUFFER_BYTES)):
                is_torn |= bool(answer_flags & _DUMP_INTR)
                if answer not in {_ERROR, _DONE}:
                    payloads.append(payload)
                    continue
                errno = -_S32.unpack_from(payload)[0]
                if errno:
                    raise _refusal(errno, operation)
                return payloads, is_torn


def split_messages(data: bytes) -> "Iterator[tuple[int, int, bytes]]":
    """Yield type, flags and payload of each message in a datagram."""
    position = 0
    while position < len(data):
        size, kind, flags, _, _ = _HEADER.unpack_from(data, position)
        yield kind, flags, data[position + _HEADER.size : position + size]
        position += size + 3 & ~3


def parse_address_of_lo(payload: bytes) -> "tuple[bytes, int] | None":
    """Return address and prefix length of an RTM_NEWADDR; None if it is of another device."""
    _, bits, _, _, index = _IFADDRMSG.unpack_from(payload)
    if index != LO_INDEX:
        return None
    found: dict[int, bytes] = {}
    position = _IFADDRMSG.size
    while position < len(payload):
        size, number = _NLATTR.unpack_from(payload, position)
        found[number] = payload[position + _NLATTR.size : position + size]
        position += size + 3 & ~3
    return found.get(_IFA_LOCAL) or found[_IFA_ADDRESS], bits


def encode_state(*, up: bool) -> bytes:
    """Return the payload of the RTM_NEWLINK that brings lo up or down."""
    return _IFINFOMSG.pack(0, 0, LO_INDEX, _IFF_UP if up else 0, _IFF_UP)


def encode_question() -> bytes:
    """Return the payload of an RTM_GETLINK for lo."""
    return _IFINFOMSG.pack(0, 0, LO_INDEX, 0, 0)


def _refusal(errno: int, operation: str) -> Exception:
    from podway.netlink.errors import NetlinkError  # noqa: PLC0415 - when something failed

    return NetlinkError(errno, operation)
