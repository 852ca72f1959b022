"""From TUN to peers: one read, one decision, one send (two for the longest packets).

In: a descriptor of a TUN device and the peers. Out: datagrams. A packet that cannot go on is
dropped, counted, and its sender told, as a router does. Everything that decides is in `packets`,
`peers`, `segments`, `bare` and `icmp`; here it is put together, with as few steps for each packet
as Python allows.
"""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from struct import Struct

from podway.udp import bare, packets
from podway.udp.checksums import Bytes
from podway.udp.complaints import Complaints
from podway.udp.cutting import Cutter, cut
from podway.udp.heads import is_unsummed
from podway.udp.icmp import Reason
from podway.udp.peers import Way
from podway.udp.segments import UNSUMMED, WHOLE, header_bytes, mark
from podway.udp.sockets import allow_fragments, path_mtu, segment_size
from podway.udp.surroundings import Surroundings
from podway.udp.tun import GSO_NONE, NEEDS_CSUM, READ_BYTES, VNET, VNET_BYTES

_START = VNET_BYTES
# csum_start and csum_offset of the virtio-net header, as one number.
_CSUM_PLACE = Struct("=I")
_CSUM_PLACE_AT = 6
_TCP_CHECKSUM_AT = packets.CHECKSUM_AT[packets.TCP]
_UDP_BYTES = 8
_BYTES = [bytes((number,)) for number in range(256)]
# Outer IP and UDP headers.
_OUTER_BYTES = {socket.AF_INET: 28, socket.AF_INET6: 48}


