"""Pings between all pods, a hundred times a second each way, for as long as a test's body runs.

Counted is what was never answered: not how long anything took. A thread of the test's own sends and
receives; its sockets belong to the pods' namespaces.
"""

import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from secrets import randbits

from podway.lab.icmp import echo_request, parse_answer
from podway.lab.ping import Station, open_socket
from podway.model.addresses import Family, IPAddress, family_of

INTERVAL_S = 0.01
# For what is under way at the end.
PATIENCE_S = 3.0
_SEQUENCES = 1 << 16


class SteadyPings:
    """What was sent and what was not answered.

    Attributes:
        sent: how many requests.
        unanswered: which ones, in words; whole once the pinging has ended.
    """

    def __init__(self, stack: ExitStack, stations: Sequence[Station]) -> None:
        self.sent = 0
        self.unanswered: list[str] = []
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
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and any(leg.waiting for leg in self._legs.values()):
            self._receive_until(time.monotonic() + INTERVAL_S)
        for leg in self._legs.values():
            self.unanswered += leg.waiting.values()

    def _send(self, leg: "_Leg") -> None:
        for address in leg.targets:
            leg.sequence = (leg.sequence + 1) % _SEQUENCES
            request = echo_request(leg.family, self._identifier, leg.sequence, 56)
            moment_s = time.monotonic() - self._began_s
            said = f"{leg.name} to {address} after {moment_s:.2f} s"
            self.sent += 1
            try:
                leg.connection.sendto(request, (str(address), 0))
            except OSError as error:
                self.unanswered.append(f"{said}: {error.strerror}")
            else:
                leg.waiting[leg.sequence] = said

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
            said = leg.waiting.pop(answer.sequence, None)
            if said is not None and answer.reason:
                self.unanswered.append(f"{said}: {answer.reason}")


class _Leg:
    """One pod in one family, and whom it pings."""

    def __init__(
        self,
        name: str,
        family: Family,
        connection: socket.socket,
        targets: Sequence[IPAddress],
    ) -> None:
        self.name = name
        self.family = family
        self.connection = connection
        self.targets = targets
        self.sequence = 0
        self.waiting: dict[int, str] = {}


def _addresses(stations: Sequence[Station], family: Family) -> list[IPAddress]:
    return [
        address
        for station in stations
        for address in station.addresses
        if family_of(address) is family
    ]


@contextmanager
def steady_pings(stations: Sequence[Station]) -> Iterator[SteadyPings]:
    """Ping between *stations* while the body runs; the result is whole after it."""
    with ExitStack() as stack:
        pings = SteadyPings(stack, stations)
        ended = threading.Event()
        thread = threading.Thread(target=pings.run, args=(ended,))
        thread.start()
        try:
            yield pings
        finally:
            ended.set()
            thread.join()
