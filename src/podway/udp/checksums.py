"""The Internet's checksum (RFC 1071), as fast as plain Python has it. Pure.

The sum of 16-bit words in one's complement arithmetic is the number that the bytes make, modulo
65535: 2^16 is 1 there. Two calls into C instead of a loop over words.
"""

from typing import TypeAlias

Bytes: TypeAlias = bytes | bytearray | memoryview


def word_sum(data: Bytes) -> int:
    """Return the sum of *data*'s big-endian words modulo 65535; an odd byte counts as high one."""
    number = int.from_bytes(data, "big")
    return (number << 8 if len(data) & 1 else number) % 65535


def checksum(total: int) -> int:
    """Return what goes into a checksum field for words (not all zero) that sum up to *total*."""
    return 0xFFFF - (total % 65535 or 65535)


def pseudo_sum(addresses: Bytes, protocol: int, length: int) -> int:
    """Return the sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1).

    Args:
        addresses: source and destination, one after the other.
        protocol: upper-layer protocol number.
        length: of the upper-layer packet in bytes.
    """
    return word_sum(addresses) + protocol + length


def lower_ttl(header: bytearray | memoryview, at: int) -> None:
    """Take one from the TTL of the IPv4 header at *at* and patch its checksum (RFC 1624)."""
    header[at + 8] -= 1
    patched = (header[at + 10] << 8 | header[at + 11]) + 0x100
    patched = (patched + (patched >> 16)) & 0xFFFF
    header[at + 10] = patched >> 8
    header[at + 11] = patched & 0xFF
