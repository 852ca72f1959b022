"""A small world of kernel objects in a few variants each, so that random choices often collide.

`WISHES` is what sources may want, `FINDINGS` what may be found in a kernel: the same, changed by
somebody, or somebody else's. Two devices hold things (``podway.1``, ``pw1``), ``cni0`` has a port,
and ``eth0`` is not ours and always there.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import strategies as st
from msgspec.structs import replace

from podway.diff.claims import Source
from podway.diff.order import device_of
from podway.model.addresses import Family
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    KernelObject,
    Key,
    Link,
    Neighbour,
    NftTable,
    PodSide,
    Route,
    Rule,
    Sysctl,
    Veth,
    Vxlan,
    by_key,
    link_key,
)

UPLINK = "eth0"
NETNS = "/run/netns/podway-test-no-such-file"
SOURCES: list[Source] = [("node",), ("peer", "a"), ("peer", "b"), ("pod", "x")]

TUNNEL = Vxlan(vni=1, local=ip_address("192.0.2.1"), underlay=UPLINK, port=8472)
VTEP = Link(name="podway.1", kind=TUNNEL, mtu=1450, mac="02:00:00:00:00:01", alias="podway:vtep")
BRIDGE = Link(name="cni0", kind=Bridge(), mtu=1450, mac="02:00:00:00:00:02", alias="podway:bridge")
POD = PodSide(netns=NETNS, ifname="eth0", mac="02:00:00:00:00:0a", mtu=1450, addresses=())
PORT = Link(name="pw1", kind=Veth(POD), mtu=1450, master="cni0", hairpin=True, alias="podway:pod x")
PLAIN = replace(PORT, master="", hairpin=None)
NEXT = ip_address("10.244.2.0")
ROUTE = Route(dst=ip_network("10.244.2.0/24"), dev="podway.1", via=NEXT, onlink=True)
DIRECT = Route(dst=ROUTE.dst, dev=UPLINK, via=ip_address("192.0.2.2"))
TO_POD = Route(dst=ip_network("10.244.1.5/32"), dev="pw1", scope="link")
TO_POD_IPV6 = Route(dst=ip_network("fd00:1::5/128"), dev="pw1", metric=1024)
NOWHERE = Route(dst=ip_network("10.244.1.0/24"), kind="unreachable", metric=1)
RULE = Rule(family=Family.IPV4, priority=100, table=7)

WISHES: list[KernelObject] = [
    VTEP,
    replace(VTEP, kind=replace(TUNNEL, vni=2)),
    replace(VTEP, kind=replace(TUNNEL, local=ip_address("192.0.2.9"))),
    replace(VTEP, mtu=1400, mac="02:00:00:00:00:09"),
    BRIDGE,
    replace(BRIDGE, mtu=1400),
    PORT,
    PLAIN,
    Address("podway.1", ip_interface("10.244.1.0/32")),
    Address("cni0", ip_interface("10.244.1.1/24")),
    Neighbour("podway.1", NEXT, "02:00:00:00:00:03"),
    Neighbour("podway.1", NEXT, "02:00:00:00:00:04"),
    FdbEntry("podway.1", "02:00:00:00:00:03", ip_address("192.0.2.2")),
    FdbEntry("podway.1", "02:00:00:00:00:03", ip_address("192.0.2.3")),
    ROUTE,
    replace(ROUTE, mtu=1400),
    DIRECT,
    TO_POD,
    TO_POD_IPV6,
    Address("pw1", ip_interface("fe80::1/64")),
    Address("pw1", ip_interface("169.254.1.1/32"), scope="host"),
    NOWHERE,
    RULE,
    Sysctl("ipv4/ip_forward", "1"),
    Sysctl("ipv6/conf/podway.1/accept_ra", "0", "podway.1"),
    Sysctl("ipv4/conf/pw1/proxy_arp", "1", "pw1"),
    NftTable("inet", "podway", "chain a {\n}\n"),
    NftTable("inet", "podway", "chain b {\n}\n"),
]
_FOREIGN: list[KernelObject] = [
    replace(BRIDGE, alias=""),
    replace(VTEP, alias="", kind=replace(TUNNEL, vni=9)),
    replace(DIRECT, protocol=4),
    replace(RULE, protocol=0),
]
_CHANGED: list[KernelObject] = [
    replace(VTEP, up=False),
    replace(BRIDGE, kind=Veth()),
    replace(PORT, hairpin=False),
    Route(dst=ip_network("10.244.9.0/24"), dev=UPLINK, via=ip_address("192.0.2.3")),
    Neighbour("podway.1", ip_address("10.244.9.0"), "02:00:00:00:00:05"),
    Sysctl("ipv4/ip_forward", "0"),
    NftTable("inet", "podway", "chain c {\n}\n"),
]


def seen(item: KernelObject) -> KernelObject:
    """Return *item* as it is read from a kernel: a pair's other end cannot be seen."""
    is_veth = isinstance(item, Link) and isinstance(item.kind, Veth)
    return replace(item, kind=Veth()) if is_veth else item


FINDINGS = [seen(item) for item in WISHES + _FOREIGN + _CHANGED]

KEYS = sorted({item.key for item in FINDINGS})
DEVICES = ["podway.1", "cni0", "pw1", UPLINK]

parts = st.lists(st.sampled_from(WISHES), max_size=12, unique_by=lambda item: item.key)
wishes = st.dictionaries(st.sampled_from(SOURCES), parts)


def possible(objects: Iterable[KernelObject]) -> dict[Key, KernelObject]:
    """Return of *objects* what one kernel can hold: nothing without its device or its bridge."""
    state = by_key(*objects)
    for key, item in list(state.items()):
        if isinstance(item, Link) and item.master:
            master = state.get(link_key(item.master))
            if not (isinstance(master, Link) and isinstance(master.kind, Bridge)):
                state[key] = replace(item, master="", hairpin=None)
    devices = {"", UPLINK, *(item.name for item in state.values() if isinstance(item, Link))}
    return {key: item for key, item in state.items() if device_of(item) in devices}


states = st.lists(st.sampled_from(FINDINGS), max_size=20).map(possible)


def on_device(state: Mapping[Key, KernelObject], dev: str) -> dict[Key, KernelObject]:
    """Return what stands on *dev*."""
    return {key: item for key, item in state.items() if device_of(item) == dev}
