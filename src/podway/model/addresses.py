"""Addresses, prefixes and families, as the rest of podway names them.

`ipaddress` objects are used throughout: they print as people write them, compare and hash by value,
and refuse nonsense at the edge. MAC addresses are lower-case colon text.
"""

import hashlib
from enum import IntEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network
IPInterface: TypeAlias = IPv4Interface | IPv6Interface


class Family(IntEnum):
    """Address family, with the kernel's numbers (AF_INET, AF_INET6)."""

    IPV4 = 2
    IPV6 = 10

    @property
    def label(self) -> str:
        """``IPv4`` or ``IPv6``, for messages and tables."""
        return "IPv4" if self is Family.IPV4 else "IPv6"

    @property
    def bits(self) -> int:
        """Length of an address in bits."""
        return 32 if self is Family.IPV4 else 128


def family_of(value: IPAddress | IPNetwork) -> Family:
    """Return the family of an address, prefix or interface."""
    return Family.IPV4 if value.version == 4 else Family.IPV6


def host_prefix(address: IPAddress) -> IPNetwork:
    """Return *address* as a prefix that holds nothing else (/32 or /128)."""
    if isinstance(address, IPv4Address):
        return IPv4Network((address, 32))
    return IPv6Network((address, 128))


def host_interface(address: IPAddress) -> IPInterface:
    """Return *address* as an interface address that is alone in its prefix."""
    return interface_in(address, host_prefix(address).prefixlen)


def interface_in(address: IPAddress, prefixlen: int) -> IPInterface:
    """Return *address* with *prefixlen*, as it is configured on an interface."""
    if isinstance(address, IPv4Address):
        return IPv4Interface((address, prefixlen))
    return IPv6Interface((address, prefixlen))


def everything(family: Family) -> IPNetwork:
    """Return the prefix of a default route."""
    return IPv4Network("0.0.0.0/0") if family is Family.IPV4 else IPv6Network("::/0")


def prefix_contains(outer: IPNetwork, inner: IPNetwork) -> bool:
    """Tell whether every address of *inner* lies in *outer*; never across families."""
    if isinstance(outer, IPv4Network) and isinstance(inner, IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(outer, IPv6Network) and isinstance(inner, IPv6Network):
        return inner.subnet_of(outer)
    return False


def derive_mac(*parts: str) -> str:
    """Return a locally administered unicast MAC that is a function of *parts* alone.

    A derived MAC survives restarts and reinstallation without being stored anywhere, so peers'
    neighbour and FDB entries stay right (a random one is what goes stale after a crash).
    """
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    first = (digest[0] & 0xFC) | 0x02
    return ":".join(f"{byte:02x}" for byte in (first, *digest[1:6]))


def mac_of_address(address: IPAddress) -> str:
    """Return the MAC that podway gives an interface whose address is *address*.

    ``0a:58`` followed by the last four bytes of the address: unique wherever the address is.
    """
    tail = address.packed[-4:]
    return "0a:58:" + ":".join(f"{byte:02x}" for byte in tail)
