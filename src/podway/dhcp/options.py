"""Values in DHCP options: bytes that a server sent to addresses, times, routes.

In: the options of a message. Out: typed values; None or nothing where an option is missing or not
as its RFC has it, since nothing that a server sends may stop the daemon. Pure. RFC 2132, RFC 3442.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

SUBNET_MASK: Final = 1
ROUTERS: Final = 3
STATIC_ROUTES: Final = 33
REQUESTED_ADDRESS: Final = 50
LEASE_TIME: Final = 51
SERVER_ID: Final = 54
PARAMETER_LIST: Final = 55
TEXT: Final = 56
MAX_SIZE: Final = 57
RENEWAL_TIME: Final = 58
REBINDING_TIME: Final = 59
CLIENT_ID: Final = 61
CLASSLESS_ROUTES: Final = 121

INFINITE_S: Final = 0xFFFFFFFF
_ANYWHERE: Final = IPv4Network("0.0.0.0/0")
_FIRST_MULTICAST: Final = 224
_SHOWN_CHARACTERS: Final = 120


@dataclass(frozen=True, slots=True)
class ServerRoute:
    """A route that a server gives; without gateway the destination is on the link."""

    destination: IPv4Network
    gateway: IPv4Address | None


def read_address(options: Mapping[int, bytes], code: int) -> IPv4Address | None:
    """Return one address, None if the option is not exactly that."""
    value = options.get(code, b"")
    return IPv4Address(value) if len(value) == 4 else None


def read_first_address(options: Mapping[int, bytes], code: int) -> IPv4Address | None:
    """Return the first of a list of addresses that is one of a host."""
    value = options.get(code, b"")
    if len(value) % 4:
        return None
    addresses = (IPv4Address(value[at : at + 4]) for at in range(0, len(value), 4))
    return next((each for each in addresses if is_host(each)), None)


def read_prefix_bits(options: Mapping[int, bytes]) -> int | None:
    """Return the length of the subnet mask, None without one or if it has holes."""
    mask = options.get(SUBNET_MASK, b"")
    if len(mask) != 4:
        return None
    ones = f"{int.from_bytes(mask, 'big'):032b}".rstrip("0")
    return len(ones) if ones and "0" not in ones else None


def read_seconds(options: Mapping[int, bytes], code: int) -> int | None:
    """Return a time, None if the option is not exactly that."""
    value = options.get(code, b"")
    return int(struct.unpack("!I", value)[0]) if len(value) == 4 else None


def read_text(options: Mapping[int, bytes], code: int) -> str:
    """Return text for people, whatever the server sent; not without end."""
    return options.get(code, b"")[:_SHOWN_CHARACTERS].decode(errors="replace").strip("\0 ")


def read_routes(options: Mapping[int, bytes]) -> tuple[ServerRoute, ...]:
    """Return the routes that the server gives.

    RFC 3442: where there are classless routes, static routes and routers are not looked at. Else
    the default route leads through the first router.
    """
    classless = read_classless_routes(options.get(CLASSLESS_ROUTES, b""))
    if classless:
        return classless
    router = read_first_address(options, ROUTERS)
    default = (ServerRoute(_ANYWHERE, router),) if router else ()
    return read_static_routes(options.get(STATIC_ROUTES, b"")) + default


def read_classless_routes(value: bytes) -> tuple[ServerRoute, ...]:
    """Return the routes of option 121: length of the prefix, its bytes that count, gateway.

    A value that is broken anywhere counts as none: what follows the break is garbage.
    """
    routes = []
    at = 0
    while at < len(value):
        bits = value[at]
        counted = (bits + 7) // 8
        end = at + 1 + counted + 4
        if bits > 32 or end > len(value):
            return ()
        prefix = value[at + 1 : at + 1 + counted].ljust(4, b"\0")
        gateway = IPv4Address(value[end - 4 : end])
        destination = IPv4Network((prefix, bits), strict=False)
        if int(gateway) and not is_host(gateway):
            return ()
        routes.append(ServerRoute(destination, gateway if int(gateway) else None))
        at = end
    return tuple(routes)


def read_static_routes(value: bytes) -> tuple[ServerRoute, ...]:
    """Return the routes of option 33: pairs of a classful network and its gateway.

    RFC 2132 section 5.8: 0.0.0.0 is no destination here.
    """
    if len(value) % 8:
        return ()
    pairs = [
        (IPv4Address(value[at : at + 4]), IPv4Address(value[at + 4 : at + 8]))
        for at in range(0, len(value), 8)
    ]
    return tuple(
        ServerRoute(IPv4Network((address, _class_bits(address)), strict=False), gateway)
        for address, gateway in pairs
        if is_host(gateway) and int(address) and address.packed[0] < _FIRST_MULTICAST
    )


def _class_bits(address: IPv4Address) -> int:
    """Return the prefix length of the class that an address is of (RFC 791)."""
    first = address.packed[0]
    if first < 128:
        return 8
    return 16 if first < 192 else 24


def is_host(address: IPv4Address) -> bool:
    """Tell whether *address* may be that of an interface: not 0/8, loopback, multicast, 240/4."""
    first = address.packed[0]
    return 0 < first < _FIRST_MULTICAST and first != 127
