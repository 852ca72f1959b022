"""One object of each kind and variety: what it stands on, its value, another value for its key."""

from ipaddress import ip_address, ip_interface

from msgspec.structs import replace

from netns.kernel.route_cases import ROUTES, RULES
from netns.kernel.stock import BRIDGE, IPIP, MAC, OTHER_MAC, TABLE_BODY, VTEP, VTEP6, Case
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    Link,
    Neighbour,
    NftTable,
    Offload,
    Sysctl,
    Vxlan,
)

_LEARNER = Link(
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
)
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
        name="vxlan, learning, group policy, as a port",
        item=replace(_LEARNER, master="cni0", hairpin=True),
        other=replace(_LEARNER, hairpin=False),
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
CASES = (*_LINKS, *_ADDRESSES, *ROUTES, *_NEIGHBOURS, *RULES, *_OTHERS)
