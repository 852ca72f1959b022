"""``ipvlan``, ``macvlan`` and ``vlan`` alike: devices that stand on another one, their master."""

from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    addresses_of,
    config_of,
    connect,
    devices,
    example_of,
    link_of,
    routes_of,
    with_previous,
)
from podway.cni.errors import INVALID_CONFIG

pytestmark = pytest.mark.usefixtures("up0")

KEYS: dict[str, Document] = {"ipvlan": {}, "macvlan": {}, "vlan": {"vlanId": 7}}


def of_kind(kind: str, *more: object) -> Any:
    """Return the parameters of a case that needs the kernel to have *kind*."""
    return pytest.param(kind, *more, marks=pytest.mark.kernel(kind))


each_kind = pytest.mark.parametrize("kind", [of_kind(kind) for kind in KEYS])


def on_master(kind: str, runtime: Runtime, **keys: Any) -> Document:
    """Return a configuration with addresses of both families."""
    ipam = runtime.ipam("10.1.0.0/24", "fd01::/64")
    return config_of(kind, **{"master": "up0", "ipam": ipam, **KEYS[kind], **keys})


@pytest.mark.parametrize(
    ("kind", "second"),
    [
        of_kind("ipvlan", "up0"),
        of_kind("ipvlan", "eth0"),
        of_kind("macvlan", "up0"),
        of_kind("macvlan", "eth0"),
        of_kind("vlan", "eth0"),
    ],
)
def test_two_containers_reach_each_other(
    kind: str, second: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    """On one master, or on both ends of a wire; a VLAN is on each end once, and needs its tag."""
    pods = [make_netns() for _ in range(2)]
    for number, (pod, master) in enumerate(zip(pods, ("up0", second), strict=True)):
        config = on_master(kind, runtime, master=master)
        runtime.add(config, pod, container_id=f"c{number}")
    connect(pods[0], pods[1], "10.1.0.3")
    connect(pods[0], pods[1], "fd01::3")


@each_kind
def test_larger_than_the_master(kind: str, runtime: Runtime, pod: Netns) -> None:
    outcome = runtime.call("ADD", on_master(kind, runtime, mtu=1401), pod)
    assert outcome.code == INVALID_CONFIG
    assert outcome.msg.startswith("mtu = ")
    assert devices(pod) == set()
    assert runtime.reserved() == set()


@each_kind
def test_link_in_container(kind: str, runtime: Runtime, pod: Netns) -> None:
    pod.ip("link", "add", "in0", "type", "veth", "peer", "name", "in1")
    pod.ip("link", "set", "in0", "up")  # or the kernel does not bring its VLAN up
    config = on_master(kind, runtime, master="in0", linkInContainer=True)
    assert runtime.call("STATUS", config).code == 0
    result = runtime.add(config, pod)
    assert link_of(pod, "eth0")["link"] == "in0"
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert devices(pod) == {"in0", "in1"}


def seen_of(kind: str, host: Netns, pod: Netns) -> object:
    """Return something that the plugin does, as others see it."""
    link = link_of(pod, "eth0")
    if kind == "ipvlan":
        return link["address"] == link_of(host, "eth1")["address"]
    if kind == "macvlan":
        return routes_of(pod)[0]
    return link["linkinfo"]["info_data"]["id"]


@pytest.mark.parametrize(
    ("kind", "address", "seen"),
    [
        of_kind("ipvlan", "10.20.0.2/24", True),  # noqa: FBT003
        of_kind(
            "macvlan",
            "192.168.10.200/24",
            {"dst": "default", "gateway": "192.168.10.254", "dev": "eth0"},
        ),
        of_kind("vlan", "10.30.0.5/24", 30),
    ],
)
def test_the_example_of_the_manual(
    kind: str, address: str, seen: object, runtime: Runtime, pod: Netns
) -> None:
    runtime.host.ip("link", "delete", "eth0")
    runtime.host.ip("link", "add", "eth1", "type", "veth", "peer", "name", "far")
    runtime.host.ip("link", "set", "eth1", "up")
    config = example_of(kind, runtime)
    checked = with_previous(config, runtime.add(config, pod))
    assert addresses_of(pod, "eth0") == {address}
    assert seen_of(kind, runtime.host, pod) == seen
    assert runtime.call("CHECK", checked, pod).code == 0
    assert runtime.call("DEL", checked, pod).code == 0
