"""One object of each kind and variety: what it stands on, its value, another value for its key."""

from ipaddress import IPv4Address, ip_address, ip_interface, ip_network

from msgspec import Struct
from msgspec.structs import replace

from podway.model.addresses import Family
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    Ipip,
    KernelObject,
    Link,
    Neighbour,
    NextHop,
    NftTable,
    Offload,
    Route,
    Rule,
    Sysctl,
    Vxlan,
)

MAC = "02:00:00:00:00:01"
OTHER_MAC = "02:00:00:00:00:02"

VTEP = Link(
    name="podway.1",
    kind=Vxlan(vni=1, local=ip_address("192.0.2.1"), underlay="eth0", port=8472),
    mtu=1450,
    mac="02:00:00:00:01:01",
    alias="podway:vtep",
)
VTEP6 = Link(
    name="podway-v6.1",
    kind=Vxlan(vni=1, local=ip_address("2001:db8::1"), underlay="eth0", port=8472),
    mtu=1430,
    mac="02:00:00:00:06:01",
    alias="podway:vtep",
)
IPIP = Link(
    name="podway.ipip", kind=Ipip(local=IPv4Address("192.0.2.1")), mtu=1480, alias="podway:ipip"
)
BRIDGE = Link(name="cni0", kind=Bridge(), mtu=1450, mac="02:00:00:00:02:01", alias="podway:bridge")
TABLE_BODY = (
    "chain forward {\n\ttype filter hook forward priority filter; policy accept;\n"
    '\tip saddr 10.244.0.0/16 counter accept comment "one"\n}\n'
)


class Case(Struct, frozen=True, kw_only=True):
    """One object to try every verb on.

    Attributes:
        name: for the test's id.
        item: the object.
        other: another value for the same key; None where the key says everything.
        needs: what must be there before, in order.
        is_told: the kernel notifies when somebody else touches it.
        feature: what the kernel must have for it, see `kernel_features`; "" for nothing special.
    """

    name: str
    item: KernelObject
    other: KernelObject | None = None
    needs: tuple[KernelObject, ...] = ()
    is_told: bool = True
    feature: str = ""


def _route(dst: str, **fields: object) -> Route:
    metric = 1024 if ":" in dst else 0
    return Route(dst=ip_network(dst), **{"metric": metric, **fields})  # type: ignore[arg-type]


def _rule(**fields: object) -> Rule:
    return Rule(**{"family": Family.IPV4, "priority": 99, "table": 1000, **fields})  # type: ignore[arg-type]


