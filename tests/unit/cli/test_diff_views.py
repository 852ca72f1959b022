"""What ``podway diff`` prints: every kind of object in the kernel's own words."""

from ipaddress import IPv4Address, ip_address, ip_interface, ip_network
from typing import Any, get_args

from msgspec import structs

from golden_files import Golden
from podway.agent.views import view_diff
from podway.cli.diff import render_diff
from podway.cli.kernel_objects import describe_object
from podway.diff.operations import Operation, Verb
from podway.model.addresses import Family
from podway.model.kernel import (
    Address,
    AllowedIp,
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
    Tun,
    UdpPeer,
    UdpRelay,
    Veth,
    Vxlan,
    Wireguard,
    WireguardDevice,
    WireguardPeer,
    link_key,
)
from podway.model.secret import Secret
from unit.cli.screens import PLAIN, lines

OBJECTS: list[KernelObject] = [
    Link(
        name="podway.1",
        kind=Vxlan(vni=1, local=ip_address("172.30.1.2"), underlay="eth0", port=8472),
        mtu=1450,
    ),
    Link(name="podway.ipip", kind=Ipip(local=IPv4Address("172.30.1.2")), mtu=1480),
    Link(name="podway-wg", kind=Wireguard(), mtu=1420),
    Link(name="podway0", kind=Tun(), mtu=1472),
    Link(name="pw0123", kind=Veth(), master="cni0", mtu=1450),
    Link(name="cni0", kind=Bridge(), up=False),
    Address("cni0", ip_interface("10.244.1.1/24")),
    Route(
        dst=ip_network("10.244.2.0/24"), dev="podway.1", via=ip_address("10.244.2.0"), onlink=True
    ),
    Route(dst=ip_network("10.244.9.0/24"), kind="blackhole", table=100, metric=5),
    Route(
        dst=ip_network("fd00::/64"),
        nexthops=(NextHop("a", ip_address("fe80::1")), NextHop("b", onlink=True)),
        src=ip_address("fd00::1"),
        metric=1024,
        mtu=1430,
    ),
    Neighbour("podway.1", ip_address("10.244.2.0"), "0a:58:0a:f4:02:00"),
    Neighbour("pw0123", ip_address("169.254.1.1"), proxy=True),
    FdbEntry("podway.1", "0a:58:0a:f4:02:00", ip_address("172.30.2.2")),
    WireguardDevice(dev="podway-wg", public_key="a" * 43 + "=", listen_port=51820),
    WireguardPeer(
        dev="podway-wg",
        public_key="b" * 43 + "=",
        endpoint=ip_address("2001:db8::2"),
        port=51820,
        psk=Secret("hidden"),
        keepalive_s=25,
    ),
    AllowedIp("podway-wg", ip_network("10.244.2.0/24"), "b" * 43 + "="),
    UdpRelay(
        dev="podway0",
        port=8285,
        addresses=(ip_address("172.30.1.2"), ip_address("2001:db8::1")),
        subnets=(ip_network("10.244.1.0/24"), ip_network("fd00:10:244:1::/64")),
    ),
    UdpPeer(
        dev="podway0",
        prefix=ip_network("10.244.2.0/24"),
        public_ip=ip_address("172.30.2.2"),
        port=8285,
        segments=True,
    ),
    UdpPeer(
        dev="podway0",
        prefix=ip_network("fd00:10:244:2::/64"),
        public_ip=ip_address("2001:db8::2"),
        port=8285,
        segments=False,
    ),
    Rule(family=Family.IPV4, priority=100, table=7, src=ip_network("10.244.0.0/16"), fwmark=16),
    Sysctl("ipv4/conf/pw0123/proxy_arp", "1", "pw0123"),
    Offload("podway.1", False),  # noqa: FBT003
    NftTable("inet", "podway", "chain x {}"),
]


def told(item: KernelObject) -> dict[str, Any]:
    """Return *item* as the agent's ``diff`` tells it."""
    return view_diff([Operation(Verb.CREATE, item.key, desired=item)])[0]


def test_diff(golden: Golden) -> None:
    route = Route(dst=ip_network("10.244.2.0/24"), dev="eth0", via=ip_address("172.30.2.2"))
    old = structs.replace(route, via=ip_address("172.30.3.2"), mtu=1400)
    operations = [
        *map(told, OBJECTS),
        *view_diff(
            [
                Operation(Verb.CHANGE, route.key, desired=route, observed=old),
                Operation(Verb.DELETE, route.key, observed=old),
                Operation(Verb.DELETE, link_key("gone")),
            ]
        ),
    ]
    golden("cli/diff.txt", lines([*render_diff(operations, PLAIN), *render_diff([], PLAIN)]))


def test_every_kind_of_object_has_words() -> None:
    for item in OBJECTS:
        shown = told(item)
        assert describe_object(shown["object"], shown["desired"]) != str(item.key)
    assert {type(item) for item in OBJECTS} == set(get_args(KernelObject))
