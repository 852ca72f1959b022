"""ICMP errors of this relay: composed, limited in number, sent to whoever sent the packet."""

import time
from collections.abc import Callable

from podway.udp.counters import Counters
from podway.udp.icmp import Reason, compose_error
from podway.udp.limits import Allowance

# Linux: net.ipv4.icmp_msgs_per_sec is 1000, icmp_msgs_burst 50, for a whole machine.
_BURST, _PER_SECOND = 50, 100


class Complaints:
    """Tells senders why their packets are not forwarded.

    Args:
        sources: our address in each family, by its length in bytes.
        counters: counts what is sent and what is not.
        send: takes a whole packet to its destination.
    """

    def __init__(
        self, sources: dict[int, bytes], counters: Counters, send: Callable[[bytes], None]
    ) -> None:
        self._sources = sources
        self._counters = counters
        self._send = send
        self._allowance = Allowance(_BURST, _PER_SECOND)

    def about(self, packet: bytes, reason: Reason, mtu: int = 0) -> None:
        """Send an error about *packet*, if one may be sent; *mtu* as for `compose_error`."""
        error = compose_error(packet, reason, self._sources, mtu)
        if error is None or not self._allowance.take(time.monotonic()):
            self._counters["icmp_suppressed"] += 1
            return
        self._counters["icmp_sent"] += 1
        self._send(error)
