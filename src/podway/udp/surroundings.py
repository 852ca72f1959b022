"""What both directions of the relay work with."""

from typing import NamedTuple

from podway.udp.counters import Counters
from podway.udp.peers import Peers, Prefixes


class Surroundings(NamedTuple):
    """Made once by `relay`, for `outgoing` and `incoming`.

    Attributes:
        tun: descriptor of the device, non-blocking, with virtio-net headers.
        peers: who has which addresses, and from whom packets are taken.
        own: this node's prefixes: for what packets are taken.
        counters: counts.
    """

    tun: int
    peers: Peers
    own: Prefixes
    counters: Counters
