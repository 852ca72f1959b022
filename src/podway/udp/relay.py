"""The loop: reads from TUN and from the sockets as long as there is something, then waits.

One thread: with two (or two processes), one for each direction, TCP is a little faster and
request/response slower, since each packet wakes a thread that sleeps (docs/design/udp.md has the
numbers). Like flannel's, the loop asks `poll` only when all are empty; unlike it, it looks at the
control socket after so many rounds, however busy it is.
"""

import select
import socket
from collections.abc import Callable
from functools import partial

from podway.udp.complaints import Complaints
from podway.udp.counters import Counters
from podway.udp.incoming import Incoming
from podway.udp.outgoing import Outgoing
from podway.udp.peers import Peers, Prefixes
from podway.udp.surroundings import Surroundings

# A millisecond or so of hard work.
_ROUNDS = 64


class Relay:
    """Carries packets between one TUN device and the UDP sockets.

    Args:
        tun: descriptor of the device.
        sockets: the UDP socket for inner addresses of 4 and of 16 bytes.
        own: this node's prefixes.
    """

    def __init__(self, tun: int, sockets: dict[int, socket.socket], own: Prefixes) -> None:
        self.peers = Peers(sockets)
        self.counters = Counters()
        around = Surroundings(tun, self.peers, own, self.counters)
        self._outgoing = Outgoing(around)
        complaints = Complaints(own.first, self.counters, self._outgoing.send)
        self._incoming = Incoming(around, complaints)
        self._poll = select.poll()
        self._acts: dict[int, Callable[[], object]] = {}
        self.watch(tun, self._outgoing.take)
        for opened in sockets.values():
            self.watch(opened.fileno(), partial(self._incoming.take, opened))
        self._stopped = False

    def watch(self, fd: int, act: Callable[[], object]) -> None:
        """Have *act* called whenever *fd* is readable."""
        self._acts[fd] = act
        self._poll.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Forget about *fd*, which may be closed then."""
        del self._acts[fd]
        self._poll.unregister(fd)

    def stop(self) -> None:
        """Have `run` return."""
        self._stopped = True

    def run(self) -> None:
        """Carry packets until `stop` is called.

        Raises:
            OSError: the device is gone: EBADFD or EFAULT.
        """
        wait, acts = self._poll.poll, self._acts
        while not self._stopped:
            for fd, _ in wait():
                acts[fd]()
