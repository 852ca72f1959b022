"""Alike, changeable in place, or only anew: one row per field of every kind of object."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from msgspec.structs import replace

from podway.diff.compare import Difference, compare
from podway.model.addresses import Family
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    NftTable,
    PodSide,
    Route,
    Rule,
    Sysctl,
    Veth,
    Vxlan,
)

NONE, CHANGE, REMAKE = Difference.NONE, Difference.CHANGE, Difference.REMAKE

TUNNEL = Vxlan(vni=1, local=ip_address("192.0.2.1"), underlay="eth0", port=8472)
VTEP = Link(name="podway.1", kind=TUNNEL, mtu=1450, mac="02:00:00:00:00:01")
PORT = Link(name="pw1", kind=Veth(), mtu=1450, master="cni0", hairpin=True, mac="0a:00:00:00:00:01")
POD = PodSide(netns="/run/netns/a", ifname="eth0", mac="0a:00:00:00:00:02", mtu=1450, addresses=())


def row(name: str, desired: Link, observed: Link, difference: Difference) -> object:
    return pytest.param(desired, observed, difference, id=name)


@pytest.mark.parametrize(
    ("desired", "observed", "difference"),
    [
        row("alike", VTEP, VTEP, NONE),
        row("mtu", VTEP, replace(VTEP, mtu=1400), CHANGE),
        row("mtu not asked for", replace(VTEP, mtu=None), VTEP, NONE),
        row("mac", VTEP, replace(VTEP, mac="02:00:00:00:00:02"), CHANGE),
        row("mac not asked for", replace(VTEP, mac=None), VTEP, NONE),
        row("down", VTEP, replace(VTEP, up=False), CHANGE),
        row("up", replace(VTEP, up=False), VTEP, CHANGE),
        row("alias", VTEP, replace(VTEP, alias=""), CHANGE),
        row("master lost", PORT, replace(PORT, master=""), CHANGE),
        row("master gained", VTEP, replace(VTEP, master="cni0"), CHANGE),
        row("another master", PORT, replace(PORT, master="br0"), CHANGE),
        row("hairpin", PORT, replace(PORT, hairpin=False), CHANGE),
        row("hairpin unknown", PORT, replace(PORT, hairpin=None), CHANGE),
        row("hairpin not asked for", replace(PORT, hairpin=None), PORT, NONE),
        row("vni", VTEP, replace(VTEP, kind=replace(TUNNEL, vni=2)), REMAKE),
        row(
            "local",
            VTEP,
            replace(VTEP, kind=replace(TUNNEL, local=ip_address("192.0.2.2"))),
            REMAKE,
        ),
        row("underlay", VTEP, replace(VTEP, kind=replace(TUNNEL, underlay="eth1")), REMAKE),
        row("port", VTEP, replace(VTEP, kind=replace(TUNNEL, port=4789)), REMAKE),
        row("gbp", VTEP, replace(VTEP, kind=replace(TUNNEL, gbp=True)), REMAKE),
        row("learning", VTEP, replace(VTEP, kind=replace(TUNNEL, learning=True)), REMAKE),
        row("vxlan for bridge", replace(VTEP, kind=Bridge()), VTEP, REMAKE),
        row("bridge for vxlan", VTEP, replace(VTEP, kind=Bridge()), REMAKE),
        row("bridge for veth", PORT, replace(PORT, kind=Bridge()), REMAKE),
        row("kind and more", VTEP, replace(VTEP, kind=Bridge(), mtu=9), REMAKE),
        row("the far end is not compared", replace(PORT, kind=Veth(POD)), PORT, NONE),
        row(
            "the far end is not compared, but the rest is",
            replace(PORT, kind=Veth(POD)),
            replace(PORT, mtu=9),
            CHANGE,
        ),
    ],
)
def test_links(desired: Link, observed: Link, difference: Difference) -> None:
    assert compare(desired, observed) is difference


def test_every_field_of_a_link_has_a_row() -> None:
    """A new field has to be put into `compare`, or left out of it with a reason."""
    assert set(Link.__struct_fields__) == {
        *("name", "kind", "mtu", "mac", "master", "alias", "up", "hairpin")
    }
    assert set(Vxlan.__struct_fields__) == {
        *("vni", "local", "underlay", "port", "gbp", "learning")
    }


ROUTE = Route(dst=ip_network("10.244.2.0/24"), dev="eth0", via=ip_address("192.0.2.2"))


@pytest.mark.parametrize(
    ("desired", "observed"),
    [
        pytest.param(ROUTE, replace(ROUTE, dev="podway.1"), id="route dev"),
        pytest.param(ROUTE, replace(ROUTE, via=ip_address("192.0.2.3")), id="route via"),
        pytest.param(ROUTE, replace(ROUTE, via=None), id="route without via"),
        pytest.param(ROUTE, replace(ROUTE, onlink=True), id="route onlink"),
        pytest.param(ROUTE, replace(ROUTE, scope="link"), id="route scope"),
        pytest.param(ROUTE, replace(ROUTE, kind="blackhole"), id="route kind"),
        pytest.param(ROUTE, replace(ROUTE, src=ip_address("192.0.2.1")), id="route src"),
        pytest.param(ROUTE, replace(ROUTE, mtu=1400), id="route mtu"),
        pytest.param(ROUTE, replace(ROUTE, protocol=4), id="route of somebody else"),
        pytest.param(
            Neighbour("podway.1", ip_address("10.244.2.0"), "02:00:00:00:00:01"),
            Neighbour("podway.1", ip_address("10.244.2.0"), "02:00:00:00:00:02"),
            id="neighbour mac",
        ),
        pytest.param(
            FdbEntry("podway.1", "02:00:00:00:00:01", ip_address("192.0.2.2")),
            FdbEntry("podway.1", "02:00:00:00:00:01", ip_address("192.0.2.3")),
            id="FDB dst",
        ),
        pytest.param(
            Sysctl("ipv4/ip_forward", "1"), Sysctl("ipv4/ip_forward", "0"), id="sysctl value"
        ),
        pytest.param(
            NftTable("inet", "podway", "chain a {\n}\n"),
            NftTable("inet", "podway", "chain b {\n}\n"),
            id="nft body",
        ),
        pytest.param(
            Rule(family=Family.IPV4, priority=1, table=2),
            Rule(family=Family.IPV4, priority=1, table=2, protocol=3),
            id="rule of somebody else",
        ),
    ],
)
def test_everything_else_can_be_changed_in_place(
    desired: KernelObject, observed: KernelObject
) -> None:
    assert desired.key == observed.key
    assert compare(desired, desired) is NONE
    assert compare(desired, observed) is CHANGE
    assert compare(observed, desired) is CHANGE


def test_an_address_has_nothing_beside_its_key() -> None:
    address = Address("cni0", ip_interface("10.244.1.1/24"))
    assert compare(address, Address("cni0", ip_interface("10.244.1.1/24"))) is NONE
