"""IPv4 and UDP around a DHCP message, for packet sockets: an interface without address needs them.

In: bytes after the Ethernet header. Out: addresses and payload, and back. Pure. RFC 791 section
3.1, RFC 768, RFC 1071 (checksum).
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from podway.dhcp.errors import PacketError

CLIENT_PORT: Final = 68
SERVER_PORT: Final = 67
EVERYBODY: Final = IPv4Address("255.255.255.255")

_IP: Final = struct.Struct("!BBHHHBBH4s4s")
_UDP: Final = struct.Struct("!HHHH")
_PSEUDO: Final = struct.Struct("!4s4sBBH")
_VERSION_AND_LENGTH: Final = 0x45
_DO_NOT_FRAGMENT: Final = 0x4000
_FRAGMENT: Final = 0x3FFF
_TTL: Final = 64
_UDP_PROTOCOL: Final = 17

# Classic BPF (linux/filter.h): what a packet socket of type SOCK_DGRAM lets through, so that the
# daemon sleeps while a container talks. Each is (code, jump if true, jump if false, number).
ANSWERS_ONLY: Final = (
    (0x30, 0, 0, 9),  # ldb  [9]              protocol
    (0x15, 0, 6, _UDP_PROTOCOL),  # jeq  UDP, else drop
    (0x28, 0, 0, 6),  # ldh  [6]              fragment
    (0x45, 4, 0, 0x1FFF),  # jset offset: drop
    (0xB1, 0, 0, 0),  # ldxb 4*([0]&0xf)      length of the IP header
    (0x48, 0, 0, 2),  # ldh  [x + 2]          destination port
    (0x15, 0, 1, CLIENT_PORT),  # jeq  68, else drop
    (0x06, 0, 0, 0xFFFF),  # ret  all
    (0x06, 0, 0, 0),  # ret  0
)


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP datagram between a client and a server."""

    source: IPv4Address
    destination: IPv4Address
    payload: bytes


def encode_datagram(datagram: Datagram) -> bytes:
    """Return IP packet with *datagram* from a client's port to a server's."""
    size = _UDP.size + len(datagram.payload)
    source, destination = datagram.source.packed, datagram.destination.packed
    head = _IP.pack(
        _VERSION_AND_LENGTH,
        0,
        _IP.size + size,
        0,
        _DO_NOT_FRAGMENT,
        _TTL,
        _UDP_PROTOCOL,
        0,
        source,
        destination,
    )
    checksum = struct.pack("!H", compute_checksum(head))
    head = head[:10] + checksum + head[12:]
    pseudo = _PSEUDO.pack(source, destination, 0, _UDP_PROTOCOL, size)
    bare = _UDP.pack(CLIENT_PORT, SERVER_PORT, size, 0) + datagram.payload
    # Zero would mean that there is no checksum.
    udp_checksum = compute_checksum(pseudo + bare) or 0xFFFF
    return head + bare[:6] + struct.pack("!H", udp_checksum) + bare[8:]


def decode_datagram(packet: bytes, *, has_checksum: bool) -> Datagram:
    """Return the datagram in an IP packet.

    Args:
        packet: from the IP header on; may have bytes of padding behind.
        has_checksum: False where the kernel has left the UDP checksum for hardware that the packet
            never met, as between two ends of a veth pair (TP_STATUS_CSUMNOTREADY).

    Raises:
        PacketError: it is none, or damaged.
    """
    if len(packet) < _IP.size:
        raise PacketError(f"{len(packet)} bytes are no IP packet")
    first, _, size, _, fragment, _, protocol, _, source, destination = _IP.unpack_from(packet)
    head_bytes = (first & 0xF) * 4
    if (
        first >> 4 != 4
        or head_bytes < _IP.size
        or not head_bytes + _UDP.size <= size <= len(packet)
    ):
        raise PacketError("lengths in the IP header do not fit the packet")
    if protocol != _UDP_PROTOCOL or fragment & _FRAGMENT:
        raise PacketError("is no whole UDP datagram")
    if compute_checksum(packet[:head_bytes]):
        raise PacketError("checksum of the IP header is wrong")
    udp = packet[head_bytes:size]
    from_port, to_port, udp_bytes, checksum = _UDP.unpack_from(udp)
    if (from_port, to_port) != (SERVER_PORT, CLIENT_PORT):
        raise PacketError(f"goes from port {from_port} to {to_port}: must be from 67 to 68")
    if not _UDP.size <= udp_bytes <= len(udp):
        raise PacketError("length in the UDP header does not fit the packet")
    pseudo = _PSEUDO.pack(source, destination, 0, _UDP_PROTOCOL, udp_bytes)
    if has_checksum and checksum and compute_checksum(pseudo + udp[:udp_bytes]):
        raise PacketError("UDP checksum is wrong")
    return Datagram(IPv4Address(source), IPv4Address(destination), udp[_UDP.size : udp_bytes])


def compute_checksum(data: bytes) -> int:
    """Return the Internet checksum of *data*: 0 if *data* holds its own right one."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)
