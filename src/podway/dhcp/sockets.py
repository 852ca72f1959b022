"""Sockets in a container's namespace, over which a client talks to servers.

In: a namespace, an interface. Out: messages sent and received. Called by `client`. An interface
without address can neither send nor receive UDP, so messages go through a packet socket; who has
its address asks its own server over UDP, for which the kernel finds the way.
"""

import ctypes
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final

from podway.dhcp.arp import encode_probe
from podway.dhcp.datagrams import (
    ANSWERS_ONLY,
    CLIENT_PORT,
    EVERYBODY,
    SERVER_PORT,
    Datagram,
    decode_datagram,
    encode_datagram,
)
from podway.dhcp.errors import InterfaceError
from podway.dhcp.interfaces import Link
from podway.dhcp.packets import NOWHERE, Message, decode_message, encode_message
from podway.netlink import entered

# linux/if_ether.h, linux/if_arp.h, linux/if_packet.h, asm-generic/socket.h.
_ETH_P_IP: Final = 0x0800
_ETH_P_ARP: Final = 0x0806
_ARPHRD_ETHER: Final = 1
_SOL_PACKET: Final = 263
_PACKET_AUXDATA: Final = 8
_TP_STATUS_CSUMNOTREADY: Final = 8
_SO_ATTACH_FILTER: Final = 26
_AUXDATA: Final = struct.Struct("IIIHHHH")
_INSTRUCTION: Final = struct.Struct("HBBI")
_BROADCAST_MAC: Final = b"\xff" * 6
_MOST_BYTES: Final = 1 << 16
# What may wait to be read: some answers, not a flood.
_RECEIVE_BUFFER_BYTES: Final = 1 << 16


