"""What the kernel refuses: with which number, in which words, and that nothing is left of it."""

import errno
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from msgspec.structs import replace

from netns.kernel.stock import BRIDGE, MAC, VTEP, VTEP6
from netns.kernel.worlds import (
    UPLINK,
    RealWorld,
    World,
    build,
    change,
    create,
    creations,
    delete,
    read_one,
    refusal,
)
from podway.kernel.protocol import KernelError
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    NextHop,
    NftTable,
    Route,
    Sysctl,
    Veth,
    Vxlan,
    link_key,
)

DOWN = replace(BRIDGE, up=False)


def vxlan(name: str = "podway.9", **fields: Any) -> Link:
    kind = {"vni": 9, "local": ip_address("192.0.2.1"), "underlay": UPLINK, "port": 8472}
    return Link(name=name, kind=Vxlan(**{**kind, **fields}), mac=MAC)


def route(dst: str = "10.2.0.0/24", **fields: Any) -> Route:
    metric = 1024 if ":" in dst else 0
    return Route(dst=ip_network(dst), **{"metric": metric, **fields})


REFUSALS: list[tuple[str, tuple[KernelObject, ...], KernelObject, int]] = [
    ("vxlan on nothing", (), vxlan(underlay="nothing"), errno.ENODEV),
    ("vxlan with the VNI of another", (VTEP,), vxlan(vni=1), errno.EEXIST),
    ("vxlan made of a bridge", (BRIDGE,), replace(VTEP, name="cni0"), errno.EEXIST),
    ("vxlan with another port", (VTEP,), vxlan("podway.1", vni=1, port=1), errno.EEXIST),
    ("port of nothing", (), replace(VTEP, master="nothing"), errno.ENODEV),
    ("port of no bridge", (), replace(VTEP, master=UPLINK), errno.EOPNOTSUPP),
    ("hairpin without a bridge", (), replace(VTEP, hairpin=True), errno.EOPNOTSUPP),
    ("name of 16 bytes", (), Link(name="x" * 16, kind=Bridge()), errno.ERANGE),
    ("name with a slash", (), Link(name="x/y", kind=Bridge()), errno.EINVAL),
    ("name with a space", (), Link(name="x y", kind=Bridge()), errno.EINVAL),
    ("mtu too small", (), replace(BRIDGE, mtu=60), errno.EINVAL),
    ("mtu too large", (), replace(BRIDGE, mtu=70000), errno.EINVAL),
    ("multicast MAC", (), replace(BRIDGE, mac="01:00:5e:00:00:01"), errno.EADDRNOTAVAIL),
    ("zero MAC", (), replace(BRIDGE, mac="00:00:00:00:00:00"), errno.EADDRNOTAVAIL),
    ("veth without an end", (), Link(name="pw1", kind=Veth()), errno.EINVAL),
    ("address on nothing", (), Address("nothing", ip_interface("10.1.0.1/24")), errno.ENODEV),
    (
        "IPv6 address where IPv6 is off",
        (BRIDGE, Sysctl("ipv6/conf/cni0/disable_ipv6", "1", "cni0")),
        Address("cni0", ip_interface("fd01::1/64")),
        errno.EACCES,
    ),
    ("route over nothing", (), route(dev="nothing"), errno.ENODEV),
    (
        "via out of reach",
        (),
        route(dev=UPLINK, via=ip_address("10.99.0.1")),
        errno.ENETUNREACH,
    ),
    (
        "IPv6 via out of reach",
        (),
        route("fd02::/64", dev=UPLINK, via=ip_address("fd99::1")),
        errno.EHOSTUNREACH,
    ),
    (
        "one way of two out of reach",
        (),
        route(nexthops=(NextHop(UPLINK, ip_address("192.0.2.2")),
                        NextHop(UPLINK, ip_address("10.99.0.1")))),
        errno.ENETUNREACH,
    ),
    ("route over a device that is down", (DOWN,), route(dev="cni0"), errno.ENETDOWN),
    ("IPv6 route over a device that is down", (DOWN,), route("fd02::/64", dev="cni0"),
     errno.ENETDOWN),
    (
        "onlink over a device that is down",
        (DOWN,),
        route(dev="cni0", via=ip_address("10.2.0.1"), onlink=True),
        errno.ENETDOWN,
    ),
    ("foreign source", (), route(dev=UPLINK, src=ip_address("10.99.0.1")), errno.EINVAL),
    ("IPv6 foreign source", (), route("fd02::/64", dev=UPLINK, src=ip_address("fd99::1")),
     errno.EINVAL),
    ("IPv6 via itself", (), route("fd02::/64", dev=UPLINK, via=ip_address("2001:db8::1")),
     errno.EINVAL),
    ("IPv6 without metric", (), route("fd02::/64", dev=UPLINK, metric=0), errno.EINVAL),
    ("neighbour on nothing", (), Neighbour("nothing", ip_address("10.1.0.1"), MAC), errno.ENODEV),
    ("neighbour without MAC", (BRIDGE,), Neighbour("cni0", ip_address("10.1.0.1")), errno.EINVAL),
    ("proxy on nothing", (), Neighbour("nothing", ip_address("10.1.0.1"), proxy=True),
     errno.ENODEV),
    ("FDB entry on nothing", (), FdbEntry("nothing", MAC, ip_address("192.0.2.2")), errno.ENODEV),
    ("FDB entry of no tunnel", (BRIDGE,), FdbEntry("cni0", MAC, ip_address("192.0.2.2")),
     errno.EOPNOTSUPP),
    ("FDB entry of the other family", (VTEP6,), FdbEntry("podway-v6.1", MAC,
     ip_address("192.0.2.2")), errno.EAFNOSUPPORT),
    ("sysctl that is not there", (), Sysctl("ipv4/conf/nothing/forwarding", "1", "nothing"),
     errno.ENOENT),
    ("sysctl with nonsense", (), Sysctl("ipv4/ip_forward", "maybe"), errno.EINVAL),
    ("sysctl outside", (), Sysctl("ipv4/../../kernel/hostname", "x"), errno.EINVAL),
    ("table with nonsense", (), NftTable("inet", "podway", "chain c {"), errno.EINVAL),
]  # fmt: skip


