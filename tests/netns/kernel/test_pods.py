"""Pods' interfaces: both ends made at once, or nothing of either."""

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from netns.conftest import MakeNetns, Netns, run
from netns.kernel.pod_sides import EVERYTHING, EVERYTHING6, bridged, host_end, routed
from netns.kernel.stock import BRIDGE, MAC, OTHER_MAC
from netns.kernel.worlds import (
    RealWorld,
    World,
    apply,
    build,
    change,
    create,
    delete,
    forget,
    read_one,
    refusal,
    wait_for,
)
from podway.kernel.node import NodeKernel
from podway.kernel.protocol import DeviceChanged, Seen
from podway.model.kernel import Neighbour, PodSide, Route, Veth


@pytest.mark.parametrize("make", [bridged, routed])
def test_pair_is_made_and_goes(world: World, make: Callable[[str], PodSide]) -> None:
    pod = make(world.pod_netns())
    link = host_end(pod, master="cni0", hairpin=True) if make is bridged else host_end(pod)
    build(world, BRIDGE)
    forget(world)
    build(world, link)
    world.assert_there(link)
    assert world.check_pod(pod) == []
    assert read_one(world, link.key) == replace(link, kind=Veth(), hairpin=make is bridged)
    assert Seen(link.key, None) not in (told := world.kernel.drain())
    assert DeviceChanged(link.name) not in told
    apply(world, delete(link))
    world.assert_gone(link.key)
    assert world.check_pod(pod) != []


def test_only_the_pod_s_end_makes_smaller_packets(real: RealWorld) -> None:
    """Its other end would cut what comes for the pod in larger ones."""
    pod = bridged(real.pod_netns(), gso_max_size=62_100)
    link = host_end(pod)
    build(real, link)
    inside = json.loads(run("nsenter", f"--net={pod.netns}", "ip", "-j", "-d", "link"))
    (found,) = (each for each in inside if each["ifname"] == pod.ifname)
    assert (found["gso_max_size"], found.get("gso_ipv4_max_size", 62_100)) == (62_100, 62_100)
    assert "gso_max_size 65536" in real.netns.ip("-d", "link", "show", "dev", link.name)


def test_pair_again_is_the_same_pair(world: World) -> None:
    pod = bridged(world.pod_netns())
    build(world, host_end(pod))
    build(world, host_end(pod), host_end(pod, alias="podway:other"))
    world.assert_there(host_end(pod, alias="podway:other"))
    assert world.check_pod(pod) == []


def test_host_end_is_changed_in_place(world: World) -> None:
    pod = bridged(world.pod_netns())
    before = host_end(pod)
    after = host_end(pod, master="cni0", hairpin=True, mtu=1400, up=False)
    build(world, BRIDGE, before)
    apply(world, change(after, replace(before, kind=Veth())))
    world.assert_there(after)


def test_a_pod_that_ends_takes_the_host_end_along(world: World) -> None:
    pod = bridged(world.pod_netns())
    link = host_end(pod)
    build(world, link)
    forget(world)
    world.destroy_pod_netns(pod.netns)
    wait_for(world, Seen(link.key, None), DeviceChanged(link.name))
    assert read_one(world, link.key) is None


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        pytest.param(
            {"routes": (Route(dst=EVERYTHING, dev="eth0", via=ip_address("10.9.0.1")),)},
            errno.ENETUNREACH,
            id="route out of reach",
        ),
        pytest.param(
            {
                "routes": (
                    Route(dst=EVERYTHING, dev="eth0", via=ip_address("169.254.1.1")),
                    Route(dst=ip_network("169.254.1.1/32"), dev="eth0", scope="link"),
                )
            },
            errno.ENETUNREACH,
            id="routes in the wrong order",
        ),
        pytest.param(
            {"neighbours": (Neighbour("eth0", ip_address("10.1.0.1")),)},
            errno.EINVAL,
            id="neighbour without MAC",
        ),
        pytest.param({"mtu": 60}, errno.EINVAL, id="mtu too small"),
        pytest.param({"mac": "01:00:5e:00:00:01"}, errno.EADDRNOTAVAIL, id="multicast MAC"),
        pytest.param({"netns": "/run/netns/pwtest-nothing"}, errno.ENOENT, id="no namespace"),
    ],
)
def test_a_failure_leaves_neither_end(world: World, fields: dict[str, Any], number: int) -> None:
    pod = bridged(world.pod_netns())
    bad = replace(pod, **fields)
    error = refusal(world, create(host_end(bad)))
    assert error.errno == number, str(error)
    world.assert_gone(host_end(bad).key)
    build(world, host_end(pod))
    assert world.check_pod(pod) == []


