"""How many UDP datagrams came with a wrong checksum: how offloads gone wrong show themselves.

A network card, or address translation in an older kernel, that computes the checksum of a tunnel's
packet wrongly breaks connections in a way that nobody sees: the receiver drops the packet, counts
it, and says nothing; the sender tries for a minute. The count is of one network namespace and of
all of its UDP, tunnels included (net/ipv4/udp.c, udp_queue_rcv_one_skb).
"""

from pathlib import Path

_NET = Path("/proc/self/net")
_IPV4_COUNTER = "InCsumErrors"
_IPV6_COUNTER = "Udp6InCsumErrors"


class ChecksumErrors:
    """Counts in the process's own network namespace, from when this was made."""

    def __init__(self) -> None:
        self._before = read_checksum_errors()

    def __call__(self) -> int:
        """Return how many came since."""
        return read_checksum_errors() - self._before


def read_checksum_errors() -> int:
    """Return how many came since the namespace was made, IPv4 and IPv6 together."""
    return _ipv4(_read("snmp")) + _ipv6(_read("snmp6"))


def _ipv4(text: str) -> int:
    """Return it from *text*: a line of names, then one of numbers, for each protocol."""
    names, *rows = (line.split() for line in text.splitlines() if line.startswith("Udp: "))
    return int(rows[0][names.index(_IPV4_COUNTER)])


def _ipv6(text: str) -> int:
    """Return it from *text*: a name and a number in each line; none where there is no IPv6."""
    rows = (line.split() for line in text.splitlines())
    return next((int(number) for name, number in rows if name == _IPV6_COUNTER), 0)


def _read(name: str) -> str:
    try:
        return (_NET / name).read_text(encoding="ascii")
    except FileNotFoundError:
        return ""
