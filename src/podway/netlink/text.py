"""Packed addresses to text and back, without the cost of importing `ipaddress`."""

from __future__ import annotations

from _socket import inet_ntop, inet_pton

from podway.netlink.constants import AF_INET, AF_INET6
from podway.netlink.errors import EncodeError


def pack_address(text: str) -> bytes:
    """Return an address as 4 or 16 bytes: 10.0.0.1 is 0a 00 00 01.

    Raises:
        EncodeError: *text* is no IPv4 or IPv6 address.
    """
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except OSError:
        raise EncodeError("address", text, "must be an IPv4 or IPv6 address") from None


def format_address(packed: bytes) -> str:
    """Return 4 or 16 bytes as an address.

    Raises:
        EncodeError: *packed* has another length.
    """
    if len(packed) not in {4, 16}:
        raise EncodeError("address", packed, "must be a packed address: 4 or 16 bytes")
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def format_prefix(packed: bytes, length: int) -> str:
    """Return ``10.244.1.0/24``; what is no address is shown as bytes, for this serves messages."""
    if len(packed) not in {4, 16}:
        return f"{packed!r}/{length}"
    return f"{format_address(packed)}/{length}"


def family_of(packed: bytes) -> int:
    """Return AF_INET for 4 bytes, AF_INET6 for 16."""
    return AF_INET if len(packed) == 4 else AF_INET6
