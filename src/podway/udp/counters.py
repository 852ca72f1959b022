"""What the relay counts; the agent shows it as metrics."""

# name -> help. Every counter is there from the start, so that a graph has no holes.
COUNTERS = {
    "sent_packets": "Packets from pods that went to a peer; a large packet of TCP counts once.",
    "sent_bytes": "Bytes of those packets.",
    "received_packets": "Packets from peers that went to this node.",
    "received_bytes": "Bytes of those packets.",
    "malformed": "Datagrams or packets dropped: none of a known format, cut off, or inconsistent.",
    "strangers": "Datagrams dropped: they came from no peer's address and port.",
    "no_peer": "Packets dropped: no peer has their destination.",
    "misrouted": "Packets dropped: they came in a circle, or for another node.",
    "ttl_expired": "Packets dropped: their TTL or hop limit ended here.",
    "too_big": "Packets dropped: longer than the way, and not to be fragmented.",
    "fragmented": "Packets longer than the way, which the kernel cut into outer fragments.",
    "send_failed": "Datagrams that a socket refused.",
    "write_failed": "Packets that the device refused, as it does while it is down.",
    "icmp_sent": "ICMP errors sent.",
    "icmp_suppressed": "ICMP errors not sent: too many, or not allowed about such a packet.",
}


class Counters(dict[str, int]):
    """Numbers by name; all 0 at the start."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(COUNTERS, 0))
