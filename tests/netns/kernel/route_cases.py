"""Routes of each variety, and the rules that lead to their tables."""

from ipaddress import ip_address, ip_network

from netns.kernel.stock import IPIP, VTEP, VTEP6, Case
from podway.model.addresses import Family
from podway.model.kernel import NextHop, Route, Rule


def route(dst: str, **fields: object) -> Route:
    metric = 1024 if ":" in dst else 0
    return Route(dst=ip_network(dst), **{"metric": metric, **fields})  # type: ignore[arg-type]


def _rule(**fields: object) -> Rule:
    return Rule(**{"family": Family.IPV4, "priority": 99, "table": 1000, **fields})  # type: ignore[arg-type]


ROUTES = (
    Case(
        name="via uplink",
        item=route("10.2.0.0/24", dev="eth0", via=ip_address("192.0.2.2")),
        other=route("10.2.0.0/24", dev="eth0", via=ip_address("192.0.2.3"), mtu=1300),
    ),
    Case(
        name="IPv6 via uplink",
        item=route("fd02::/64", dev="eth0", via=ip_address("2001:db8::2")),
        other=route("fd02::/64", dev="eth0", via=ip_address("2001:db8::3"), mtu=1300),
    ),
    Case(
        name="IPv6 gateway to link",
        item=route("fd02::/64", dev="eth0", via=ip_address("2001:db8::2")),
        other=route("fd02::/64", dev="eth0"),
    ),
    Case(
        name="IPv6 link to gateway",
        item=route("fd02::/64", dev="eth0"),
        other=route("fd02::/64", dev="eth0", via=ip_address("2001:db8::2")),
    ),
    Case(
        name="onlink",
        item=route("10.2.0.0/24", dev="podway.1", via=ip_address("10.2.0.0"), onlink=True),
        other=route("10.2.0.0/24", dev="eth0", via=ip_address("192.0.2.2")),
        needs=(VTEP,),
    ),
    Case(
        name="IPv6 onlink",
        item=route("fd02::/64", dev="podway-v6.1", via=ip_address("fd02::"), onlink=True),
        other=route("fd02::/64", dev="eth0", via=ip_address("2001:db8::2")),
        needs=(VTEP6,),
    ),
    Case(
        name="link scope with source",
        item=route("10.2.0.5/32", dev="eth0", scope="link", src=ip_address("192.0.2.1")),
        other=route("10.2.0.5/32", dev="eth0", scope="link"),
    ),
    Case(
        name="IPv6 source",
        item=route("fd02::5/128", dev="eth0", src=ip_address("2001:db8::1")),
        other=route("fd02::5/128", dev="eth0"),
    ),
    Case(
        name="blackhole to unreachable",
        item=route("10.2.0.0/16", kind="blackhole", metric=7),
        other=route("10.2.0.0/16", kind="unreachable", metric=7),
    ),
    Case(
        name="IPv6 blackhole to unreachable",
        item=route("fd02::/48", kind="blackhole", metric=7),
        other=route("fd02::/48", kind="unreachable", metric=7),
    ),
    Case(
        name="multipath",
        item=route(
            "10.2.0.0/24",
            nexthops=(
                NextHop("eth0", ip_address("192.0.2.2")),
                NextHop("eth0", ip_address("192.0.2.3"), weight=3),
            ),
        ),
        other=route("10.2.0.0/24", dev="eth0", via=ip_address("192.0.2.2")),
    ),
    Case(
        name="IPv6 multipath",
        item=route(
            "fd02::/64",
            nexthops=(
                NextHop("eth0", ip_address("2001:db8::2")),
                NextHop("eth0", ip_address("2001:db8::3"), weight=3),
            ),
        ),
        other=route("fd02::/64", dev="eth0", via=ip_address("2001:db8::9")),
    ),
    Case(
        name="IPv6 single to multipath",
        item=route("fd02::/64", dev="eth0", via=ip_address("2001:db8::9")),
        other=route(
            "fd02::/64",
            nexthops=(
                NextHop("eth0", ip_address("2001:db8::2")),
                NextHop("eth0", ip_address("2001:db8::3")),
            ),
        ),
    ),
    Case(
        name="table and default",
        item=route("0.0.0.0/0", dev="eth0", via=ip_address("192.0.2.2"), table=1000, metric=5),
        other=route("0.0.0.0/0", dev="eth0", via=ip_address("192.0.2.4"), table=1000, metric=5),
    ),
    Case(
        name="IPv6 table and default",
        item=route("::/0", dev="eth0", via=ip_address("2001:db8::2"), table=1000),
        other=route("::/0", dev="eth0", via=ip_address("fe80::9"), table=1000),
    ),
    Case(
        name="route into a tunnel without far end",
        item=route("10.244.2.0/24", dev="podway.ipip", via=ip_address("192.0.2.2"), onlink=True),
        other=route("10.244.2.0/24", dev="eth0", via=ip_address("192.0.2.3")),
        needs=(IPIP,),
        feature="ipip",
    ),
)
RULES = (
    Case(name="rule by source", item=_rule(src=ip_network("10.1.0.0/16"))),
    Case(
        name="rule by everything",
        item=_rule(
            src=ip_network("10.1.0.0/16"),
            dst=ip_network("10.3.0.7/32"),
            fwmark=0x10,
            fwmask=0xF0,
            iif="eth0",
            table=254,
        ),
    ),
    Case(
        name="IPv6 rule",
        item=_rule(family=Family.IPV6, dst=ip_network("fd01::/48"), fwmark=0, fwmask=0x1),
    ),
    Case(name="rule for all", item=_rule(table=3000000000)),
)