_LINKS = (
    Case(
        name="bridge",
        item=BRIDGE,
        other=Link(name="cni0", kind=Bridge(), mtu=1400, mac=OTHER_MAC, alias="podway:other"),
    ),
    Case(
        name="vxlan",
        item=VTEP,
        other=Link(name="podway.1", kind=VTEP.kind, mtu=1400, mac=MAC, alias="podway:x", up=False),
    ),
    Case(
        name="vxlan over IPv6",
        item=VTEP6,
        other=Link(name="podway-v6.1", kind=VTEP6.kind, mtu=1400, mac=MAC, alias="podway:x"),
    ),
    Case(
        name="ipip",
        item=IPIP,
        other=replace(IPIP, mtu=1400, alias="podway:x", up=False),
        feature="ipip",
    ),
    Case(
        name="route into a tunnel without far end",
        item=_route("10.244.2.0/24", dev="podway.ipip", via=ip_address("192.0.2.2"), onlink=True),
        other=_route("10.244.2.0/24", dev="eth0", via=ip_address("192.0.2.3")),
        needs=(IPIP,),
        feature="ipip",
    ),
    Case(
        name="vxlan, learning, group policy, as a port",
        item=Link(
            name="podway.7",
            kind=Vxlan(
                vni=7,
                local=ip_address("192.0.2.1"),
                underlay="eth0",
                port=4789,
                gbp=True,
                learning=True,
            ),
            mac=MAC,
            mtu=1400,
            master="cni0",
            hairpin=True,
        ),
        other=Link(
            name="podway.7",
            kind=Vxlan(
                vni=7,
                local=ip_address("192.0.2.1"),
                underlay="eth0",
                port=4789,
                gbp=True,
                learning=True,
            ),
            mac=MAC,
            mtu=1400,
            hairpin=False,
        ),
        needs=(BRIDGE,),
    ),
)
_ADDRESSES = (
    Case(name="IPv4 address", item=Address("cni0", ip_interface("10.1.0.1/24")), needs=(BRIDGE,)),
    Case(name="IPv6 address", item=Address("cni0", ip_interface("fd01::1/64")), needs=(BRIDGE,)),
    Case(
        name="link-local address", item=Address("cni0", ip_interface("fe80::1/64")), needs=(BRIDGE,)
    ),
    Case(
        name="IPv4 of scope host",
        item=Address("cni0", ip_interface("169.254.1.1/32"), scope="host"),
        other=Address("cni0", ip_interface("169.254.1.1/32")),
        needs=(BRIDGE,),
    ),
    Case(name="IPv4 host", item=Address("podway.1", ip_interface("10.1.0.0/32")), needs=(VTEP,)),
)
_ROUTES = (
    Case(
        name="via uplink",
        item=_route("10.2.0.0/24", dev="eth0", via=ip_address("192.0.2.2")),
        other=_route("10.2.0.0/24", dev="eth0", via=ip_address("192.0.2.3"), mtu=1300),
    ),
    Case(
        name="IPv6 via uplink",
        item=_route("fd02::/64", dev="eth0", via=ip_address("2001:db8::2")),
        other=_route("fd02::/64", dev="eth0", via=ip_address("2001:db8::3"), mtu=1300),
    ),
    Case(
        name="IPv6 gateway to link",
        item=_route("fd02::/64", dev="eth0", via=ip_address("2001:db8::2")),
        other=_route("fd02::/64", dev="eth0"),
    ),
    Case(
        name="IPv6 link to gateway",
        item=_route("fd02::/64", dev="eth0"),
        other=_route("fd02::/64", dev="eth0", via=ip_address("2001:db8::2")),
    ),
    Case(
        name="onlink",
        item=_route("10.2.0.0/24", dev="podway.1", via=ip_address("10.2.0.0"), onlink=True),
        other=_route("10.2.0.0/24", dev="eth0", via=ip_address("192.0.2.2")),
        needs=(VTEP,),
    ),
    Case(
        name="IPv6 onlink",
        item=_route("fd02::/64", dev="podway-v6.1", via=ip_address("fd02::"), onlink=True),
        other=_route("fd02::/64", dev="eth0", via=ip_address("2001:db8::2")),
        needs=(VTEP6,),
    ),
    Case(
        name="link scope with source",
        item=_route("10.2.0.5/32", dev="eth0", scope="link", src=ip_address("192.0.2.1")),
        other=_route("10.2.0.5/32", dev="eth0", scope="link"),
    ),
    Case(
        name="IPv6 source",
        item=_route("fd02::5/128", dev="eth0", src=ip_address("2001:db8::1")),
        other=_route("fd02::5/128", dev="eth0"),
    ),
    Case(
        name="blackhole to unreachable",
        item=_route("10.2.0.0/16", kind="blackhole", metric=7),
        other=_route("10.2.0.0/16", kind="unreachable", metric=7),
    ),
    Case(
        name="IPv6 blackhole to unreachable",
        item=_route("fd02::/48", kind="blackhole", metric=7),
        other=_route("fd02::/48", kind="unreachable", metric=7),
    ),
    Case(
        name="multipath",
        item=_route(
            "10.2.0.0/24",
            nexthops=(
                NextHop("eth0", ip_address("192.0.2.2")),
                NextHop("eth0", ip_address("192.0.2.3"), weight=3),
            ),
        ),
        other=_route("10.2.0.0/24", dev="eth0", via=ip_address("192.0.2.2")),
    ),
    Case(
        name="IPv6 multipath",
        item=_route(
            "fd02::/64",
            nexthops=(
                NextHop("eth0", ip_address("2001:db8::2")),
                NextHop("eth0", ip_address("2001:db8::3"), weight=3),
            ),
        ),
        other=_route("fd02::/64", dev="eth0", via=ip_address("2001:db8::9")),
    ),
    Case(
        name="IPv6 single to multipath",
        item=_route("fd02::/64", dev="eth0", via=ip_address("2001:db8::9")),
        other=_route(
            "fd02::/64",
            nexthops=(
                NextHop("eth0", ip_address("2001:db8::2")),
                NextHop("eth0", ip_address("2001:db8::3")),
            ),
        ),
    ),
    Case(
        name="table and default",
        item=_route("0.0.0.0/0", dev="eth0", via=ip_address("192.0.2.2"), table=1000, metric=5),
        other=_route("0.0.0.0/0", dev="eth0", via=ip_address("192.0.2.4"), table=1000, metric=5),
    ),
    Case(
        name="IPv6 table and default",
        item=_route("::/0", dev="eth0", via=ip_address("2001:db8::2"), table=1000),
        other=_route("::/0", dev="eth0", via=ip_address("fe80::9"), table=1000),
    ),
)
_NEIGHBOURS = (
    Case(
        name="IPv4 neighbour",
        item=Neighbour("podway.1", ip_address("10.2.0.0"), MAC),
        other=Neighbour("podway.1", ip_address("10.2.0.0"), OTHER_MAC),
        needs=(VTEP,),
    ),
    Case(
        name="IPv6 neighbour",
        item=Neighbour("podway-v6.1", ip_address("fd02::"), MAC),
        other=Neighbour("podway-v6.1", ip_address("fd02::"), OTHER_MAC),
        needs=(VTEP6,),
    ),
    Case(
        name="IPv4 proxy",
        item=Neighbour("cni0", ip_address("10.9.0.1"), proxy=True),
        needs=(BRIDGE,),
        is_told=False,
    ),
    Case(
        name="IPv6 proxy",
        item=Neighbour("cni0", ip_address("fd09::1"), proxy=True),
        needs=(BRIDGE,),
        is_told=False,
    ),
    Case(
        name="FDB entry",
        item=FdbEntry("podway.1", MAC, ip_address("192.0.2.2")),
        other=FdbEntry("podway.1", MAC, ip_address("192.0.2.3")),
        needs=(VTEP,),
    ),
    Case(
        name="IPv6 FDB entry",
        item=FdbEntry("podway-v6.1", MAC, ip_address("2001:db8::2")),
        other=FdbEntry("podway-v6.1", MAC, ip_address("2001:db8::3")),
        needs=(VTEP6,),
    ),
)
_RULES = (
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
_OTHERS = (
    Case(
        name="global sysctl",
        item=Sysctl("ipv4/ip_forward", "1"),
        other=Sysctl("ipv4/ip_forward", "0"),
    ),
    Case(
        name="IPv6 sysctl of all",
        item=Sysctl("ipv6/conf/all/forwarding", "1"),
        other=Sysctl("ipv6/conf/all/forwarding", "0"),
    ),
    Case(
        name="sysctl of a device with a dot",
        item=Sysctl("ipv6/conf/podway.1/accept_ra", "0", "podway.1"),
        other=Sysctl("ipv6/conf/podway.1/accept_ra", "2", "podway.1"),
        needs=(VTEP,),
        is_told=False,
    ),
    Case(
        name="sysctl that is told",
        item=Sysctl("ipv4/conf/podway.1/rp_filter", "2", "podway.1"),
        other=Sysctl("ipv4/conf/podway.1/rp_filter", "1", "podway.1"),
        needs=(VTEP,),
    ),
    Case(
        name="proxy sysctl",
        item=Sysctl("ipv4/conf/podway.1/proxy_arp", "1", "podway.1"),
        other=Sysctl("ipv4/conf/podway.1/proxy_arp", "0", "podway.1"),
        needs=(VTEP,),
    ),
    Case(
        name="checksum offload",
        item=Offload("podway.1", False),  # noqa: FBT003
        other=Offload("podway.1", True),  # noqa: FBT003
        needs=(VTEP,),
        is_told=False,
    ),
    Case(
        name="table",
        item=NftTable("inet", "podway", TABLE_BODY),
        other=NftTable("inet", "podway", TABLE_BODY.replace("one", "two")),
    ),
    Case(
        name="ip table",
        item=NftTable("ip", "podway", "set s {\n\ttype ipv4_addr;\n\telements = { 10.0.0.1 }\n}"),
        other=NftTable("ip", "podway", "set s {\n\ttype ipv4_addr;\n}"),
    ),
)
CASES = (*_LINKS, *_ADDRESSES, *_ROUTES, *_NEIGHBOURS, *_RULES, *_OTHERS)