def test_a_failure_on_the_host_leaves_neither_end(world: World) -> None:
    pod = bridged(world.pod_netns())
    assert refusal(world, create(host_end(pod, master="nothing"))).errno == errno.ENODEV
    world.assert_gone(host_end(pod).key)
    build(world, host_end(pod))


def test_an_interface_that_is_taken(world: World) -> None:
    pod = bridged(world.pod_netns())
    build(world, host_end(pod))
    second = replace(host_end(pod), name="pw9876543210a")
    assert refusal(world, create(second)).errno == errno.EEXIST
    world.assert_gone(second.key)
    assert world.check_pod(pod) == []


def test_two_interfaces_of_one_pod(world: World) -> None:
    first = bridged(world.pod_netns())
    routes = (Route(dst=EVERYTHING, dev="net1", via=ip_address("10.7.0.1")),)
    second = replace(first, ifname="net1", mac=MAC, addresses=(ip_interface("10.7.0.5/24"),),
                     routes=routes)  # fmt: skip
    build(world, host_end(first), replace(host_end(second), name="pw9876543210a"))
    assert world.check_pod(first) == []
    assert world.check_pod(second) == []


def test_a_second_default_route_is_a_spare(real: RealWorld, make_netns: MakeNetns) -> None:
    """The first interface's counts in both families; traffic is not shared out."""
    inside = make_netns()
    first = bridged(inside.path)
    second = bridged(
        inside.path,
        ifname="net1",
        addresses=(ip_interface("10.7.0.5/24"), ip_interface("fd07::5/64")),
        routes=(
            Route(dst=EVERYTHING, dev="net1", via=ip_address("10.7.0.1")),
            Route(dst=EVERYTHING6, dev="net1", via=ip_address("fd07::1"), metric=1024),
        ),
    )
    build(real, host_end(first), replace(host_end(second), name="pw9876543210a"))
    assert real.check_pod(first) == real.check_pod(second) == []
    for family, via in (("-4", "10.1.0.1"), ("-6", "fd01::1")):
        shown = inside.ip(family, "route", "show", "default")
        assert "nexthop" not in shown
        assert shown.split()[2] == via
    inside.ip("link", "set", "eth0", "down")
    for family, via in (("-4", "10.7.0.1"), ("-6", "fd07::1")):
        assert inside.ip(family, "route", "show", "default").split()[2] == via


def test_what_is_missing_in_a_pod_is_said(real: RealWorld) -> None:
    pod = routed(real.pod_netns())
    build(real, host_end(pod))
    name = pod.netns.rsplit("/", 1)[-1]

    def inside(*words: str) -> None:
        Netns(name, pod.netns, -1).ip(*words)

    inside("neighbour", "delete", "169.254.1.1", "dev", "eth0")
    assert real.check_pod(pod) == ["eth0 has lost its neighbour 169.254.1.1"]
    inside("-6", "route", "delete", "default")
    inside("link", "set", "eth0", "mtu", "1300", "address", "02:00:00:00:00:77")
    problems = real.check_pod(pod)
    assert "the route to ::/0 via fe80::1 is gone" in problems
    assert "eth0 has MTU 1300, not 1450" in problems
    assert f"eth0 has MAC 02:00:00:00:00:77, not {OTHER_MAC}" in problems
    inside("address", "delete", "10.1.0.5/32", "dev", "eth0")
    inside("link", "set", "eth0", "down")
    problems = real.check_pod(pod)
    assert "eth0 has lost its address 10.1.0.5/32" in problems
    assert "eth0 is down" in problems
    apply(real, delete(host_end(pod)))
    assert len(real.check_pod(pod)) == 1


