"""What the kernel does besides: what goes with a device, and of which it sends no word."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from msgspec.structs import replace

from netns.kernel.stock import BRIDGE, MAC, VTEP, VTEP6
from netns.kernel.worlds import (
    UPLINK,
    RealWorld,
    World,
    apply,
    build,
    change,
    creations,
    delete,
    forget,
    read_one,
    wait_for,
)
from podway.kernel.protocol import DeviceChanged, Seen, UplinkChanged
from podway.model.kernel import (
    Address,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    NextHop,
    Route,
    Sysctl,
    link_key,
)

ADDRESS = Address("podway.1", ip_interface("10.1.0.0/32"))
ADDRESS6 = Address("podway.1", ip_interface("fd01::/128"))
NEIGHBOUR = Neighbour("podway.1", ip_address("10.2.0.0"), MAC)
PROXY = Neighbour("podway.1", ip_address("10.9.0.9"), proxy=True)
FDB = FdbEntry("podway.1", MAC, ip_address("192.0.2.2"))
ROUTE = Route(
    dst=ip_network("10.2.0.0/24"), dev="podway.1", via=ip_address("10.2.0.0"), onlink=True
)
ROUTE6 = Route(dst=ip_network("fd02::/64"), dev="podway.1", metric=1024)
SYSCTL = Sysctl("ipv6/conf/podway.1/accept_ra", "0", "podway.1")
STANDING: tuple[KernelObject, ...] = (
    ADDRESS, ADDRESS6, SYSCTL, PROXY, NEIGHBOUR, FDB, ROUTE, ROUTE6,
)  # fmt: skip
KEYS = [item.key for item in (VTEP, *STANDING)]


def test_a_device_that_goes_down_takes_much_along(world: World) -> None:
    build(world, VTEP, *STANDING)
    forget(world)
    world.tamper_up("podway.1", up=False)
    down = Seen(VTEP.key, replace(VTEP, up=False, hairpin=False))
    told = wait_for(
        world,
        down,
        DeviceChanged("podway.1"),
        Seen(ADDRESS6.key, None),
        Seen(NEIGHBOUR.key, None),
        Seen(ROUTE6.key, None),
    )
    # The kernel says nothing of these, which is what DeviceChanged is for.
    silent = {ROUTE.key, PROXY.key}
    assert not silent & {event.key for event in told if isinstance(event, Seen)}
    state = world.kernel.read_dev("podway.1", KEYS)
    assert set(state) == {VTEP.key, ADDRESS.key, FDB.key, SYSCTL.key}


def test_a_device_that_comes_up_again_is_told(world: World) -> None:
    build(world, VTEP, ROUTE)
    world.tamper_up("podway.1", up=False)
    wait_for(world, DeviceChanged("podway.1"))
    world.tamper_up("podway.1", up=True)
    wait_for(world, DeviceChanged("podway.1"))
    build(world, ROUTE)
    world.assert_there(ROUTE)


def test_down_and_up_at_once_is_told_although_the_device_is_as_before(world: World) -> None:
    build(world, VTEP, ROUTE)
    forget(world)
    world.tamper_up("podway.1", up=False)
    world.tamper_up("podway.1", up=True)
    wait_for(world, DeviceChanged("podway.1"))
    assert ROUTE.key not in world.kernel.read_dev("podway.1", KEYS)


def test_an_uplink_that_goes_down_takes_our_routes_along(world: World) -> None:
    direct = Route(dst=ip_network("10.3.0.0/24"), dev=UPLINK, via=ip_address("192.0.2.3"))
    direct6 = Route(
        dst=ip_network("fd03::/64"), dev=UPLINK, via=ip_address("2001:db8::3"), metric=1024
    )
    build(world, direct, direct6)
    forget(world)
    world.tamper_up(UPLINK, up=False)
    wait_for(world, DeviceChanged(UPLINK), UplinkChanged(UPLINK), Seen(direct6.key, None))
    assert world.kernel.read_dev(UPLINK, [direct.key, direct6.key]) == {}


def test_one_way_of_two_that_goes_down_leaves_the_route(world: World) -> None:
    far = Address("cni0", ip_interface("10.5.0.1/24"))
    ways = (NextHop(UPLINK, ip_address("192.0.2.3")), NextHop("cni0", ip_address("10.5.0.2")))
    route = Route(dst=ip_network("10.3.0.0/24"), nexthops=ways)
    build(world, BRIDGE, far, route)
    world.tamper_up("cni0", up=False)
    assert route.key in world.kernel.read([])
    world.tamper_up(UPLINK, up=False)
    assert route.key not in world.kernel.read([])


@pytest.mark.parametrize("dev", [UPLINK, "podway.1"])
def test_a_device_that_is_deleted_takes_all_along(world: World, dev: str) -> None:
    """Its own deletion, or that of what it is built upon."""
    build(world, VTEP, *STANDING)
    forget(world)
    world.tamper_delete(Link(name=dev, kind=BRIDGE.kind))
    wait_for(
        world,
        DeviceChanged("podway.1"),
        Seen(VTEP.key, None),
        Seen(ADDRESS6.key, None),
        Seen(NEIGHBOUR.key, None),
        Seen(FDB.key, None),
        Seen(ROUTE6.key, None),
    )
    assert world.kernel.read_dev("podway.1", KEYS) == {}
    assert world.kernel.read(KEYS) == {}


def test_our_own_deletion_is_no_news_of_the_device(world: World) -> None:
    build(world, VTEP, *STANDING)
    forget(world)
    apply(world, delete(VTEP))
    told = world.kernel.drain()
    assert DeviceChanged("podway.1") not in told
    assert Seen(VTEP.key, None) not in told
    assert world.kernel.read(KEYS) == {}


def test_our_own_down_and_up_is_no_news_of_the_device(world: World) -> None:
    build(world, VTEP)
    forget(world)
    down = replace(VTEP, up=False)
    apply(world, change(down, VTEP), change(VTEP, down))
    assert world.kernel.drain() == []


def test_our_own_device_that_stays_down_is_no_news(world: World) -> None:
    build(world, replace(VTEP, up=False))
    assert world.kernel.drain() == []
    assert read_one(world, VTEP.key) == replace(VTEP, up=False, hairpin=False)


def test_a_device_made_anew_in_one_batch_is_no_news(world: World) -> None:
    other = replace(VTEP, kind=replace(VTEP.kind, port=4789))
    build(world, VTEP)
    forget(world)
    apply(world, delete(VTEP), *creations(other, ADDRESS, ROUTE))
    assert world.kernel.drain() == []
    world.assert_there(other)
    world.assert_there(ROUTE)


def test_ports_of_a_deleted_bridge_are_told(world: World) -> None:
    port = replace(VTEP, master="cni0", hairpin=True)
    build(world, BRIDGE, port)
    forget(world)
    world.tamper_delete(BRIDGE)
    free = replace(port, master="", hairpin=False)
    wait_for(world, Seen(BRIDGE.key, None), DeviceChanged("cni0"), Seen(port.key, free))
    found = read_one(world, port.key)
    assert isinstance(found, Link)
    assert found.master == ""


def test_two_tunnels_share_an_uplink(world: World) -> None:
    build(world, VTEP, VTEP6)
    world.tamper_delete(VTEP)
    wait_for(world, Seen(VTEP.key, None))
    assert set(world.kernel.read([])) == {VTEP6.key}


def test_others_devices_are_told_as_uplinks(world: World) -> None:
    stranger = Link(name="br-other", kind=BRIDGE.kind, mac=MAC, mtu=1500, alias="")
    world.tamper_set(stranger)
    told = wait_for(world, UplinkChanged("br-other"), DeviceChanged("br-other"))
    assert not any(isinstance(event, Seen) for event in told)
    world.tamper_set(Address("br-other", ip_interface("198.51.100.1/24")))
    assert wait_for(world, UplinkChanged("br-other")) == [UplinkChanged("br-other")]
    assert world.kernel.read([]) == {}


def test_others_routes_are_no_news(real: RealWorld) -> None:
    real.netns.ip("route", "add", "10.77.0.0/16", "via", "192.0.2.9")
    real.netns.ip("-6", "route", "add", "fd77::/64", "via", "2001:db8::9")
    real.netns.ip("neigh", "add", "192.0.2.9", "lladdr", MAC, "dev", UPLINK)
    assert real.kernel.drain() == []


def test_what_was_lost_is_told(world: World) -> None:
    """Reading a device forgets what is not there any more, so that its return is news."""
    build(world, VTEP, ROUTE)
    world.tamper_up("podway.1", up=False)
    world.kernel.read_dev("podway.1", KEYS)
    world.tamper_up("podway.1", up=True)
    forget(world)
    world.tamper_set(ROUTE)
    wait_for(world, Seen(ROUTE.key, ROUTE))


def test_uplink_is_read_and_found(world: World) -> None:
    assert world.kernel.find_uplink() is None
    assert world.kernel.read_uplink("nothing") is None
    world.tamper_set(
        Route(dst=ip_network("::/0"), dev=UPLINK, via=ip_address("2001:db8::9"), protocol=4,
              metric=1024)
    )  # fmt: skip
    assert world.kernel.find_uplink() == UPLINK
    world.tamper_set(BRIDGE)
    world.tamper_set(Address("cni0", ip_interface("10.1.0.1/24")))
    for dev, via, metric in ((UPLINK, "192.0.2.9", 100), ("cni0", "10.1.0.9", 50)):
        world.tamper_set(
            Route(dst=ip_network("0.0.0.0/0"), dev=dev, via=ip_address(via), protocol=4,
                  metric=metric)
        )  # fmt: skip
    assert world.kernel.find_uplink() == "cni0"
    uplink = world.kernel.read_uplink(UPLINK)
    assert uplink is not None
    assert (uplink.dev, uplink.mtu) == (UPLINK, 1500)
    assert [str(address) for address in uplink.addresses] == ["192.0.2.1/24", "2001:db8::1/64"]


def test_sysctls_are_looked_up(world: World) -> None:
    gone = Sysctl("ipv6/conf/nothing/accept_ra", "0", "nothing")
    build(world, VTEP, SYSCTL)
    found = world.kernel.check_sysctls([SYSCTL.key, gone.key, link_key("podway.1")])
    assert found == [Seen(SYSCTL.key, SYSCTL), Seen(gone.key, None)]


def test_another_mac_takes_the_neighbours_along(world: World) -> None:
    """Permanent ones too, and whoever changes it: they must be written again."""
    near = Neighbour("podway-v6.1", ip_address("fd02::"), MAC)
    build(world, VTEP6, near)
    forget(world)
    apply(world, change(replace(VTEP6, mac=MAC), VTEP6))
    assert wait_for(world, Seen(near.key, None)) == [Seen(near.key, None)]
    assert read_one(world, near.key) is None
    build(world, near)
    assert read_one(world, near.key) == near


def test_an_ipv6_route_loses_one_way_of_two(world: World) -> None:
    ways = (NextHop(UPLINK, ip_address("2001:db8::3")), NextHop("cni0", ip_address("fd05::2")))
    route = Route(dst=ip_network("fd03::/64"), metric=1024, nexthops=ways)
    build(world, BRIDGE, Address("cni0", ip_interface("fd05::1/64")), route)
    forget(world)
    world.tamper_delete(BRIDGE)
    left = replace(route, nexthops=(), dev=UPLINK, via=ip_address("2001:db8::3"))
    wait_for(world, Seen(route.key, left))
    assert read_one(world, route.key) == left


@pytest.mark.parametrize("way_out", ["down", "device deleted", "address deleted"])
def test_an_ipv6_route_loses_its_source(world: World, way_out: str) -> None:
    """Without a word, when the address is deleted; not when its device goes."""
    source = Address("cni0", ip_interface("fd05::1/64"))
    route = Route(dst=ip_network("fd03::/64"), dev=UPLINK, src=ip_address("fd05::1"), metric=1024)
    build(world, BRIDGE, source, route)
    if way_out == "down":
        world.tamper_up("cni0", up=False)
    else:
        world.tamper_delete(BRIDGE if way_out == "device deleted" else source)
    left = replace(route, src=None) if way_out == "address deleted" else route
    assert read_one(world, route.key) == left
