"""Inner packets for tests, made field by field, and the checksums that a naive reader computes."""

import socket
import struct
from ipaddress import ip_address

HERE, THERE = "10.244.1.2", "10.244.2.2"
HERE6, THERE6 = "fd00:10:244:1::2", "fd00:10:244:2::2"
ACK, PSH, FIN, CWR = 0x10, 0x08, 0x01, 0x80


def naive_sum(data: bytes) -> int:
    """Return the folded sum of 16-bit words (RFC 1071), word by word."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ipv4(
    payload: bytes,
    protocol: int = socket.IPPROTO_UDP,
    *,
    src: str = HERE,
    dst: str = THERE,
    ttl: int = 64,
    flags: int = 0x4000,
    options: bytes = b"",
) -> bytes:
    """Return an IPv4 packet; *flags* are those of the fragment word, with DF set."""
    ihl = 5 + len(options) // 4
    fields = (ihl | 0x40, 0, ihl * 4 + len(payload), 7, flags, ttl, protocol)
    addresses = ip_address(src).packed + ip_address(dst).packed
    header = struct.pack(">BBHHHBBH", *fields, 0) + addresses + options
    return header[:10] + struct.pack(">H", naive_sum(header) ^ 0xFFFF) + header[12:] + payload


def ipv6(
    payload: bytes,
    protocol: int = socket.IPPROTO_UDP,
    *,
    src: str = HERE6,
    dst: str = THERE6,
    hops: int = 64,
) -> bytes:
    """Return an IPv6 packet."""
    header = struct.pack(">IHBB", 6 << 28 | 0xABCDE, len(payload), protocol, hops)
    return header + ip_address(src).packed + ip_address(dst).packed + payload


def pseudo(packet: bytes) -> bytes:
    """Return the pseudo header of what *packet* carries."""
    if packet[0] >> 4 == 6:
        length, protocol = len(packet) - 40, packet[6]
        return packet[8:40] + struct.pack(">IBBBB", length, 0, 0, 0, protocol)
    at = (packet[0] & 0xF) * 4
    return packet[12:20] + struct.pack(">BBH", 0, packet[9], len(packet) - at)


def body_of(packet: bytes) -> bytes:
    """Return what is behind the IP header."""
    return packet[40:] if packet[0] >> 4 == 6 else packet[(packet[0] & 0xF) * 4 :]


def is_sound(packet: bytes) -> bool:
    """Tell whether lengths and checksums of a TCP, UDP or ICMP packet are right."""
    body = body_of(packet)
    if packet[0] >> 4 == 6:
        length_is_right = int.from_bytes(packet[4:6], "big") == len(packet) - 40
    else:
        length_is_right = int.from_bytes(packet[2:4], "big") == len(packet)
        if naive_sum(packet[: len(packet) - len(body)]) != 0xFFFF:
            return False
    protocol = packet[6] if packet[0] >> 4 == 6 else packet[9]
    before = b"" if protocol == socket.IPPROTO_ICMP else pseudo(packet)
    return length_is_right and naive_sum(before + body) == 0xFFFF


def tcp(
    payload: bytes,
    *,
    version: int = 4,
    seq: int = 1000,
    flags: int = ACK,
    options: bytes = b"",
    partial: bool = False,
    **ip: object,
) -> bytes:
    """Return a TCP packet; with *partial* only the pseudo header is in its checksum."""
    offset = (5 + len(options) // 4) << 4
    header = struct.pack(">HHIIBBHHH", 4242, 80, seq, 99, offset, flags, 512, 0, 0) + options
    return _finish(header, payload, 16, version, socket.IPPROTO_TCP, partial=partial, **ip)


def udp(payload: bytes, *, version: int = 4, partial: bool = False, **ip: object) -> bytes:
    """Return a UDP packet; *partial* as for `tcp`."""
    header = struct.pack(">HHHH", 4242, 53, 8 + len(payload), 0)
    return _finish(header, payload, 6, version, socket.IPPROTO_UDP, partial=partial, **ip)


def _finish(
    header: bytes,
    payload: bytes,
    at: int,
    version: int,
    protocol: int,
    *,
    partial: bool,
    **ip: object,
) -> bytes:
    wrap = ipv4 if version == 4 else ipv6
    packet = wrap(header + payload, protocol, **ip)  # type: ignore[arg-type]
    total = naive_sum(pseudo(packet) + (b"" if partial else header + payload))
    value = total if partial else total ^ 0xFFFF
    first = len(packet) - len(header) - len(payload) + at
    return packet[:first] + struct.pack(">H", value) + packet[first + 2 :]


def icmp_echo(*, version: int = 4, **ip: object) -> bytes:
    """Return an echo request."""
    if version == 4:
        body = struct.pack(">BBHHH", 8, 0, 0, 1, 1) + b"x" * 56
        body = body[:2] + struct.pack(">H", naive_sum(body) ^ 0xFFFF) + body[4:]
        return ipv4(body, socket.IPPROTO_ICMP, **ip)  # type: ignore[arg-type]
    body = struct.pack(">BBHHH", 128, 0, 0, 1, 1) + b"x" * 56
    packet = ipv6(body, socket.IPPROTO_ICMPV6, **ip)  # type: ignore[arg-type]
    value = naive_sum(pseudo(packet) + body) ^ 0xFFFF
    return packet[:42] + struct.pack(">H", value) + packet[44:]
