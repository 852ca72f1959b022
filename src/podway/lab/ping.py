"""Every pod pings every pod, all at once, from one thread.

In: who pings (a network namespace) and the addresses of all. Out: one `Outcome` per pair. A raw
ICMP socket is opened inside each namespace and stays usable outside of it, so that no process has
to be started: 72 pings take milliseconds, not seconds. Round trips are measured from the kernel's
time stamp of the reply, since a reply that waits for this loop would look slow.
"""

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from secrets import randbits

from msgspec import Struct

from podway.lab.icmp import echo_request, parse_answer
from podway.lab.interrupts import uninterrupted
from podway.model.addresses import Family, IPAddress, family_of
from podway.netlink.netns import entered

# Linux numbers that the socket module of Python 3.11 does not name (asm-generic/socket.h, in.h,
# in6.h, icmpv6.h).
SO_TIMESTAMPNS = 35
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_PROBE = 3
SOL_RAW = 255
ICMP_FILTER = 1
ICMP6_FILTER = 1
_TIMESPEC = struct.Struct("@qq")


class Station(Struct, frozen=True):
    """Somebody who pings and is pinged: a name, a namespace, at most one address per family."""

    name: str
    netns: Path
    addresses: tuple[IPAddress, ...]


class Outcome(Struct, frozen=True, kw_only=True):
    """One ping.

    Attributes:
        source: name of the station that pinged.
        target: name of the station that was pinged.
        address: the target's address.
        rtt_ms: round trip in milliseconds; None without a reply.
        reason: why there is no reply.
    """

    source: str
    target: str
    address: IPAddress
    rtt_ms: float | None = None
    reason: str = ""

    @property
    def family(self) -> Family:
        """Family of the ping."""
        return family_of(self.address)


class _Probe(Struct, frozen=True):
    source: Station
    target: Station
    address: IPAddress


def ping_all(
    sources: Sequence[Station],
    targets: Sequence[Station] | None = None,
    *,
    timeout_s: float = 2.0,
    payload_bytes: int = 56,
) -> list[Outcome]:
    """Ping every address of every target from every source that has the family.

    Packets are never fragmented, so a large *payload_bytes* tests the MTU.

    Args:
        sources: who pings.
        targets: who is pinged; None for the sources, each of which pings itself too.
        timeout_s: how long to wait for replies after the last request. More than one second, the
            interval at which the kernel asks for a neighbour's address again (NDP and ARP): a
            neighbour that was away a moment ago is found in that time.
        payload_bytes: of each echo request.

    Returns:
        One outcome per source and address, in the order of *sources*.

    Raises:
        OSError: a namespace cannot be entered.
    """
    with ExitStack() as stack:
        engine = _Engine(payload_bytes)
        for source in sources:
            for family in sorted({family_of(address) for address in source.addresses}):
                connection = stack.enter_context(open_socket(source.netns, family))
                engine.send(connection, family, _probes(source, targets or sources, family))
        engine.receive_until(time.monotonic() + timeout_s)
        return engine.outcomes


def _probes(source: Station, targets: Sequence[Station], family: Family) -> list[_Probe]:
    return [
        _Probe(source, target, address)
        for target in targets
        for address in target.addresses
        if family_of(address) is family
    ]


class _Engine:
    """Echo requests under way: who waits on which socket for which sequence number."""

    def __init__(self, payload_bytes: int) -> None:
        self.outcomes: list[Outcome] = []
        self._identifier = randbits(16)
        self._payload_bytes = payload_bytes
        self._waiting: dict[int, dict[int, tuple[int, int]]] = {}
        self._sockets: dict[int, tuple[socket.socket, Family]] = {}
        self._poll = select.poll()

    def send(self, connection: socket.socket, family: Family, probes: Iterable[_Probe]) -> None:
        """Send a request for each probe, and take what has come back meanwhile."""
        number = connection.fileno()
        self._sockets[number] = (connection, family)
        self._waiting[number] = {}
        self._poll.register(number, select.POLLIN)
        for sequence, probe in enumerate(probes):
            self._send_one(connection, family, sequence, probe)
            self._receive(number)

    def _send_one(
        self, connection: socket.socket, family: Family, sequence: int, probe: _Probe
    ) -> None:
        place = len(self.outcomes)
        packet = echo_request(family, self._identifier, sequence, self._payload_bytes)
        reason = "no reply"
        self._waiting[connection.fileno()][sequence] = (place, time.time_ns())
        try:
            connection.sendto(packet, (str(probe.address), 0))
        except OSError as error:
            del self._waiting[connection.fileno()][sequence]
            reason = _describe(error)
        self.outcomes.append(
            Outcome(
                source=probe.source.name,
                target=probe.target.name,
                address=probe.address,
                reason=reason,
            )
        )

    def receive_until(self, deadline: float) -> None:
        """Take answers until all have come or *deadline* (monotonic) has passed."""
        while any(self._waiting.values()):
            left_s = deadline - time.monotonic()
            ready = self._poll.poll(max(0, left_s * 1000))
            if not ready:
                return
            for number, _ in ready:
                self._receive(number)

    def _receive(self, number: int) -> None:
        connection, family = self._sockets[number]
        while True:
            try:
                packet, ancillary, _, _ = connection.recvmsg(65536, 64)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error is also reported as the socket's pending error; taken just now.
                continue
            self._take(number, family, packet, _received_ns(ancillary))

    def _take(self, number: int, family: Family, packet: bytes, received_ns: int) -> None:
        answer = parse_answer(family, packet)
        if answer is None or answer.identifier != self._identifier:
            return
        place, sent_ns = self._waiting[number].pop(answer.sequence, (-1, 0))
        if place < 0:
            return
        asked = self.outcomes[place]
        self.outcomes[place] = Outcome(
            source=asked.source,
            target=asked.target,
            address=asked.address,
            rtt_ms=None if answer.reason else max(0, received_ns - sent_ns) / 1e6,
            reason=answer.reason,
        )


def open_socket(netns: Path, family: Family) -> socket.socket:
    """Return a raw ICMP socket that belongs to *netns*, does not block, and never fragments."""
    netns_fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with uninterrupted(), entered(netns_fd):
            connection = _raw_socket(family)
    finally:
        os.close(netns_fd)
    connection.setblocking(False)  # noqa: FBT003  (the socket module's own signature)
    connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return connection


def _raw_socket(family: Family) -> socket.socket:
    """Open the socket; it takes no echo requests, of which each pod gets as many as it sends."""
    if family is Family.IPV4:
        connection = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        connection.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("@I", 1 << 8))
        connection.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
        return connection
    connection = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    blocked = bytearray(32)
    blocked[128 // 8] |= 1 << (128 % 8)
    connection.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, bytes(blocked))
    connection.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
    return connection


def _received_ns(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return time.time_ns()


def _describe(error: OSError) -> str:
    known: Mapping[int | None, str] = {
        errno.ENETUNREACH: "no route",
        errno.EHOSTUNREACH: "host unreachable",
        errno.EMSGSIZE: "packet too big",
        errno.EACCES: "refused (prohibited)",
        errno.EPERM: "refused (firewall)",
    }
    return known.get(error.errno, error.strerror or str(error))
