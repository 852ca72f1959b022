"""The ``host-device`` executable gives back what it took, whatever has become of it."""

from collections.abc import Callable

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Outcome,
    Runtime,
    addresses_of,
    devices,
    link_of,
    with_previous,
)
from netns.plugins.host_devices import everything, files, host_device, with_ipam
from podway.cni.errors import IO_FAILURE

pytestmark = pytest.mark.usefixtures("dev0")


def down(host: Netns) -> None:
    host.ip("link", "set", "dev0", "down")


def port(host: Netns) -> None:
    host.ip("link", "add", "br0", "type", "bridge")
    host.ip("link", "set", "dev0", "master", "br0")


def several_ways(host: Netns) -> None:
    host.ip("addr", "add", "198.18.0.2/24", "dev", "wire")
    ways = ["nexthop", "via", "192.0.2.1", "nexthop", "via", "198.18.0.1"]
    host.ip("route", "add", "10.9.0.0/16", *ways)
    host.ip("addr", "add", "2001:db8:1::2/64", "dev", "wire", "nodad")
    ways = ["nexthop", "via", "2001:db8::1", "nexthop", "via", "2001:db8:1::1"]
    host.ip("-6", "route", "add", "2001:db8:9::/48", *ways)


def named_alike_inside(host: Netns) -> None:
    host.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")


@pytest.mark.parametrize("change", [down, port, several_ways, named_alike_inside])
def test_what_the_host_has_comes_back(
    change: Callable[[Netns], None], runtime: Runtime, pod: Netns
) -> None:
    change(runtime.host)
    before = everything(runtime.host)
    config = host_device(runtime)
    runtime.add(config, pod)
    assert link_of(pod, "eth0")["operstate"] != "DOWN"
    assert runtime.call("DEL", config, pod) == Outcome(0, {}, "")
    assert everything(runtime.host) == before


def test_what_the_container_changed_is_changed_back(runtime: Runtime, pod: Netns) -> None:
    before = everything(runtime.host)
    config = host_device(runtime)
    runtime.add(config, pod)
    pod.ip("link", "set", "eth0", "mtu", "1280", "address", "0a:00:00:00:00:99")
    pod.ip("link", "set", "eth0", "down")
    pod.ip("link", "set", "eth0", "name", "other")
    pod.ip("link", "add", "dev0", "type", "veth", "peer", "name", "peer")
    assert runtime.call("DEL", config, pod).code == 0
    assert everything(runtime.host) == before
    assert devices(pod) == {"dev0", "peer"}


def test_learnt_addresses_and_routes_are_not_given_back(runtime: Runtime, pod: Netns) -> None:
    host = runtime.host
    host.ip(
        "addr", "add", "192.0.2.77/24", "dev", "dev0", "valid_lft", "900", "preferred_lft", "90"
    )
    host.ip("route", "add", "10.99.0.0/16", "dev", "dev0", "proto", "dhcp")
    config = host_device(runtime)
    runtime.add(config, pod)
    assert runtime.call("DEL", config, pod).code == 0
    assert "192.0.2.77/24" not in addresses_of(host, "dev0")
    assert "10.99.0.0/16" not in host.ip("route")


def test_a_route_that_can_be_no_longer_is_told(runtime: Runtime, pod: Netns) -> None:
    several_ways(runtime.host)
    config = host_device(runtime)
    runtime.add(config, pod)
    runtime.host.ip("link", "delete", "br0") if "br0" in devices(runtime.host) else None
    runtime.host.ip("addr", "flush", "dev", "wire")
    outcome = runtime.call("DEL", config, pod)
    assert outcome.code == 0
    assert "10.9.0.0/16" in outcome.stderr
    assert "192.0.2.2/24" in addresses_of(runtime.host, "dev0")


@pytest.mark.parametrize("name", ["eth0", "dev17"])
def test_del_after_the_kernel_gave_it_back(name: str, runtime: Runtime, pod: Netns) -> None:
    """As when the namespace of hardware ends: down, and under some name."""
    before = everything(runtime.host)
    config = with_ipam(runtime)
    result = runtime.add(config, pod)
    pod.ip("link", "set", "eth0", "down")
    pod.ip("link", "set", "eth0", "netns", runtime.host.name, "name", name)
    called = with_previous(config, result)
    for _ in range(2):
        assert runtime.call("DEL", called, "/run/netns/gone").code == 0
        assert everything(runtime.host) == before
        assert runtime.reserved() == set()
        assert files(runtime) == []


