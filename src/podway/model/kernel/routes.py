"""Where packets go: routes, and the rules that choose the table in which a route is sought."""

from msgspec import Struct

from podway.model.addresses import Family, IPAddress, IPNetwork, family_of
from podway.model.kernel.keys import Key

# Marks every route and rule of ours (rtm_protocol, RTA_PROTOCOL). iproute2 names none of it.
ROUTE_PROTOCOL = 112
MAIN_TABLE = 254


class NextHop(Struct, frozen=True):
    """One way of a multipath route.

    Attributes:
        dev: output device.
        via: next hop, None for a directly connected one.
        weight: share of the flows, from 1 to 256 beside the weights of the other ways.
        onlink: take *via* as reachable on *dev* although no prefix says so.
    """

    dev: str
    via: IPAddress | None = None
    weight: int = 1
    onlink: bool = False


class Route(Struct, frozen=True, kw_only=True):
    """A route. Key: family, table, prefix and metric, as in fib_trie and ip6_fib.

    Attributes:
        dst: destination prefix.
        dev: output device; "" with `nexthops` or for a blackhole.
        via: next hop, None for a directly connected prefix.
        onlink: take *via* as reachable on *dev* although no prefix says so.
        scope: "global" or "link" (IPv4 only; IPv6 has no scopes).
        kind: "unicast", "blackhole" or "unreachable".
        src: preferred source address.
        metric: priority; the kernel makes an IPv6 metric of 0 into 1024, so write 1024 there.
        mtu: bytes, for packets that take this route; 0 leaves it to the device.
        nexthops: two or more ways, instead of dev and via.
    """

    dst: IPNetwork
    dev: str = ""
    via: IPAddress | None = None
    onlink: bool = False
    scope: str = "global"
    kind: str = "unicast"
    src: IPAddress | None = None
    table: int = MAIN_TABLE
    metric: int = 0
    mtu: int = 0
    protocol: int = ROUTE_PROTOCOL
    nexthops: tuple[NextHop, ...] = ()

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        return Key("route", (int(family_of(self.dst)), self.table, str(self.dst), self.metric))


class Rule(Struct, frozen=True, kw_only=True):
    """A routing policy rule. Key: all of it, since the kernel allows many at one priority.

    Attributes:
        family: IPv4 or IPv6.
        priority: rules are asked in ascending order.
        table: where the route is sought.
        src: prefix of the packet's source; None for any.
        dst: prefix of its destination; None for any.
        fwmark: its mark, in the bits of *fwmask*.
        fwmask: 0 for any mark.
        iif: device it came in by; "" for any.
        protocol: who wrote the rule.
    """

    family: Family
    priority: int
    table: int
    src: IPNetwork | None = None
    dst: IPNetwork | None = None
    fwmark: int = 0
    fwmask: int = 0
    iif: str = ""
    protocol: int = ROUTE_PROTOCOL

    @property
    def key(self) -> Key:
        """Identity in the kernel."""
        parts = (int(self.family), self.priority, self.table, str(self.src or ""))
        return Key("rule", (*parts, str(self.dst or ""), self.fwmark, self.fwmask, self.iif))


def default_metric(family: Family) -> int:
    """Return the metric that the kernel gives a route that names none (net/ipv6: IP6_RT_PRIO_USER).

    Desired routes must name it, since it is part of a route's identity.
    """
    return 1024 if family is Family.IPV6 else 0