@pytest.mark.parametrize(
    ("needs", "item", "number"),
    [pytest.param(needs, item, number, id=name) for name, needs, item, number in REFUSALS],
)
def test_refused(
    world: World, needs: tuple[KernelObject, ...], item: KernelObject, number: int
) -> None:
    build(world, *needs)
    before = world.kernel.read([item.key]) if "/../" not in str(item.key) else {}
    error = refusal(world, create(item))
    assert error.errno == number, str(error)
    assert error.operation
    assert str(error).startswith(f"{error.operation}: ")
    if "/../" not in str(item.key):
        assert world.kernel.read([item.key]) == before


def test_a_failure_stops_nothing(world: World) -> None:
    """Of one batch, some fail; the others do not depend on how many or where."""
    good = [route(f"10.{n}.0.0/24", dev=UPLINK, via=ip_address("192.0.2.2")) for n in range(9)]
    bad = [route(f"10.{n}.1.0/24", dev=UPLINK, via=ip_address("10.99.0.1")) for n in range(9)]
    lost = [route(f"10.{n}.2.0/24", dev="nothing") for n in range(9)]
    mixed = [item for trio in zip(good, bad, lost, strict=True) for item in trio]
    results = world.kernel.apply(creations(*mixed))
    numbers = [None if error is None else error.errno for error in results]
    assert numbers == [None, errno.ENETUNREACH, errno.ENODEV] * 9
    assert set(world.kernel.read([])) == {item.key for item in good}


def test_a_message_that_cannot_be_written_fails_alone(real: RealWorld) -> None:
    good = Neighbour("cni0", ip_address("10.1.0.1"), MAC)
    bad = Neighbour("cni0", ip_address("10.1.0.2"), "no MAC")
    build(real, BRIDGE)
    first, second, third = real.kernel.apply(creations(good, bad, good))
    assert (first, third) == (None, None)
    assert second is not None
    assert second.errno == errno.EINVAL
    assert "no MAC" in str(second)
    assert read_one(real, good.key) == good


def test_change_of_a_device_that_is_gone(world: World) -> None:
    error = refusal(world, change(replace(BRIDGE, mtu=1400), BRIDGE))
    assert error.errno == errno.ENODEV


def test_a_failed_table_leaves_the_old_one(world: World) -> None:
    table = NftTable("inet", "podway", "chain c {\n}")
    build(world, table)
    error = refusal(world, change(replace(table, body="chain c {\n\tnonsense\n"), table))
    assert error.errno == errno.EINVAL
    assert read_one(world, table.key) == table


def test_the_words_name_operation_reason_and_remedy(real: RealWorld) -> None:
    text = str(refusal(real, create(route(dev=UPLINK, via=ip_address("10.99.0.1")))))
    assert text == (
        "replace route 10.2.0.0/24 via 10.99.0.1 dev eth0: "
        "Network is unreachable: Nexthop has invalid gateway"
    )
    real.netns.ip("link", "add", "cni0", "type", "veth", "peer", "name", "other")
    text = str(refusal(real, create(BRIDGE)))
    assert text == ("create link cni0: a veth device of that name is there; remove or rename it")
    build(real, VTEP)
    text = str(refusal(real, create(vxlan("podway.1", vni=1, port=1))))
    assert text == (
        "create link podway.1: a vxlan device of that name is there with port 8472, not 1; "
        "remove or rename it"
    )
    text = str(refusal(real, create(NftTable("inet", "podway", "chain c {\n\tnonsense\n}"))))
    assert "syntax error" in text
    text = str(refusal(real, create(Address("nothing", ip_interface("10.1.0.1/24")))))
    assert text == "create address nothing 10.1.0.1/24: there is no device nothing"


def test_somebody_elses_device_stays_as_it_is(real: RealWorld) -> None:
    real.netns.ip("link", "add", "cni0", "type", "veth", "peer", "name", "other")
    before = real.netns.ip("link", "show", "cni0")
    assert refusal(real, create(BRIDGE)).errno == errno.EEXIST
    assert real.netns.ip("link", "show", "cni0") == before
    assert read_one(real, link_key("cni0")) is not None  # wanted, and there, but no bridge


def test_reading_errors_are_kernel_errors(world: World) -> None:
    with pytest.raises(KernelError) as caught:
        world.kernel.read([Sysctl("../kernel/hostname", "").key])
    assert caught.value.errno == errno.EINVAL


def test_delete_of_what_changed_hands_leaves_it(real: RealWorld) -> None:
    """What another program put in our route's place meanwhile is not ours to delete."""
    ours = route(dev=UPLINK, via=ip_address("192.0.2.2"))
    theirs = replace(ours, protocol=4)
    build(real, ours)
    real.tamper_set(theirs)
    assert real.kernel.apply([delete(ours)]) == [None]
    real.assert_there(theirs)