def test_del_after_a_virtual_device_ended_with_the_namespace(runtime: Runtime, pod: Netns) -> None:
    config = with_ipam(runtime)
    runtime.add(config, pod)
    pod.ip("link", "delete", "eth0")
    for _ in range(2):
        assert runtime.call("DEL", config, "").code == 0
        assert runtime.reserved() == set()
        assert files(runtime) == []


@pytest.mark.parametrize("where", ["container", "host"])
def test_gc(where: str, runtime: Runtime, pod: Netns) -> None:
    before = everything(runtime.host)
    config = with_ipam(runtime)
    runtime.add(config, pod)
    kept = {**config, "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]}
    other = {**config, "cni.dev/valid-attachments": [], "name": "other"}
    for called in (kept, other):
        assert runtime.call("GC", called).code == 0
        assert devices(pod) == {"eth0"}
    if where == "host":
        pod.ip("link", "set", "eth0", "netns", runtime.host.name)
    for _ in range(2):
        assert runtime.call("GC", {**config, "cni.dev/valid-attachments": []}).code == 0
        assert everything(runtime.host) == before
        assert runtime.reserved() == set()
        assert files(runtime) == []


def test_gc_does_not_enter_another_namespace_at_the_same_path(
    runtime: Runtime, make_netns: MakeNetns, pod: Netns
) -> None:
    config = host_device(runtime)
    runtime.add(config, pod)
    other = make_netns()
    other.ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer")
    other.ip("link", "set", "eth0", "alias", "dev0")
    (path,) = files(runtime)
    path.write_text(path.read_text().replace(pod.path, other.path))
    assert runtime.call("GC", {**config, "cni.dev/valid-attachments": []}).code == 0
    assert devices(other) == {"eth0", "peer"}


def test_another_device_of_that_name_on_the_host(runtime: Runtime, pod: Netns) -> None:
    before = everything(runtime.host)
    config = host_device(runtime)
    result = runtime.add(config, pod)
    runtime.host.ip("link", "add", "dev0", "type", "veth", "peer", "name", "peer")
    outcome = runtime.call("DEL", config, pod)
    assert outcome.code == IO_FAILURE
    assert "dev0" in outcome.msg
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    runtime.host.ip("link", "delete", "dev0")
    assert runtime.call("DEL", config, pod).code == 0
    assert everything(runtime.host) == before


@pytest.mark.parametrize("text", ["", "{", '{"device": "dev0"}', '{"netnsID": [1, 2]}', "null"])
def test_a_file_that_says_nothing_sensible(text: str, runtime: Runtime, pod: Netns) -> None:
    """The alias alone leads home, as after the original's ADD."""
    config = host_device(runtime)
    runtime.add(config, pod)
    (path,) = files(runtime)
    path.write_text(text)
    assert runtime.call("GC", {**config, "cni.dev/valid-attachments": []}).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert devices(runtime.host) == {"dev0", "wire"}
    assert "ifalias" not in link_of(runtime.host, "dev0")
    assert files(runtime) == []


@pytest.mark.parametrize("alias", ["", "../dev0", "a/b", "cni:net/c1/eth0", "eth%d", "x" * 16])
def test_del_leaves_devices_that_came_from_elsewhere(
    alias: str, runtime: Runtime, pod: Netns
) -> None:
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer")
    if alias:
        pod.ip("link", "set", "eth0", "alias", alias)
    assert runtime.call("DEL", host_device(runtime), pod).code == 0
    assert devices(pod) == {"eth0", "peer"}


# System calls by which the plugin changes something, and which of them are tried: every so many.
CHANGES = {"sendto": 2, "write": 1, "rename": 1, "unlink": 1}


@pytest.mark.parametrize("calls", CHANGES)
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_any_point(command: str, calls: str, runtime: Runtime, pod: Netns) -> None:
    """Whatever it was doing: DEL, and also GC alone, give the host everything back."""
    before = everything(runtime.host)
    config = with_ipam(runtime)
    collecting = {**config, "cni.dev/valid-attachments": []}
    for n in range(1, 100, CHANGES[calls]):
        if command == "DEL":
            runtime.add(config, pod)
        was_killed = runtime.kill(command, config, pod, calls, n)
        if n % 4 < 2:
            assert runtime.call("DEL", config, pod).code == 0
            assert everything(runtime.host) == before
        assert runtime.call("GC", collecting).code == 0
        assert everything(runtime.host) == before
        assert devices(pod) == set()
        assert (runtime.reserved(), files(runtime)) == (set(), [])
        if not was_killed:
            return
    pytest.fail("it never came to its end")
