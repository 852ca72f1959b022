"""Inner packets where they lie in a buffer: is it one, whose is it, where does it want to go. Pure.

IPv4 (RFC 791)                                  IPv6 (RFC 8200)
 0  version, IHL | TOS | total length            0  version, class, flow label
 4  identification | flags, fragment offset      4  payload length | next header | hop limit
 8  TTL | protocol | header checksum             8  source
12  source                                      24  destination
16  destination                                 40
"""

from podway.udp.checksums import lower_ttl

IPV4_BYTES = 20
IPV6_BYTES = 40
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
# Where the checksum stands in a TCP header (RFC 9293) and in a UDP header (RFC 768).
CHECKSUM_AT = {TCP: 16, UDP: 6}
_DONT_FRAGMENT = 0x40
_MULTICAST_V4 = range(0xE0, 0x100)


def length_of(buffer: bytearray, start: int, end: int) -> int:
    """Return the length of the packet at *start*, or 0 when [*start*, *end*) holds no whole one.

    What comes after the packet is padding; what says to be longer than what there is was cut off.
    """
    room = end - start
    if room < IPV4_BYTES:
        return 0
    version = buffer[start] >> 4
    if version == 4:
        header = (buffer[start] & 0xF) << 2
        length = buffer[start + 2] << 8 | buffer[start + 3]
        return length if IPV4_BYTES <= header <= length <= room else 0
    if version == 6 and room >= IPV6_BYTES:
        length = IPV6_BYTES + (buffer[start + 4] << 8 | buffer[start + 5])
        return length if length <= room else 0
    return 0


def source_of(buffer: bytearray, start: int) -> bytes:
    """Return the source address, 4 or 16 bytes, of the packet at *start*."""
    if buffer[start] >> 4 == 6:
        return bytes(buffer[start + 8 : start + 24])
    return bytes(buffer[start + 12 : start + 16])


def destination_of(buffer: bytearray, start: int) -> bytes:
    """Return the destination address, 4 or 16 bytes, of the packet at *start*."""
    if buffer[start] >> 4 == 6:
        return bytes(buffer[start + 24 : start + 40])
    return bytes(buffer[start + 16 : start + 20])


def ttl_of(buffer: bytearray, start: int) -> int:
    """Return the TTL or hop limit of the packet at *start*."""
    return buffer[start + 7] if buffer[start] >> 4 == 6 else buffer[start + 8]


def take_hop(buffer: bytearray, start: int) -> None:
    """Take one from the TTL or hop limit, which is above 0, of the packet at *start*."""
    if buffer[start] >> 4 == 6:
        buffer[start + 7] -= 1
    else:
        lower_ttl(buffer, start)


def may_fragment(buffer: bytearray, start: int) -> bool:
    """Tell whether a router may cut the packet at *start* into fragments: IPv4 without DF."""
    return buffer[start] >> 4 == 4 and not buffer[start + 6] & _DONT_FRAGMENT


def is_unicast(address: bytes) -> bool:
    """Tell whether *address* may be one host's, as far as the address alone can say."""
    if len(address) == 4:
        return address[0] not in _MULTICAST_V4 and address[0] not in (0, 127)
    return address[0] != 0xFF and any(address[:15])


def has_plain_header(buffer: bytearray, start: int) -> bool:
    """Tell whether TCP or UDP follows right after a header without options, and no fragment."""
    if buffer[start] == 0x45:
        fragment = (buffer[start + 6] & 0x3F) << 8 | buffer[start + 7]
        return not fragment and buffer[start + 9] in (TCP, UDP)
    return buffer[start] >> 4 == 6 and buffer[start + 6] in (TCP, UDP)
