"""struct sockaddr_in and sockaddr_in6, as WireGuard's endpoints travel over netlink. Pure.

::

    0       2       4               8                               24      28
    +-------+-------+---------------+-------------------------------+-------+
    | AF    | port  | IPv4 address  | 8 zero bytes                  |         16 bytes
    | AF    | port  | flow label    | IPv6 address                  | scope |  28 bytes
    +-------+-------+---------------+-------------------------------+-------+

The family has the machine's byte order, all else the network's.
"""

import struct
from ipaddress import IPv4Address, IPv6Address

from podway.model.addresses import Family, IPAddress


def pack_endpoint(address: IPAddress, port: int) -> bytes:
    """Return *address* and *port* as the struct of their family."""
    if isinstance(address, IPv4Address):
        return struct.pack("=H", Family.IPV4) + struct.pack(">H4s8x", port, address.packed)
    return struct.pack("=H", Family.IPV6) + struct.pack(">HI16sI", port, 0, address.packed, 0)


def unpack_endpoint(packed: bytes) -> tuple[IPAddress, int]:
    """Return address and port. Raises `ValueError` for another family."""
    (family,) = struct.unpack_from("=H", packed)
    (port,) = struct.unpack_from(">H", packed, 2)
    if family == Family.IPV4:
        return IPv4Address(packed[4:8]), port
    if family == Family.IPV6:
        return IPv6Address(packed[8:24]), port
    raise ValueError(f"address family {family}: an endpoint is IPv4 or IPv6")
