"""Pings between all stations, up to a hundred times a second each way, while a body runs.

Counted is what was never answered: not how long anything took. One thread sends and receives; its
sockets belong to the stations' namespaces. ``podway lab ping --for``, tests and benchmarks break a
lab meanwhile, and ask what its pods have noticed.
"""

import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from secrets import randbits

from msgspec import Struct
from msgspec.structs import replace

from podway.lab.icmp import echo_request, parse_answer
from podway.lab.ping import Station, open_socket
from podway.model.addresses import Family, family_of

INTERVAL_S = 0.01
# For what is under way at the end.
PATIENCE_S = 3.0
PAYLOAD_BYTES = 56
_SEQUENCES = 1 << 16


class Request(Struct, frozen=True):
    """One ping.

    Attributes:
        number: how many had been sent before it.
        source: name of the station that pinged.
        target: address that was pinged.
        moment_s: when, in seconds from the first one.
        reason: why there is no answer.
    """

    number: int
    source: str
    target: str
    moment_s: float
    reason: str = "no reply"


class SteadyPings:
    """What was sent and what was not answered.

    Attributes:
        sent: how many requests.
        unanswered: which ones; whole once the pinging has ended.
    """

    def __init__(
        self,
        stack: ExitStack,
        stations: Sequence[Station],
        payload_bytes: int = PAYLOAD_BYTES,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._payload_bytes = payload_bytes
        self._patience_s = patience_s
        self.sent = 0
        self.unanswered: list[Request] = []
        self._began_s = time.monotonic()
        self._identifier = randbits(16)
        self._poll = select.poll()
        self._legs: dict[int, _Leg] = {}
        for station in stations:
            for family in sorted({family_of(address) for address in station.addresses}):
                others = [each for each in stations if each is not station]
                connection = stack.enter_context(open_socket(station.netns, family))
                leg = _Leg(station.name, family, connection, _addresses(others, family))
                self._legs[connection.fileno()] = leg
                self._poll.register(connection, select.POLLIN)

    def run(self, ended: threading.Event) -> None:
        """Ping until *ended*, then wait for what is under way."""
        while not ended.is_set():
            for leg in self._legs.values():
                self._send(leg)
            self._receive_until(time.monotonic() + INTERVAL_S)
        deadline = time.monotonic() + self._patience_s
        while time.monotonic() < deadline and any(leg.waiting for leg in self._legs.values()):
            self._receive_until(time.monotonic() + INTERVAL_S)
        for leg in self._legs.values():
            self.unanswered += leg.waiting.values()

    def _send(self, leg: "_Leg") -> None:
        for target in leg.targets:
            moment_s = time.monotonic() - self._began_s
            request = Request(self.sent, leg.name, target, moment_s)
            leg.sequence = (leg.sequence + 1) % _SEQUENCES
            # Whoever had this number last has waited while all others were used.
            self._give_up(leg.waiting.pop(leg.sequence, None))
            packet = echo_request(leg.family, self._identifier, leg.sequence, self._payload_bytes)
            self.sent += 1
            try:
                leg.connection.sendto(packet, (target, 0))
            except OSError as error:
                self._give_up(request, error.strerror)
            else:
                leg.waiting[leg.sequence] = request

    def _give_up(self, request: Request | None, reason: str | None = None) -> None:
        if request is not None:
            self.unanswered.append(replace(request, reason=reason or request.reason))

    def _receive_until(self, deadline: float) -> None:
        while (left_s := deadline - time.monotonic()) > 0:
            for number, _ in self._poll.poll(left_s * 1000):
                self._receive(self._legs[number])

    def _receive(self, leg: "_Leg") -> None:
        while True:
            try:
                packet = leg.connection.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error, which is also there as a packet
            answer = parse_answer(leg.family, packet)
            if answer is None or answer.identifier != self._identifier:
                continue
            request = leg.waiting.pop(answer.sequence, None)
            if answer.reason:
                self._give_up(request, answer.reason)


class _Leg:
    """One station in one family, and whom it pings."""

    def __init__(
        self,
        name: str,
        family: Family,
        connection: socket.socket,
        targets: Sequence[str],
    ) -> None:
        self.name = name
        self.family = family
        self.connection = connection
        self.targets = targets
        self.sequence = 0
        self.waiting: dict[int, Request] = {}


def _addresses(stations: Sequence[Station], family: Family) -> list[str]:
    return [
        str(address)
        for station in stations
        for address in station.addresses
        if family_of(address) is family
    ]


@contextmanager
def steady_pings(
    stations: Sequence[Station],
    *,
    payload_bytes: int = PAYLOAD_BYTES,
    patience_s: float = PATIENCE_S,
) -> Iterator[SteadyPings]:
    """Ping between *stations* while the body runs; the result is whole after it.

    Args:
        stations: who pings and is pinged.
        payload_bytes: of each ping.
        patience_s: how long replies are waited for that are under way at the end.

    Raises:
        OSError: a namespace cannot be entered.
    """
    ended = threading.Event()
    with ExitStack() as stack, ThreadPoolExecutor(1, thread_name_prefix="pings") as thread:
        pings = SteadyPings(stack, stations, payload_bytes, patience_s)
        work = thread.submit(pings.run, ended)
        try:
            yield pings
        finally:
            ended.set()
        work.result()
