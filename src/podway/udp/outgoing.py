"""From TUN to peers: one read, one decision, one send (two for the longest packets).

In: a descriptor of a TUN device and the peers. Out: datagrams. A packet that cannot go on is
dropped, counted, and its sender told, as a router does. Everything that decides is in `packets`,
`peers`, `segments`, `bare` and `icmp`; here it is put together, with as few steps for each packet
as Python allows.
"""

import errno
import os
import socket
from collections.abc import Sequence

from podway.udp import bare, packets
from podway.udp.checksums import Bytes
from podway.udp.complaints import Complaints
from podway.udp.counters import Counters
from podway.udp.icmp import Reason
from podway.udp.peers import Peer, Peers, Prefixes
from podway.udp.segments import Cutter, cut, header_bytes
from podway.udp.sockets import allow_fragments, path_mtu, segment_size
from podway.udp.tun import GSO_NONE, NEEDS_CSUM, READ_BYTES, VNET, VNET_BYTES

_START = VNET_BYTES
_TCP_CHECKSUM = 16
_OUTER_BYTES = {4: 28, 16: 48}


class Outgoing:
    """Carries packets from TUN to peers.

    Args:
        tun: descriptor, non-blocking, with virtio-net headers.
        sockets: the UDP socket for inner addresses of 4 and of 16 bytes.
        peers: who has which addresses.
        own: this node's prefixes.
        counters: counts.
    """

    def __init__(
        self,
        tun: int,
        sockets: dict[int, socket.socket],
        peers: Peers,
        own: Prefixes,
        counters: Counters,
    ) -> None:
        self._tun = tun
        self._sockets = sockets
        self._peers = peers
        self._own = own
        self._counters = counters
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._into = [self._view]
        self._cutter = Cutter(self._buffer, _START)
        self.complaints = Complaints(own.first, counters, self._write_back)

    def take(self) -> bool:
        """Carry one packet; False: there is none.

        Raises:
            OSError: the device is gone (EBADFD).
        """
        try:
            end = os.readv(self._tun, self._into)
        except BlockingIOError:
            return False
        flags, gso_type, _, segment_bytes, first, at = VNET.unpack_from(self._buffer)
        buffer = self._buffer
        if not packets.length_of(buffer, _START, end):
            self._counters["malformed"] += 1
            return True
        destination = packets.destination_of(buffer, _START)
        peer = self._peers.find(destination)
        if peer is None:
            self._refuse(destination, end)
        elif packets.ttl_of(buffer, _START) <= 1:
            self._counters["ttl_expired"] += 1
            self._complain(end, Reason.TIME_EXCEEDED)
        else:
            self._counters["sent_packets"] += 1
            self._counters["sent_bytes"] += end - _START
            if gso_type == GSO_NONE:
                segment_bytes = 0
            partial = (first, at) if flags & NEEDS_CSUM else None
            if peer.segments and partial and packets.has_plain_header(buffer, _START):
                fits = self._send_segments(peer, end, segment_bytes)
            else:
                fits = self._send_bare(peer, end, segment_bytes, partial)
            if not fits:
                self._overlong(peer, end, segment_bytes, partial)
        return True

    def send(self, packet: bytes) -> None:
        """Send *packet*, whole and with all its checksums, to the peer that has its destination."""
        destination = packets.destination_of(bytearray(packet[:40]), 0)
        peer = self._peers.find(destination)
        if peer is None:
            self._write_back(packet)
        else:
            self._send(peer, [packet])

    # --- what cannot go on ----------------------------------------------------------------------

    def _refuse(self, destination: bytes, end: int) -> None:
        """Drop a packet that no peer has: for nobody, or our own that has come in a circle."""
        is_own = self._own.contains(destination)
        self._counters["misrouted" if is_own else "no_peer"] += 1
        if packets.is_unicast(destination):
            self._complain(end, Reason.UNREACHABLE)

    def _complain(self, end: int, reason: Reason, mtu: int = 0) -> None:
        self.complaints.about(bytes(self._buffer[_START:end]), reason, mtu)

    def _write_back(self, packet: bytes) -> None:
        try:
            os.writev(self._tun, (bytes(VNET_BYTES), packet))
        except OSError:
            self._counters["write_failed"] += 1

    # --- sending --------------------------------------------------------------------------------

    def _send_segments(self, peer: Peer, end: int, segment_bytes: int) -> bool:
        """Send the packet in podway's format; False when it is too long for the way."""
        buffer = self._buffer
        header = header_bytes(buffer, _START, end)
        if not header:
            self._counters["malformed"] += 1
            return True
        original = bytes(buffer[_START : _START + header])
        packets.take_hop(buffer, _START)
        if not segment_bytes or segment_bytes >= end - _START - header:
            if self._send(peer, self._cutter.single(end)):
                return True
        elif all(
            self._send(peer, pieces, size)
            for pieces, size in self._cutter.pieces(end, segment_bytes, header)
        ):
            return True
        buffer[_START : _START + header] = original
        return False

    def _send_bare(
        self, peer: Peer, end: int, segment_bytes: int, partial: tuple[int, int] | None
    ) -> bool:
        """Send the packet as flannel has it; False when it is too long for the way.

        Args:
            peer: to whom.
            end: of the packet in the buffer.
            segment_bytes: payload of each segment of a large packet; 0: it is not large.
            partial: where its checksum is left to us; None: it is complete.
        """
        buffer, view = self._buffer, self._view
        if partial is None or not segment_bytes:
            original = buffer[_START:end] if partial else buffer[_START : _START + 12]
            packets.take_hop(buffer, _START)
            if partial is not None:
                bare.finish_checksum(buffer, _START, end, *partial)
            if self._send(peer, [view[_START:end]]):
                return True
            buffer[_START : _START + len(original)] = original
            return False
        packet = bytearray(view[_START:end])
        packets.take_hop(packet, 0)
        first, at = partial
        header = first + (packet[first + 12] >> 4 << 2 if at == _TCP_CHECKSUM else 8)
        whole = list(bare.cut(packet, segment_bytes, first, header))
        return all(
            self._send(peer, whole[number : number + count], header + segment_bytes)
            for number, count in cut(len(packet) - header, segment_bytes, header)
        )

    def _send(self, peer: Peer, pieces: Sequence[Bytes], size: int = 0) -> bool:
        """Send *pieces* as datagrams of *size* bytes (0: as one); False when that is too long.

        Any other refusal is a drop like that of a full queue.
        """
        opened = self._sockets.get(4 if "." in peer.address else 16)
        if opened is None:
            self._counters["send_failed"] += 1
            return True
        try:
            opened.sendmsg(pieces, segment_size(size) if size else (), 0, peer.where)
        except OSError as error:
            # Linux before 6.10 says EINVAL of segments that are too long.
            if error.errno in (errno.EMSGSIZE, errno.EINVAL):
                return False
            self._counters["send_failed"] += 1
        return True

    def _overlong(
        self, peer: Peer, end: int, segment_bytes: int, partial: tuple[int, int] | None
    ) -> None:
        """Do as a router does with a packet that does not fit: fragment it, or tell its sender."""
        inner = path_mtu(*peer.where) - _OUTER_BYTES[4 if "." in peer.address else 16]
        if inner <= 0:
            self._counters["send_failed"] += 1
        elif packets.may_fragment(self._buffer, _START):
            self._counters["fragmented"] += 1
            self._send_in_fragments(peer, end, segment_bytes, partial)
        else:
            self._counters["too_big"] += 1
            self._complain(end, Reason.TOO_BIG, inner)

    def _send_in_fragments(
        self, peer: Peer, end: int, segment_bytes: int, partial: tuple[int, int] | None
    ) -> None:
        opened = self._sockets[4 if "." in peer.address else 16]
        allow_fragments(opened, allowed=True)
        try:
            if not self._send_bare(peer, end, segment_bytes, partial):
                self._counters["send_failed"] += 1
        finally:
            allow_fragments(opened, allowed=False)
