"""From peers to TUN: one receive, one decision for each run of segments in it, one write each.

In: the UDP sockets and the peers. Out: packets in TUN, large ones where datagrams belong together.
What comes from nobody we know, is no packet, has no hop left or is for another node is dropped and
counted; for the last two its sender is told. Whether its source is the peer's is not looked at:
routers and hosts on the peer's side speak for themselves.
"""

import errno
import os
import socket
from collections.abc import Sequence
from struct import Struct

from podway.udp import bare, packets
from podway.udp.checksums import Bytes
from podway.udp.complaints import Complaints
from podway.udp.heads import rebuild, unsummed_head
from podway.udp.icmp import Reason
from podway.udp.joining import Joiner, open_run
from podway.udp.segments import UNSUMMED, header_bytes, is_ours, is_small, part_of, unmark
from podway.udp.sockets import GRO_SPACE
from podway.udp.surroundings import Surroundings
from podway.udp.tun import VNET_BYTES

_INT = Struct("=i")
_NO_OFFLOAD = bytes(VNET_BYTES)
_RECEIVE_BYTES = 65536


class Incoming:
    """Carries packets from peers to TUN.

    Args:
        around: the device, the peers, this node's prefixes, the counters.
        complaints: tells senders.
    """

    def __init__(self, around: Surroundings, complaints: Complaints) -> None:
        self._tun, self._peers, self._own, self._counters = around
        self._complaints = complaints
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        self._into = [self._buffer]
        self._joiner = Joiner(self._buffer)

    def take(self, opened: socket.socket) -> None:
        """Carry what one receive on *opened* gives, if there is something.

        Raises:
            OSError: the device is gone (EBADFD).
        """
        try:
            end, extra, _, where = opened.recvmsg_into(self._into, GRO_SPACE)
        except BlockingIOError:
            return
        if not self._peers.knows(where):
            self._counters["strangers"] += 1
            return
        if not end:
            self._counters["malformed"] += 1
        size = _INT.unpack(extra[0][2])[0] if extra else end
        start = 0
        while start < end:
            stop = min(start + size, end)
            first_byte = self._buffer[start]
            if is_small(first_byte):
                self._take_small(start, stop, part_of(first_byte))
                start += size
            elif is_ours(first_byte):
                start += size * self._take_segments(start, end, stop, size)
            else:
                start += size * self._take_bare(start, end, stop, size)

    # --- podway's format ------------------------------------------------------------------------

    def _take_segments(self, start: int, end: int, stop: int, size: int) -> int:
        """Carry the run of segments that begins at *start*; return how many it has."""
        buffer = self._buffer
        header = header_bytes(buffer, start, stop)
        if not header:
            self._counters["malformed"] += 1
            return 1
        count = 1
        if stop < end and header < size:
            count = self._joiner.run_length(start, end, size, header)
            stop = min(start + count * size, end)
        template, is_end = open_run(buffer, start, start + (count - 1) * size, header)
        payloads = self._joiner.payloads(start, stop, size, header, count)
        payload_bytes = stop - start - count * header
        is_own = self._own.contains(packets.destination_of(template, 0))
        head = rebuild(template, count, size - header, payload_bytes, is_end=is_end)
        if is_own:
            self._write([head, *payloads], header + payload_bytes)
        else:
            self._refuse(head[VNET_BYTES:] + bytes(payloads[0]), Reason.UNREACHABLE)
        return count

    def _take_small(self, start: int, stop: int, part: int) -> None:
        """Carry the packet in the datagram at *start*."""
        buffer = self._buffer
        buffer[start] = unmark(buffer[start])
        head = unsummed_head(buffer, start) if part == UNSUMMED else _NO_OFFLOAD
        if head is None:
            self._counters["malformed"] += 1
        elif self._own.contains(packets.destination_of(buffer, start)):
            self._write((head, self._view[start:stop]), stop - start)
        else:
            self._refuse(bytes(self._view[start:stop]), Reason.UNREACHABLE)

    # --- flannel's format -----------------------------------------------------------------------

    def _take_bare(self, start: int, end: int, stop: int, size: int) -> int:
        """Carry the packet at *start*, and those that go on where it ends; return how many."""
        length = packets.length_of(self._buffer, start, stop)
        if not length:
            self._counters["malformed"] += 1
            return 1
        if not self._own.contains(packets.destination_of(self._buffer, start)):
            self._refuse(bytes(self._view[start : start + length]), Reason.UNREACHABLE)
            return 1
        if packets.ttl_of(self._buffer, start) <= 1:
            self._refuse(bytes(self._view[start : start + length]), Reason.TIME_EXCEEDED)
            return 1
        count, header = 1, 0
        if length == size and stop < end and packets.has_plain_header(self._buffer, start):
            header = header_bytes(self._buffer, start, stop)
            count = self._joinable(start, end, size, header)
        if count == 1:
            packets.take_hop(self._buffer, start)
            self._write([_NO_OFFLOAD, self._view[start : start + length]], length)
        else:
            self._write_joined(start, min(start + count * size, end), size, header, count)
        return count

    def _joinable(self, start: int, end: int, size: int, header: int) -> int:
        """Return how many packets from *start* on are one flow's, in order and whole."""
        first = self._view[start : start + size]
        payload_bytes = bare.joinable_bytes(first, header)
        count, at, step = 1, start + size, payload_bytes
        while payload_bytes and at < end and not bare.ends_run(first, header):
            packet = self._view[at : min(at + size, end)]
            step = self._next_joinable(at, packet, header)
            if not step or not bare.follows(first, payload_bytes, packet, header):
                break
            count, at, payload_bytes = count + 1, at + size, payload_bytes + step
            if bare.ends_run(packet, header):
                break
        return count

    def _next_joinable(self, at: int, packet: memoryview, header: int) -> int:
        if packets.length_of(self._buffer, at, at + len(packet)) != len(packet):
            return 0
        if not packets.has_plain_header(self._buffer, at):
            return 0
        if header_bytes(self._buffer, at, at + len(packet)) != header:
            return 0
        return bare.joinable_bytes(packet, header)

    def _write_joined(self, start: int, stop: int, size: int, header: int, count: int) -> None:
        payloads = self._joiner.payloads(start, stop, size, header, count)
        payload_bytes = stop - start - count * header
        packets.take_hop(self._buffer, start)
        template = bare.open_run(self._view, start, start + (count - 1) * size, header)
        head = rebuild(template, count, size - header, payload_bytes, is_end=True)
        self._write([head, *payloads], header + payload_bytes)

    # --- both -----------------------------------------------------------------------------------

    def _refuse(self, packet: bytes, reason: Reason) -> None:
        """Drop *packet*: it would come in a circle, or has no hop left."""
        self._counters["misrouted" if reason is Reason.UNREACHABLE else "ttl_expired"] += 1
        if packets.length_of(bytearray(packet), 0, len(packet)):
            self._complaints.about(packet, reason)

    def _write(self, pieces: Sequence[Bytes], length: int) -> None:
        try:
            os.writev(self._tun, pieces)
        except OSError as error:
            if error.errno == errno.EBADFD:
                raise
            # EINVAL: the kernel finds that it is no packet; EIO: the device is down.
            name = "malformed" if error.errno == errno.EINVAL else "write_failed"
            self._counters[name] += 1
            return
        self._counters["received_packets"] += 1
        self._counters["received_bytes"] += length
