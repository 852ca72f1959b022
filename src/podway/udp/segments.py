"""podway's own wire format: what one read from TUN gave, in datagrams that one send carries.

A datagram is a packet whose version number is another one. No version of IP is above 7, so it tells
by itself that it is no bare packet, and which of four things it is:

    8  12  part      one segment of a large packet, of which more follow
    9  13  end       its last segment
    10 14  unsummed  a packet whose TCP or UDP checksum is left to the receiving kernel
    11 15  whole     a packet with everything in it
    |  +-- IPv6
    +----- IPv4

A large packet is up to 64 KiB of one TCP or UDP flow behind one header; TUN says of what size its
segments are to be. Each datagram is that header, the same in all of them but for the offset, and
one segment; so the kernel can cut one send into datagrams (UDP_SEGMENT) and join datagrams into one
receive (UDP_GRO), and nobody computes headers or checksums for each. The offset, the segment's
place in the large packet in bytes, stands where the IP header has its length, which the receiver
knows anyway.

    IPv4                                        IPv6
     0  kind, IHL 5 | TOS | offset               0  kind, class, flow label
     4  identification | flags                   4  offset | next header | hop limit
     8  TTL | protocol | unused                  8  source, destination
    12  source, destination                     40  TCP or UDP header
    20  TCP or UDP header

The inner TCP or UDP checksum is missing; the outer UDP checksum protects the datagram on its way,
as a frame's would whose checksum a network card computes. No TTL is touched: between podway nodes
the tunnel is a link like any other (flannel's is two routers), and each kernel takes its hop.

A datagram is never longer than the packet that it stands for, so the MTU is flannel's. One that is
lost takes along nothing but itself.

Here is what a datagram says of itself; `cutting` makes datagrams of large packets, `joining` finds
those that belong together, `heads` says to TUN what becomes of them. All of it is pure.
"""

from podway.udp.checksums import Bytes
from podway.udp.packets import IPV4_BYTES, IPV6_BYTES, TCP, UDP

PART, END, UNSUMMED, WHOLE = 0, 1, 2, 3
# What tells the last segment from the others.
END_BIT = END << 4
_IS_KIND = 0x80
_IS_IPV6 = 0x40
_IPV4, _IPV6 = _IS_KIND, _IS_KIND | _IS_IPV6
_SMALL = _IS_KIND | UNSUMMED << 4

_UDP_BYTES = 8


def mark(first_byte: int, part: int) -> int:
    """Return the first byte of a datagram for a packet that has *first_byte*.

    What is of another version than IPv6 counts as IPv4; the receiver will see.
    """
    return first_byte & 0xF | (_IPV6 if first_byte >> 4 == 6 else _IPV4) | part << 4


def unmark(kind_byte: int) -> int:
    """Return the first byte of the packet in a datagram that begins with *kind_byte*."""
    return (0x60 if kind_byte & _IS_IPV6 else 0x40) | kind_byte & 0xF


def part_of(kind_byte: int) -> int:
    """Return what a datagram that begins with *kind_byte*, one of this format, is."""
    return kind_byte >> 4 & 3


def is_small(first_byte: int) -> bool:
    """Tell whether a datagram that begins with *first_byte* is of a kind that stands for itself."""
    return first_byte & _SMALL == _SMALL


def is_ours(first_byte: int) -> bool:
    """Tell whether a datagram that begins with *first_byte* is in this format."""
    return first_byte >= _IS_KIND


def header_bytes(buffer: Bytes, start: int, end: int) -> int:
    """Return the length of the IP and TCP or UDP headers at *start*; 0: there are no whole ones.

    The IP header is a plain one (`packets.has_plain_header`), a packet's or a segment's.
    """
    if end - start < IPV4_BYTES + _UDP_BYTES:
        return 0
    ip_bytes, protocol = ip_header(buffer, start)
    at = start + ip_bytes
    if protocol == UDP:
        length = ip_bytes + _UDP_BYTES
    elif protocol != TCP or end - at < 20 or buffer[at + 12] < 0x50:
        return 0
    else:
        length = ip_bytes + (buffer[at + 12] >> 4 << 2)
    return length if length <= end - start else 0


def ip_header(buffer: Bytes, start: int) -> tuple[int, int]:
    """Return the length of the IP header, a plain one, and the protocol of what follows."""
    if offset_at(buffer[start]) == 4:
        return IPV6_BYTES, buffer[start + 6]
    return IPV4_BYTES, buffer[start + 9]


def offset_at(first_byte: int) -> int:
    """Return where the offset stands, by the first byte of a packet or of a datagram."""
    is_ipv6 = first_byte & _IS_IPV6 if first_byte & _IS_KIND else first_byte >> 4 == 6
    return 4 if is_ipv6 else 2
