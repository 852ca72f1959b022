"""What only the real kernel can show: many operations at once, threads, lost events."""

import errno
import json
import subprocess
import threading
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from msgspec.structs import replace

from netns.kernel.cases import CASES
from netns.kernel.stock import BRIDGE, MAC, VTEP
from netns.kernel.worlds import (
    UPLINK,
    RealWorld,
    apply,
    build,
    change,
    create,
    creations,
    delete,
    forget,
    read_one,
    refusal,
    wait_for,
)
from podway.diff.compare import Difference, compare
from podway.kernel.protocol import Overrun, Seen
from podway.model.addresses import Family
from podway.model.instances import UNFINISHED_GROUP
from podway.model.kernel import (
    Address,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    Route,
    Vxlan,
)

PEERS = 1000


def peer_objects(number: int) -> tuple[KernelObject, ...]:
    """Return what one peer of a VXLAN network needs."""
    high, low = divmod(number, 256)
    mac = f"02:00:00:01:{high:02x}:{low:02x}"
    gateway = ip_address(f"10.{high}.{low}.0")
    return (
        Neighbour("podway.1", gateway, mac),
        FdbEntry("podway.1", mac, ip_address(f"192.0.{high + 3}.{low}")),
        Route(dst=ip_network(f"{gateway}/24"), dev="podway.1", via=gateway, onlink=True),
    )


def test_three_thousand_objects_at_once(real: RealWorld) -> None:
    items = [item for number in range(PEERS) for item in peer_objects(number)]
    build(real, VTEP)
    forget(real)
    build(real, *items)
    assert real.kernel.drain() == []
    state = real.kernel.read([])
    assert {item.key: item for item in items} == {k: v for k, v in state.items() if k != VTEP.key}
    assert len(real.netns.ip("neigh", "show", "nud", "permanent").splitlines()) == PEERS
    assert len(real.netns.ip("route", "show", "proto", "112").splitlines()) == PEERS
    apply(real, *(delete(item) for item in items))
    assert set(real.kernel.read([])) == {VTEP.key}
    assert real.kernel.drain() == []


def test_many_links_go_at_once_and_no_other(real: RealWorld) -> None:
    links = [replace(BRIDGE, name=f"pwtest{number}", mac=None) for number in range(40)]
    build(real, *links)
    stay, go = links[:5], links[5:]
    apply(real, *(delete(link) for link in go))
    assert set(real.kernel.read([])) == {link.key for link in stay}
    for link in go:
        real.assert_gone(link.key)
    assert real.kernel.drain() == []


def test_links_of_others_in_any_group_survive(real: RealWorld) -> None:
    """Deleting by group must not reach a device that somebody put into the same group."""
    groups = range(0x70770000, 0x70770004)
    for number, group in enumerate(groups):
        real.netns.ip("link", "add", f"other{number}", "type", "bridge")
        real.netns.ip("link", "set", f"other{number}", "group", str(group))
    links = [replace(BRIDGE, name=f"pwtest{number}", mac=None) for number in range(3)]
    for _ in groups:
        build(real, *links)
        apply(real, *(delete(link) for link in links))
    shown = real.netns.ip("link", "show", "type", "bridge")
    assert [f"other{number}" in shown for number in range(4)] == [True] * 4
    assert "pwtest" not in shown


def test_every_kind_in_one_batch(real: RealWorld) -> None:
    """Objects that stand on a device made in the same batch, in the order of their needs."""
    chosen = {case.item.key: case for case in CASES if not case.feature}
    items = [item for case in chosen.values() for item in (*case.needs, case.item)]
    unique = list({item.key: item for item in items}.values())
    build(real, *unique)
    state = real.kernel.read([item.key for item in unique])
    different = [
        key for key, item in {item.key: item for item in unique}.items()
        if key not in state or compare(item, state[key]) is not Difference.NONE
    ]  # fmt: skip
    assert different == []
    assert real.kernel.drain() == []


def test_draining_meanwhile_in_another_thread(real: RealWorld) -> None:
    """Our own writes are nobody's change, whenever it is that somebody looks."""
    told: list[object] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            told.extend(real.kernel.drain())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(5):
            items = [VTEP, *(item for number in range(50) for item in peer_objects(number))]
            build(real, *items)
            apply(real, *(delete(item) for item in reversed(items)))
    finally:
        done.set()
        thread.join()
    assert told == []


def test_notifications_that_were_lost(real: RealWorld) -> None:
    build(real, VTEP)
    forget(real)
    lines = [f"route add 10.{n >> 8}.{n & 255}.0/24 via 192.0.2.2" for n in range(20000)]
    subprocess.run(
        ["ip", "-n", real.netns.name, "-batch", "-"],
        input="\n".join(lines),
        text=True,
        check=True,
    )
    real.tamper_delete(VTEP)
    assert Overrun() in wait_for(real, Overrun())
    assert real.kernel.read([VTEP.key]) == {}
    forget(real)
    build(real, VTEP)
    real.tamper_delete(VTEP)
    wait_for(real, Seen(VTEP.key, None))


def test_hairpin_that_somebody_turns_off(real: RealWorld) -> None:
    port = replace(VTEP, master="cni0", hairpin=True)
    build(real, BRIDGE, port)
    forget(real)
    real.netns.exec("bridge", "link", "set", "dev", "podway.1", "hairpin", "off")
    wait_for(real, Seen(port.key, replace(port, hairpin=False)))
    apply(real, change(port, replace(port, hairpin=False)))
    real.assert_there(port)


