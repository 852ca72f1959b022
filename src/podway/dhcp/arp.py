"""ARP probes: is an address free on a link, before anybody uses it? RFC 5227 sections 2.1, 2.1.1.

In: an address and the MAC address of who is to have it; packets that come. Out: the packet that
asks, and who says that the address is his. Pure. Called by `sockets` and `client`. ::

    htype 2 | ptype 2 | hlen 1 | plen 1 | op 2 | sender MAC 6, IP 4 | target MAC 6, IP 4    28 bytes

A probe is a request for the address by nobody (sender 0.0.0.0), so no cache learns anything false.
"""

import struct
from ipaddress import IPv4Address
from typing import Final

from podway.dhcp.packets import NOWHERE

_PACKET: Final = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET: Final = 1
_ETH_P_IP: Final = 0x0800
_HEAD: Final = (_ETHERNET, _ETH_P_IP, 6, 4)
_REQUEST: Final = 1
_REPLY: Final = 2
_NOBODY: Final = bytes(6)


def encode_probe(address: IPv4Address, mac: bytes) -> bytes:
    """Return the packet by which *mac* asks whether somebody has *address*."""
    return _PACKET.pack(*_HEAD, _REQUEST, mac, NOWHERE.packed, _NOBODY, address.packed)


def find_claim(packet: bytes, address: IPv4Address, mac: bytes) -> bytes | None:
    """Return the MAC address of who has *address* or is about to take it; None for nobody.

    Args:
        packet: that came, may have bytes of padding behind.
        address: that was asked for.
        mac: of who asked; devices of ipvlan share one, so an answer may come from the same.
    """
    if len(packet) < _PACKET.size:
        return None
    *head, op, sender_mac, sender, _, target = _PACKET.unpack_from(packet)
    if tuple(head) != _HEAD or op not in {_REQUEST, _REPLY}:
        return None
    has_it = sender == address.packed
    probes_too = (op, sender, target) == (_REQUEST, NOWHERE.packed, address.packed)
    if has_it or (probes_too and sender_mac != mac):
        return bytes(sender_mac)
    return None