class ClientSocket:
    """Hears servers' answers, and sends messages to servers.

    Args:
        descriptor: of the namespace; needed only here.
        ifname: of the interface.
        link: the interface.

    Raises:
        InterfaceError: no socket can be opened there.
    """

    def __init__(self, descriptor: int, ifname: str, link: Link) -> None:
        self._ifname = ifname
        self._index = link.index
        self._packets = _open(descriptor, lambda: _packet_socket(ifname))
        self._datagrams: socket.socket | None = None

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when an answer comes."""
        return self._packets.fileno()

    def close(self) -> None:
        """Close all."""
        self._packets.close()
        if self._datagrams is not None:
            self._datagrams.close()

    def broadcast(self, message: Message) -> None:
        """Send *message* to every server on the link.

        Raises:
            InterfaceError: the kernel refuses.
        """
        self._send_raw(message, NOWHERE, EVERYBODY, _BROADCAST_MAC)

    def open_datagrams(self, descriptor: int, address: IPv4Address) -> bool:
        """Open UDP at *address*, if the interface has it; tell whether it has."""
        if self._datagrams is not None:
            return True
        try:
            self._datagrams = _open(descriptor, lambda: _udp_socket(self._ifname, address))
        except InterfaceError:
            return False
        return True

    def send_to_server(self, message: Message, server: IPv4Address, server_mac: bytes) -> None:
        """Send *message* to its server alone: over UDP if that is open, else as it last came.

        Raises:
            InterfaceError: the kernel refuses.
        """
        if self._datagrams is not None:
            try:
                self._datagrams.sendto(encode_message(message), (str(server), SERVER_PORT))
            except OSError:
                # No way there: routes may have changed, the link-layer address is still known.
                pass
            else:
                return
        self._send_raw(message, message.ciaddr, server, server_mac)

    def _send_raw(
        self, message: Message, source: IPv4Address, destination: IPv4Address, mac: bytes
    ) -> None:
        packet = encode_datagram(Datagram(source, destination, encode_message(message)))
        try:
            self._packets.sendto(packet, (self._ifname, _ETH_P_IP, 0, 0, mac))
        except OSError as error:
            raise InterfaceError(
                f"cannot send on {self._ifname}: {error.strerror}", is_gone=False
            ) from error

    def receive(self) -> tuple[Message, bytes] | None:
        """Return the next message and the link-layer address that it came from; None for none yet.

        Raises:
            PacketError: what came is no message.
            InterfaceError: nothing will come any more.
        """
        try:
            packet, ancillary, _, sender = self._packets.recvmsg(
                _MOST_BYTES, socket.CMSG_SPACE(_AUXDATA.size)
            )
        except BlockingIOError:
            return None
        except OSError as error:
            raise InterfaceError(f"cannot receive on {self._ifname}: {error.strerror}") from error
        has_checksum = not _status(ancillary) & _TP_STATUS_CSUMNOTREADY
        datagram = decode_datagram(packet, has_checksum=has_checksum)
        return decode_message(datagram.payload), _mac_of(sender)


class ProbeSocket:
    """Asks on a link who has an address, and hears who says so.

    Args:
        descriptor: of the namespace; needed only here.
        ifname: of the interface.

    Raises:
        InterfaceError: no socket can be opened there.
    """

    def __init__(self, descriptor: int, ifname: str) -> None:
        self._ifname = ifname
        self._packets = _open(descriptor, lambda: _arp_socket(ifname))

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something comes."""
        return self._packets.fileno()

    def close(self) -> None:
        """Close."""
        self._packets.close()

    def ask(self, address: IPv4Address, mac: bytes) -> None:
        """Ask, as the owner of *mac*, who has *address*.

        Raises:
            InterfaceError: the kernel refuses.
        """
        try:
            to = (self._ifname, _ETH_P_ARP, 0, _ARPHRD_ETHER, _BROADCAST_MAC)
            self._packets.sendto(encode_probe(address, mac), to)
        except OSError as error:
            raise InterfaceError(
                f"cannot send on {self._ifname}: {error.strerror}", is_gone=False
            ) from error

    def receive(self) -> bytes | None:
        """Return the next ARP packet; None for none yet.

        Raises:
            InterfaceError: nothing will come any more.
        """
        try:
            return self._packets.recv(_MOST_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise InterfaceError(f"cannot receive on {self._ifname}: {error.strerror}") from error


def _open(descriptor: int, make: Callable[[], socket.socket]) -> socket.socket:
    try:
        with entered(descriptor):
            return make()
    except OSError as error:
        raise InterfaceError(f"no socket in the network namespace: {error}") from error


def _packet_socket(ifname: str) -> socket.socket:
    # Protocol 0: it hears nothing before its filter is in place.
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
    try:
        packets.setblocking(False)  # noqa: FBT003
        packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        packets.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        _attach_filter(packets)
        packets.bind((ifname, _ETH_P_IP))
    except OSError:
        packets.close()
        raise
    return packets


def _arp_socket(ifname: str) -> socket.socket:
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
    try:
        packets.setblocking(False)  # noqa: FBT003
        packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        packets.bind((ifname, _ETH_P_ARP))
    except OSError:
        packets.close()
        raise
    return packets


def _udp_socket(ifname: str, address: IPv4Address) -> socket.socket:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        datagrams.setblocking(False)  # noqa: FBT003
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, ifname.encode())
        datagrams.bind((str(address), CLIENT_PORT))
    except OSError:
        datagrams.close()
        raise
    return datagrams


def _attach_filter(packets: socket.socket) -> None:
    """Let through what `ANSWERS_ONLY` lets through (socket(7), SO_ATTACH_FILTER)."""
    program = b"".join(_INSTRUCTION.pack(*each) for each in ANSWERS_ONLY)
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a number of instructions, and where they are.
    fprog = struct.pack("HP", len(ANSWERS_ONLY), ctypes.addressof(buffer))
    packets.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _status(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA) and len(data) >= _AUXDATA.size:
            return int(_AUXDATA.unpack_from(data)[0])
    return 0


def _mac_of(sender: object) -> bytes:
    """Return the link-layer address in what recvmsg says of a packet's sender."""
    match sender:
        case (_, _, _, _, bytes() as mac):
            return mac
        case _:
            return _BROADCAST_MAC
