"""The UDP sockets of the relay: bound to the node's public addresses, with GSO and GRO.

In: an address and a port. Out: a socket that is never blocked, joins datagrams on receipt
(UDP_GRO), has room for what comes while the relay does something else, and lets nobody fragment
what it sends: a datagram that does not fit fails with EMSGSIZE, and whoever sent the packet in it
is told (`outgoing`).

Sources: include/uapi/linux/udp.h, in.h, in6.h; net/core/sock.c for the FORCE options.
"""

import socket
from ipaddress import ip_address
from struct import Struct

UDP_SEGMENT = 103
UDP_GRO = 104
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_IP_MTU = 14
_IPV6_MTU = 24
_IPV6_MTU_DISCOVER = 23
_IP_MTU_DISCOVER = 10
_PMTUDISC_WANT = 1
_PMTUDISC_DO = 2
# A window of TCP (tcp_rmem: 6 MiB) that arrives at once shall find room.
BUFFER_BYTES = 8 << 20
GRO_SPACE = socket.CMSG_SPACE(4)

_HALF = Struct("=H")
_SEGMENT_SIZES: dict[int, list[tuple[int, int, bytes]]] = {}


def open_udp(address: str, port: int) -> socket.socket:
    """Return a socket bound to *address* and *port*.

    Raises:
        OSError: EADDRINUSE, EADDRNOTAVAIL, or as the kernel says.
    """
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        allow_fragments(opened, allowed=False)
        for forced, plain in (
            (_SO_RCVBUFFORCE, socket.SO_RCVBUF),
            (_SO_SNDBUFFORCE, socket.SO_SNDBUF),
        ):
            _enlarge(opened, forced, plain)
        opened.bind((address, port))
    except OSError:
        opened.close()
        raise
    return opened


def _enlarge(opened: socket.socket, forced: int, plain: int) -> None:
    """Ask for room beyond the system's limit, and without the privilege for as much as there is."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)


def allow_fragments(opened: socket.socket, *, allowed: bool) -> None:
    """Let the kernel cut outer packets that are too long for the way into fragments, or not."""
    mode = _PMTUDISC_WANT if allowed else _PMTUDISC_DO
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, mode)
    else:
        opened.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, mode)


def path_mtu(address: str, port: int) -> int:
    """Return the MTU of the way to *address* as the kernel knows it, in bytes; 0: there is no way.

    The kernel tells it of connected sockets only (ip(7), IP_MTU).
    """
    is_ipv6 = ip_address(address).version == 6
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((address, port))
            level, option = (
                (socket.IPPROTO_IPV6, _IPV6_MTU) if is_ipv6 else (socket.IPPROTO_IP, _IP_MTU)
            )
            return asking.getsockopt(level, option)
        except OSError:
            return 0


def segment_size(size: int) -> list[tuple[int, int, bytes]]:
    """Return the control message that has one send cut into datagrams of *size* bytes."""
    known = _SEGMENT_SIZES.get(size)
    if known is None:
        if len(_SEGMENT_SIZES) > 1000:
            _SEGMENT_SIZES.clear()
        known = _SEGMENT_SIZES[size] = [(socket.IPPROTO_UDP, UDP_SEGMENT, _HALF.pack(size))]
    return known