class Outgoing:
    """Carries packets from TUN to peers.

    Args:
        around: the device, the peers, this node's prefixes, the counters.
    """

    def __init__(self, around: Surroundings) -> None:
        self._tun, self._peers, self._own, self._counters = around
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._into = [self._view]
        self._cutter = Cutter(self._buffer, _START)
        self._complaints = Complaints(self._own.first, self._counters, self._write_back)

    def take(self) -> None:
        """Carry one packet, if there is one.

        Raises:
            OSError: the device is gone (EBADFD).
        """
        try:
            end = os.readv(self._tun, self._into)
        except BlockingIOError:
            return
        buffer = self._buffer
        destination = packets.destination_of(buffer, _START)
        way = self._peers.find(destination)
        if way is None:
            self._refuse(destination, end)
            return
        # What the virtio-net header begins with.
        unsummed, gso_type = buffer[0] & NEEDS_CSUM, buffer[1]
        if not way.peer.segments:
            self._send_bare(way, end, unsummed=unsummed)
        elif gso_type == GSO_NONE:
            self._send_small(way, end, unsummed=unsummed)
        else:
            self._send_large(way, end)
        self._counters["sent_packets"] += 1
        self._counters["sent_bytes"] += end - _START

    def send(self, packet: bytes) -> None:
        """Send *packet*, whole and with all its checksums, to whoever has its destination."""
        destination = packets.destination_of(bytearray(packet[:40]), 0)
        way = self._peers.find(destination)
        if way is None:
            self._write_back(packet)
            return
        peer, opened = way
        first = mark(packet[0], WHOLE) if peer.segments else packet[0]
        try:
            opened.sendmsg((_BYTES[first], packet[1:]), (), 0, peer.where)
        except OSError:
            self._counters["send_failed"] += 1

    # --- podway's format ------------------------------------------------------------------------

    def _send_small(self, way: Way, end: int, *, unsummed: int) -> None:
        buffer, part = self._buffer, WHOLE
        if unsummed:
            if is_unsummed(buffer, _START, _CSUM_PLACE.unpack_from(buffer, _CSUM_PLACE_AT)[0]):
                part = UNSUMMED
            else:
                self._finish_checksum(end)
        first_byte = buffer[_START]
        buffer[_START] = kind = mark(first_byte, part)
        try:
            # As one piece, without control messages: what small packets wait for is system calls.
            way.socket.sendto(self._view[_START:end], way.peer.where)
        except OSError:
            buffer[_START] = first_byte
            self._send(way, end, (_BYTES[kind], self._view[_START + 1 : end]))

    def _send_large(self, way: Way, end: int) -> None:
        buffer = self._buffer
        segment_bytes = VNET.unpack_from(buffer)[3]
        plain = packets.has_plain_header(buffer, _START)
        header = header_bytes(buffer, _START, end) if plain else 0
        if not header:
            self._send_cut(way, end, segment_bytes)
        elif end - _START - header <= segment_bytes:
            self._send_small(way, end, unsummed=True)
        else:
            for pieces, size in self._cutter.pieces(end, segment_bytes, header):
                if not self._send(way, end, pieces, size):
                    break

    # --- flannel's format -----------------------------------------------------------------------

    def _send_bare(self, way: Way, end: int, *, unsummed: int) -> None:
        """Send the packet, one hop later, as flannel has it."""
        if packets.ttl_of(self._buffer, _START) <= 1:
            self._counters["ttl_expired"] += 1
            self._complain(end, Reason.TIME_EXCEEDED)
            return
        packets.take_hop(self._buffer, _START)
        _, gso_type, _, segment_bytes, *_ = VNET.unpack_from(self._buffer)
        if gso_type != GSO_NONE:
            self._send_cut(way, end, segment_bytes)
            return
        if unsummed:
            self._finish_checksum(end)
        self._send(way, end, (self._view[_START:end],))

    def _send_cut(self, way: Way, end: int, segment_bytes: int) -> None:
        """Send a large packet as packets that have everything in them."""
        *_, first, at = VNET.unpack_from(self._buffer)
        packet = bytes(self._view[_START:end])
        header = first + (packet[first + 12] >> 4 << 2 if at == _TCP_CHECKSUM_AT else _UDP_BYTES)
        whole = list(bare.cut(packet, segment_bytes, first, header))
        if way.peer.segments:
            whole = [_BYTES[mark(each[0], WHOLE)] + each[1:] for each in whole]
        for number, count in cut(len(packet) - header, segment_bytes, header):
            pieces = whole[number : number + count]
            if not self._send(way, end, pieces, header + segment_bytes):
                break

    def _finish_checksum(self, end: int) -> None:
        *_, first, at = VNET.unpack_from(self._buffer)
        bare.finish_checksum(self._buffer, _START, end, first, at)

    # --- both -----------------------------------------------------------------------------------

    def _send(self, way: Way, end: int, pieces: Sequence[Bytes], size: int = 0) -> bool:
        """Send *pieces* as datagrams of *size* bytes (0: as one).

        Returns:
            False when they are too long and their sender was told. Any refusal but that is a drop
            like that of a full queue.
        """
        try:
            way.socket.sendmsg(pieces, segment_size(size) if size else (), 0, way.peer.where)
        except OSError as error:
            # Linux before 6.10 says EINVAL of segments that are too long.
            if error.errno in (errno.EMSGSIZE, errno.EINVAL):
                return self._send_too_long(way, end, pieces, size)
            self._counters["send_failed"] += 1
        return True

    def _send_too_long(self, way: Way, end: int, pieces: Sequence[Bytes], size: int) -> bool:
        """Do as a router does with a packet that does not fit: fragment it, or tell its sender.

        How much fits the kernel learned from a router there, and tells it only now.
        """
        outer_bytes = _OUTER_BYTES[way.socket.family]
        inner_mtu = path_mtu(*way.peer.where) - outer_bytes
        if inner_mtu <= 0 or not pieces:
            self._counters["send_failed"] += 1
            return True
        if not packets.may_fragment(self._buffer, _START):
            self._counters["too_big"] += 1
            self._complain(end, Reason.TOO_BIG, inner_mtu)
            return False
        self._counters["fragmented"] += 1
        allow_fragments(way.socket, allowed=True)
        try:
            for datagram in datagrams(pieces, size):
                way.socket.sendmsg(datagram, (), 0, way.peer.where)
        except OSError:
            self._counters["send_failed"] += 1
        finally:
            allow_fragments(way.socket, allowed=False)
        return True

    # --- what cannot go on ----------------------------------------------------------------------

    def _refuse(self, destination: bytes, end: int) -> None:
        """Drop a packet that no peer has: for nobody, or our own that has come in a circle."""
        is_own = self._own.contains(destination)
        self._counters["misrouted" if is_own else "no_peer"] += 1
        if packets.is_unicast(destination):
            self._complain(end, Reason.UNREACHABLE)

    def _complain(self, end: int, reason: Reason, mtu: int = 0) -> None:
        if packets.length_of(self._buffer, _START, end):
            self._complaints.about(bytes(self._buffer[_START:end]), reason, mtu)

    def _write_back(self, packet: bytes) -> None:
        try:
            os.writev(self._tun, (bytes(VNET_BYTES), packet))
        except OSError:
            self._counters["write_failed"] += 1


def datagrams(pieces: Sequence[Bytes], size: int) -> Iterator[Sequence[Bytes]]:
    """Yield the pieces of each datagram of *size* bytes (0: all are one), the last one shorter."""
    taken: list[Bytes] = []
    taken_bytes = 0
    for piece in pieces:
        taken.append(piece)
        taken_bytes += len(piece)
        if size and taken_bytes >= size:
            yield taken
            taken, taken_bytes = [], 0
    if taken:
        yield taken