def test_the_inside_of_a_pod(real: RealWorld, make_netns: MakeNetns) -> None:
    """As iproute2 sees it: loopback up, no tentative and no link-local address."""
    inside = make_netns()
    inside.ip("link", "set", "lo", "down")
    pod = bridged(inside.path)
    build(real, BRIDGE, host_end(pod, master="cni0"))
    shown = {item["ifname"]: item for item in json.loads(inside.ip("-j", "address", "show"))}
    assert "UP" in shown["lo"]["flags"]
    eth0 = shown["eth0"]
    assert [f"{info['local']}/{info['prefixlen']}" for info in eth0["addr_info"]] == [
        "10.1.0.5/24", "fd01::5/64",
    ]  # fmt: skip
    assert not any(info.get("tentative") for info in eth0["addr_info"])
    assert (eth0["mtu"], eth0["address"]) == (1450, OTHER_MAC)
    assert inside.exec("cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra").strip() == "0"
    assert "mtu 1380" in inside.ip("-6", "route", "show", "default")
    assert "mtu 1400" in inside.ip("route", "show", "default")


def test_ipv6_that_a_runtime_turned_off_is_turned_on(
    real: RealWorld, make_netns: MakeNetns
) -> None:
    inside = make_netns()
    inside.exec("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
    pod = bridged(inside.path)
    build(real, host_end(pod))
    assert real.check_pod(pod) == []
    assert inside.exec("cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6").strip() == "0"


def test_ipv6_stays_off_in_a_pod_without(real: RealWorld, make_netns: MakeNetns) -> None:
    inside = make_netns()
    inside.exec("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
    pod = bridged(inside.path, addresses=(ip_interface("10.1.0.5/24"),), routes=())
    build(real, host_end(pod))
    assert inside.exec("cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6").strip() == "1"


def test_a_pod_too_small_for_ipv6(world: World) -> None:
    """Below 1280 bytes the kernel has no IPv6 on a device, nor anything to set there."""
    pod = bridged(world.pod_netns(), mtu=1000, addresses=(ip_interface("10.1.0.5/24"),), routes=())
    build(world, host_end(pod, mtu=1000))
    assert world.check_pod(pod) == []


def test_a_namespace_by_descriptor(real: RealWorld, make_netns: MakeNetns) -> None:
    """As the agent gets it from a CNI executable: a path that ends with this process."""
    inside = make_netns()
    pod = bridged(f"/proc/self/fd/{inside.fd}")
    build(real, host_end(pod))
    assert real.check_pod(pod) == []


def test_the_nodes_own_namespace_is_refused(real: RealWorld) -> None:
    before = real.netns.ip("-j", "link", "show")
    error = refusal(real, create(host_end(bridged(real.netns.path))))
    assert error.errno == errno.EINVAL
    assert "own network namespace" in str(error)
    assert real.netns.ip("-j", "link", "show") == before


def test_the_error_says_which_step_failed_and_where(real: RealWorld) -> None:
    pod = bridged(
        real.pod_netns(), routes=(Route(dst=EVERYTHING, dev="eth0", via=ip_address("10.9.0.1")),)
    )
    text = str(refusal(real, create(host_end(pod))))
    assert text == (
        f"append route 0.0.0.0/0 via 10.9.0.1 dev eth0 inside {pod.netns}: "
        "Network is unreachable: Nexthop has invalid gateway"
    )


def test_nothing_stays_open(real: RealWorld) -> None:
    pod = bridged(real.pod_netns())
    bad = replace(pod, routes=(Route(dst=EVERYTHING, dev="eth0", via=ip_address("10.9.0.1")),))
    with _same_descriptors(), closing(NodeKernel(real.netns.fd)) as kernel:
        for _ in range(3):
            assert kernel.apply([create(host_end(pod))]) == [None]
            assert kernel.apply([delete(host_end(pod))]) == [None]
            assert kernel.apply([create(host_end(bad))]) != [None]
            assert kernel.check_pod(pod) != []
    kernel.close()


@contextmanager
def _same_descriptors() -> Iterator[None]:
    before = set(Path("/proc/self/fd").iterdir())
    yield
    assert set(Path("/proc/self/fd").iterdir()) == before
