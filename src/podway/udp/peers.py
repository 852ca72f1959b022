"""Who has which addresses and where he is: the relay's forwarding table. Pure.

Keys are packed addresses, as they stand in packets. The longest prefix wins; what was found is
remembered until the table changes, since packets to one destination come in bursts.
"""

import socket
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import NamedTuple

_REMEMBERED_MAX = 4096


class Peer(NamedTuple):
    """One prefix of one node.

    Attributes:
        prefix: pods there, as text (``10.244.2.0/24``).
        where: the node's address on the underlay and the UDP port of its relay.
        segments: takes podway's own format (`podway.udp.segments`) beside bare packets.
    """

    prefix: str
    where: tuple[str, int]
    segments: bool = False


class Way(NamedTuple):
    """A peer, and what reaches him."""

    peer: Peer
    socket: socket.socket


class Peers:
    """All peers: by the destination of a packet, and by where a datagram came from.

    Args:
        sockets: what reaches inner addresses of 4 and of 16 bytes; only handed on.
    """

    def __init__(self, sockets: Mapping[int, socket.socket]) -> None:
        self._sockets = sockets
        self._peers: dict[str, Peer] = {}
        self._by_length: dict[tuple[int, int], dict[int, Way]] = {}
        self._lengths: list[tuple[int, int]] = []
        self._sources: dict[tuple[str | int, ...], int] = {}
        self._remembered: dict[bytes, Way | None] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def all(self) -> list[Peer]:
        """Return every peer."""
        return list(self._peers.values())

    def set(self, peer: Peer) -> None:
        """Add *peer*, or replace the one with its prefix.

        Raises:
            ValueError: prefix or address is none, they differ in family, or the family cannot be
                reached.
        """
        network, address = ip_network(peer.prefix), ip_address(peer.where[0])
        if network.version != address.version:
            raise ValueError(f"{peer.prefix} and {address} differ in family")
        opened = self._sockets.get(len(address.packed))
        if opened is None:
            raise ValueError(f"{address}: this relay has no IPv{address.version} socket")
        self.delete(peer.prefix)
        self._peers[peer.prefix] = peer
        bits = network.max_prefixlen - network.prefixlen
        place = (network.max_prefixlen // 8, bits)
        self._by_length.setdefault(place, {})[int(network.network_address) >> bits] = Way(
            peer, opened
        )
        self._count_source(peer.where, 1)
        self._index()

    def delete(self, prefix: str) -> None:
        """Remove the peer with *prefix*; nothing happens without one."""
        peer = self._peers.pop(prefix, None)
        if peer is None:
            return
        network = ip_network(prefix)
        bits = network.max_prefixlen - network.prefixlen
        place = (network.max_prefixlen // 8, bits)
        del self._by_length[place][int(network.network_address) >> bits]
        if not self._by_length[place]:
            del self._by_length[place]
        self._count_source(peer.where, -1)
        self._index()

    def _count_source(self, where: tuple[str, int], change: int) -> None:
        """Note one prefix more or less at *where*, in both forms that sockets have for it."""
        for source in (where, (*where, 0, 0)):
            count = self._sources.pop(source, 0) + change
            if count:
                self._sources[source] = count

    def _index(self) -> None:
        self._lengths = sorted(self._by_length)
        self._remembered.clear()

    def find(self, destination: bytes) -> Way | None:
        """Return the way to the address *destination*, 4 or 16 bytes; None: nobody has it."""
        try:
            return self._remembered[destination]
        except KeyError:
            pass
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered.clear()
        found = self._look_up(destination)
        self._remembered[destination] = found
        return found

    def _look_up(self, destination: bytes) -> Way | None:
        number = int.from_bytes(destination, "big")
        for size, bits in self._lengths:
            if size == len(destination):
                found = self._by_length[size, bits].get(number >> bits)
                if found is not None:
                    return found
        return None

    def knows(self, where: tuple[str | int, ...]) -> bool:
        """Tell whether some peer's relay is at *where*, as `recvmsg` says it."""
        return where in self._sources


class Prefixes:
    """A few prefixes, to tell whether an address lies in one.

    Raises:
        ValueError: one of *prefixes* is none.
    """

    def __init__(self, prefixes: list[str]) -> None:
        networks = [ip_network(prefix) for prefix in prefixes]
        self._ranges = [
            (len(n.network_address.packed), int(n.network_address), int(n.broadcast_address))
            for n in networks
        ]
        self._remembered: dict[bytes, bool] = {}
        # The node's own address in each family is the first of its first prefix, as flannel has it.
        self.first: dict[int, bytes] = {}
        for network in networks:
            packed = network.network_address.packed
            self.first.setdefault(len(packed), packed)

    def contains(self, address: bytes) -> bool:
        """Tell whether *address*, 4 or 16 bytes, lies in one of the prefixes."""
        known = self._remembered.get(address)
        if known is None:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            number = int.from_bytes(address, "big")
            known = self._remembered[address] = any(
                size == len(address) and low <= number <= high for size, low, high in self._ranges
            )
        return known
