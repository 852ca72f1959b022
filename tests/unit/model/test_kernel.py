"""Keys are what the kernel takes for identity: what they hold, and what they leave out."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest

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
    Route,
    Rule,
    Sysctl,
    Veth,
    by_key,
    default_metric,
    link_key,
)

PREFIX = ip_network("10.244.2.0/24")
SOURCE = ip_network("10.244.1.0/24")
PEER = ip_address("10.244.2.0")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            Link(name="a", kind=Bridge(), mtu=1500),
            Link(name="a", kind=Veth(), up=False),
            id="link: the name",
        ),
        pytest.param(
            Route(dst=PREFIX, dev="a", via=PEER, onlink=True),
            Route(dst=PREFIX, dev="b", kind="unreachable", protocol=4, mtu=1400),
            id="route: table, prefix, metric",
        ),
        pytest.param(
            Neighbour("a", PEER, "02:00:00:00:00:01"),
            Neighbour("a", PEER, "02:00:00:00:00:02"),
            id="neighbour: device and address",
        ),
        pytest.param(
            FdbEntry("a", "02:00:00:00:00:01", ip_address("192.0.2.1")),
            FdbEntry("a", "02:00:00:00:00:01", ip_address("192.0.2.2")),
            id="FDB: device and MAC",
        ),
        pytest.param(Sysctl("ipv4/x", "0"), Sysctl("ipv4/x", "1", "dev"), id="sysctl: the path"),
        pytest.param(
            NftTable("inet", "podway", "a"), NftTable("inet", "podway", "b"), id="nft: the table"
        ),
        pytest.param(
            Rule(family=Family.IPV4, priority=1, table=2, protocol=3),
            Rule(family=Family.IPV4, priority=1, table=2, protocol=4),
            id="rule: all but the protocol",
        ),
    ],
)
def test_the_same_thing_for_the_kernel(one: KernelObject, other: KernelObject) -> None:
    assert one != other
    assert one.key == other.key
    assert by_key(one, other) == {one.key: other}


DISTINCT: list[KernelObject] = [
    Link(name="a", kind=Bridge()),
    Link(name="b", kind=Bridge()),
    Address("a", ip_interface("10.244.1.1/24")),
    Address("a", ip_interface("10.244.1.1/32")),
    Address("b", ip_interface("10.244.1.1/24")),
    Address("a", ip_interface("fd00::1/64")),
    Route(dst=PREFIX, dev="a"),
    Route(dst=SOURCE, dev="a"),
    Route(dst=PREFIX, dev="a", metric=1),
    Route(dst=PREFIX, dev="a", table=100),
    Route(dst=ip_network("::/0"), dev="a"),
    Route(dst=ip_network("0.0.0.0/0"), dev="a"),
    Neighbour("a", PEER),
    Neighbour("b", PEER),
    Neighbour("a", PEER, proxy=True),
    Neighbour("a", ip_address("10.244.3.0")),
    FdbEntry("a", "02:00:00:00:00:01", PEER),
    FdbEntry("a", "02:00:00:00:00:02", PEER),
    FdbEntry("b", "02:00:00:00:00:01", PEER),
    Rule(family=Family.IPV4, priority=1, table=2),
    Rule(family=Family.IPV6, priority=1, table=2),
    Rule(family=Family.IPV4, priority=2, table=2),
    Rule(family=Family.IPV4, priority=1, table=3),
    Rule(family=Family.IPV4, priority=1, table=2, src=SOURCE),
    Rule(family=Family.IPV4, priority=1, table=2, dst=SOURCE),
    Rule(family=Family.IPV4, priority=1, table=2, fwmark=1),
    Rule(family=Family.IPV4, priority=1, table=2, fwmask=1),
    Rule(family=Family.IPV4, priority=1, table=2, iif="a"),
    Sysctl("ipv4/ip_forward", "1"),
    Sysctl("ipv4/conf/a/proxy_arp", "1", "a"),
    NftTable("inet", "podway", ""),
    NftTable("ip", "podway", ""),
    NftTable("inet", "other", ""),
]


def test_different_things_have_different_keys() -> None:
    assert len(by_key(*DISTINCT)) == len(DISTINCT)


def test_keys_of_all_kinds_can_be_sorted_and_read() -> None:
    keys = sorted(item.key for item in DISTINCT)
    assert [key.kind for key in keys] == sorted(item.key.kind for item in DISTINCT)
    assert str(Key("route", (2, 254, "10.244.2.0/24", 0))) == "route 2 254 10.244.2.0/24 0"


def test_every_object_can_be_hashed() -> None:
    assert len(set(DISTINCT)) == len(DISTINCT)


def test_link_key_is_the_key_of_the_link() -> None:
    link = Link(name="cni0", kind=Bridge())
    assert link_key("cni0") == link.key
    assert link.dev == "cni0"


def test_default_metric_is_the_kernels() -> None:
    assert default_metric(Family.IPV4) == 0
    assert default_metric(Family.IPV6) == 1024
