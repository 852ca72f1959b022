"""IP and MAC addresses as CNI writes them: text in, checked and canonical text out.

The C library does the parsing (``inet_pton``): `ipaddress` costs 4 ms to import. Callers are the
codec (`results`) and the plugins' configuration; where an executable has the time, as in the agent,
`ipaddress` reads the same text.
"""

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MAC_BYTES: "Final" = 6


def parse_address(text: str) -> bytes:
    """Return the 4 or 16 bytes of an address.

    Raises:
        ValueError: neither IPv4 nor IPv6.
    """
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        raise ValueError("must be an IPv4 or IPv6 address") from None


def render_address(packed: bytes) -> str:
    """Return 4 or 16 bytes as people write an address."""
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def canonical_address(text: str) -> str:
    """Return *text* as `render_address` writes it.

    Raises:
        ValueError: neither IPv4 nor IPv6.
    """
    return render_address(parse_address(text))


def canonical_cidr(text: str) -> str:
    """Return ``address/bits`` in canonical form; the address keeps its host bits.

    Raises:
        ValueError: not an address, or the prefix length does not fit it.
    """
    address, slash, bits = text.partition("/")
    if not slash:
        raise ValueError("must be an address with its prefix length, as 10.1.0.5/24")
    packed = parse_address(address)
    return f"{render_address(packed)}/{parse_prefix_bits(bits, len(packed) * 8)}"


def is_ipv4(text: str) -> bool:
    """Tell the family of a canonical address, with or without prefix length."""
    return ":" not in text


def canonical_mac(text: str) -> str:
    """Return six bytes in hexadecimal with colons, in lower case.

    Raises:
        ValueError: something else.
    """
    parts = text.split(":")
    digits = "".join(parts)
    if len(parts) != _MAC_BYTES or any(len(part) != 2 for part in parts):
        raise ValueError("must be six bytes, as 0a:58:0a:f4:00:05")
    if not digits.isascii() or not set(digits.lower()) <= set("0123456789abcdef"):
        raise ValueError("must be hexadecimal, as 0a:58:0a:f4:00:05")
    return text.lower()


def parse_prefix_bits(text: str, most: int) -> int:
    """Return a prefix length.

    Raises:
        ValueError: not a number of 0 to *most*.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 3 or int(text) > most:
        raise ValueError(f"must have a prefix length of 0 to {most}")
    return int(text)


def parse_prefix(text: str) -> tuple[bytes, int]:
    """Return address and prefix length of canonical ``10.1.0.5/24``, as a result holds it."""
    address, _, bits = text.partition("/")
    return parse_address(address), int(bits)


def first_address(packed: bytes, bits: int) -> bytes:
    """Return the first address of the subnet that *packed* is in: the network's own."""
    hosts = (1 << len(packed) * 8 - bits) - 1
    return (int.from_bytes(packed, "big") & ~hosts).to_bytes(len(packed), "big")


def last_address(packed: bytes, bits: int) -> bytes:
    """Return the last address of the subnet that *packed* is in: IPv4's broadcast address."""
    hosts = (1 << len(packed) * 8 - bits) - 1
    return (int.from_bytes(packed, "big") | hosts).to_bytes(len(packed), "big")


def share_subnet(one: bytes, other: bytes, bits: int) -> bool:
    """Tell whether two addresses are of one family, and in one subnet of *bits*."""
    return len(one) == len(other) and first_address(one, bits) == first_address(other, bits)