def test_a_device_that_is_renamed(real: RealWorld) -> None:
    build(real, BRIDGE)
    forget(real)
    real.netns.ip("link", "set", "cni0", "down")
    real.netns.ip("link", "set", "cni0", "name", "cni9")
    wait_for(real, Seen(BRIDGE.key, None))
    build(real, BRIDGE)
    real.assert_there(BRIDGE)


def test_a_device_made_anew_by_others_has_another_index(real: RealWorld) -> None:
    build(real, VTEP)
    real.tamper_delete(VTEP)
    real.tamper_set(VTEP)
    build(real, *peer_objects(1))
    assert set(real.kernel.read([])) == {VTEP.key, *(item.key for item in peer_objects(1))}


def test_routes_of_others_beside_ours(real: RealWorld) -> None:
    """Another program's route of our key, before or behind ours, gives way to ours."""
    ours = Route(dst=ip_network("10.2.0.0/24"), dev=UPLINK, via=ip_address("192.0.2.2"))
    for verb in ("prepend", "append"):
        build(real, ours)
        real.netns.ip("route", verb, "10.2.0.0/24", "via", "192.0.2.9", "proto", "static")
        forget(real)
        build(real, ours)
        assert read_one(real, ours.key) == ours
        apply(real, delete(ours))
        real.netns.ip("route", "flush", "10.2.0.0/24")


def test_a_tunnel_that_its_underlay_covers(real: RealWorld) -> None:
    """An IPv6 gateway on link, although a route over another device covers it."""
    local = Vxlan(vni=1, local=ip_address("2001:db8::1"), underlay=UPLINK, port=8472)
    tunnel = Link(name="podway-v6.1", kind=local, mac=MAC, mtu=1430)
    route = Route(dst=ip_network("fd02::/64"), dev="podway-v6.1", via=ip_address("fd02::"),
                  onlink=True, metric=1024)  # fmt: skip
    real.netns.ip("-6", "route", "add", "fd00::/8", "via", "2001:db8::9")
    build(real, tunnel, route)
    real.assert_there(route)


def test_a_device_whose_maker_was_killed(real: RealWorld) -> None:
    """It bears no mark, but was born among the unfinished: ours to remove, and to make anew."""
    real.netns.ip("link", "add", "cni0", "group", str(UNFINISHED_GROUP), "type", "bridge")
    found = real.kernel.read([])[BRIDGE.key]
    assert compare(BRIDGE, found) is Difference.REMAKE
    assert refusal(real, create(BRIDGE)).errno == errno.EEXIST
    apply(real, delete(found), create(BRIDGE))
    real.assert_there(BRIDGE)
    assert "group default" in real.netns.ip("link", "show", "cni0")


@pytest.mark.parametrize("mtu", [68, 1450, 1500])
def test_a_bridge_keeps_its_mtu(real: RealWorld, mtu: int) -> None:
    """Left alone it would take its smallest port's."""
    bridge = replace(BRIDGE, mtu=mtu)
    build(real, bridge, replace(VTEP, master="cni0", mtu=mtu - 50 if mtu > 68 else 1000))
    real.assert_there(bridge)
    assert real.kernel.drain() == []


def test_a_bridge_floods_multicast_without_looking(real: RealWorld) -> None:
    build(real, BRIDGE)
    (shown,) = json.loads(real.netns.ip("-j", "-d", "link", "show", "cni0"))
    assert shown["linkinfo"]["info_data"]["mcast_snooping"] == 0


def test_no_device_of_ours_makes_addresses_up(real: RealWorld) -> None:
    build(real, VTEP, Address("podway.1", ip_interface("10.1.0.0/32")))
    shown = real.netns.ip("-6", "address", "show", "dev", "podway.1")
    assert shown == ""


def test_sysctls_are_those_of_the_namespace(real: RealWorld) -> None:
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    forward = next(case.item for case in CASES if case.item.key.parts == ("ipv4/ip_forward",))
    build(real, forward)
    real.assert_there(forward)
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before


def test_creating_twice_makes_one(real: RealWorld) -> None:
    assert real.kernel.apply(creations(BRIDGE, BRIDGE, VTEP, VTEP)) == [None] * 4


def test_interfaces_and_ways(real: RealWorld) -> None:
    netns = real.netns
    netns.ip("link", "add", "six0", "type", "veth", "peer", "name", "six1")
    netns.ip("address", "add", "2001:db8:9::1/64", "dev", "six0", "nodad")
    for dev in ("six0", "six1"):
        netns.ip("link", "set", dev, "up")
    netns.ip("-6", "route", "add", "default", "via", "2001:db8:9::2", "dev", "six0")
    found = {each.dev: each for each in real.kernel.list_uplinks()}
    assert {"lo", "eth0", "six0"} <= found.keys()
    assert str(found["six0"].addresses[0]) == "2001:db8:9::1/64"
    assert found["eth0"] == real.kernel.read_uplink("eth0")
    assert real.kernel.find_way(ip_address("192.0.2.77")) == "eth0"
    assert real.kernel.find_way(ip_address("2001:db8:ffff::1")) == "six0"
    assert real.kernel.find_way(ip_address("203.0.113.1")) is None
    assert real.kernel.find_uplink(Family.IPV6) == "six0"
    assert real.kernel.find_uplink(Family.IPV4) is None
