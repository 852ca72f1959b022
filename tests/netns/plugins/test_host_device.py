"""The ``host-device`` executable, and the same configuration through the original."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Outcome,
    Runtime,
    addresses_of,
    config_of,
    devices,
    example_of,
    link_of,
    state_of,
    with_previous,
)
from netns.plugins.originals import compare_main_plugins, needs_original
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE, UNAVAILABLE

MAC = "0a:00:00:00:00:01"
PCI = "0000:00:1f.6"


@pytest.fixture(autouse=True)
def _device(runtime: Runtime) -> None:
    """Give the host the device dev0, with all that it can lose."""
    host = runtime.host
    host.ip("link", "add", "dev0", "address", MAC, "type", "veth", "peer", "name", "wire")
    host.ip("link", "set", "wire", "up")
    host.ip("link", "set", "dev0", "alias", "the uplink", "mtu", "1400")
    for address in ("192.0.2.2/24", "192.0.2.3/24", "198.51.100.2/32"):
        host.ip("addr", "add", address, "dev", "dev0")
    host.ip("addr", "add", "203.0.113.2", "peer", "203.0.113.1", "dev", "dev0", "label", "dev0:p")
    host.ip("addr", "add", "2001:db8::2/64", "dev", "dev0", "nodad")
    host.ip("link", "set", "dev0", "up")
    host.ip("route", "add", "default", "via", "192.0.2.1", "metric", "50")
    host.ip("route", "add", "10.0.0.0/8", "via", "192.0.2.9", "src", "192.0.2.3", "mtu", "1300")
    host.ip("route", "add", "10.5.0.0/16", "dev", "dev0", "table", "77", "proto", "static")
    host.ip("route", "add", "10.7.0.0/16", "via", "172.16.0.1", "dev", "dev0", "onlink")
    host.ip("-6", "route", "add", "default", "via", "2001:db8::1", "src", "2001:db8::2")


def host_device(runtime: Runtime, **keys: Any) -> Document:
    """Return a configuration; the device's files are the test's own."""
    told = {"device": "dev0", "dataDir": str(runtime.directory / "state"), **keys}
    return config_of("host-device", **told)


def with_ipam(runtime: Runtime, **keys: Any) -> Document:
    routes = [{"dst": "0.0.0.0/0"}]
    return host_device(
        runtime, ipam=runtime.ipam("10.1.0.0/24", "fd01::/64", routes=routes), **keys
    )


def files(runtime: Runtime) -> list[Path]:
    """Return the files of devices that are away."""
    directory = runtime.directory / "state"
    return list(directory.iterdir()) if directory.exists() else []


def everything(host: Netns) -> list[object]:
    """Return what `ip` says of dev0, and of all routes."""
    link = link_of(host, "dev0")
    kept = ("ifname", "ifalias", "address", "mtu", "master", "group")
    addresses = json.loads(host.ip("-j", "addr", "show", "dev", "dev0"))
    routes = [
        route
        for family in ("-4", "-6")
        for route in json.loads(host.ip("-j", family, "route", "show", "table", "all"))
        if route.get("type") not in {"local", "broadcast", "multicast", "anycast"}
        and route.get("dev") != "wire"
        and not route["dst"].startswith("fe80:")
    ]
    return [
        {key: link.get(key) for key in kept},
        "UP" in link["flags"],
        [
            {key: value for key, value in each.items() if not key.endswith("_life_time")}
            for address in addresses
            for each in address.get("addr_info", ())
            if each["scope"] != "link"
        ],
        sorted((_in_order(route) for route in routes), key=str),
    ]


def _in_order(route: Document) -> Document:
    """Return a route whose lists, which have no order that matters, have one that compares."""
    ways = sorted(route.get("nexthops", ()), key=str)
    return {**route, "flags": sorted(route["flags"]), "nexthops": ways}


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    config = with_ipam(runtime, dns={"nameservers": ["192.0.2.53"]})
    before = everything(runtime.host)
    assert runtime.call("STATUS", config).code == 0
    result = runtime.add(config, pod)
    assert result["interfaces"] == [{"name": "eth0", "mac": MAC, "mtu": 1400, "sandbox": pod.path}]
    assert [ip["interface"] for ip in result["ips"]] == [0, 0]
    assert result["dns"] == {"nameservers": ["192.0.2.53"]}
    assert devices(runtime.host) == {"wire"}
    link = link_of(pod, "eth0")
    assert (link["ifalias"], "UP" in link["flags"]) == ("dev0", True)
    assert addresses_of(pod, "eth0") == {"10.1.0.2/24", "fd01::2/64"}
    assert runtime.call("STATUS", config).code == UNAVAILABLE
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    for _ in range(2):
        assert runtime.call("DEL", checked, pod) == Outcome(0, {}, "")
        assert everything(runtime.host) == before
        assert devices(pod) == set()
        assert runtime.reserved() == set()
        assert files(runtime) == []


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


def test_an_add_that_fails_late_leaves_nothing(runtime: Runtime, pod: Netns) -> None:
    before = everything(runtime.host)
    routes = [{"dst": "10.9.0.0/16", "gw": "172.16.0.1"}]
    config = host_device(runtime, ipam=runtime.ipam("10.1.0.0/24", routes=routes))
    assert runtime.call("ADD", config, pod).code == IO_FAILURE
    assert everything(runtime.host) == before
    assert devices(pod) == set()
    assert runtime.reserved() == set()
    assert files(runtime) == []


@pytest.mark.parametrize(
    ("device", "code"),
    [
        pytest.param("lo", IO_FAILURE, id="one that cannot move"),
        pytest.param("dev0", IO_FAILURE, id="name taken in the container"),
        pytest.param("none0", INVALID_CONFIG, id="no such device"),
    ],
)
def test_an_add_that_fails_early_leaves_nothing(
    device: str, code: int, runtime: Runtime, pod: Netns
) -> None:
    before = everything(runtime.host), link_of(runtime.host, "lo")
    if device == "dev0":
        pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer")
    inside = devices(pod)
    outcome = runtime.call("ADD", with_ipam(runtime, device=device), pod)
    assert outcome.code == code
    assert (everything(runtime.host), link_of(runtime.host, "lo")) == before
    assert devices(runtime.host) == {"dev0", "wire"}
    assert devices(pod) == inside
    assert runtime.reserved() == set()
    assert files(runtime) == []


def test_by_hardware_address(runtime: Runtime, pod: Netns) -> None:
    runtime.add(host_device(runtime, device="", hwaddr=MAC.upper().replace(":", "-")), pod)
    assert devices(runtime.host) == {"wire"}
    config = host_device(runtime, device="", hwaddr="0a:00:00:00:00:02")
    assert runtime.call("ADD", config, pod, ifname="net1").code == INVALID_CONFIG


def hardware(runtime: Runtime, below: str, driver: str = "virtio-pci") -> tuple[str, ...]:
    """Return what executes a plugin where sysfs says that dev0 is the device at PCI."""
    root = runtime.directory / "sys"
    bus = root / "bus" / "pci"
    (bus / "devices" / PCI).mkdir(parents=True)
    (bus / "drivers" / driver).mkdir(parents=True)
    (bus / "devices" / PCI / "driver").symlink_to(f"../../drivers/{driver}")
    if below:
        (root / below / "dev0").mkdir(parents=True)
    return ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /sys && exec "$@"', str(root))


@pytest.mark.parametrize(
    ("below", "keys"),
    [
        pytest.param(f"bus/pci/devices/{PCI}/net", {"pciBusID": PCI}, id="PCI"),
        pytest.param(f"bus/pci/devices/{PCI}/virtio3/net", {"pciBusID": PCI}, id="virtio"),
        pytest.param(
            f"bus/pci/devices/{PCI}/net",
            {"pciBusID": "0000:99:00.0", "runtimeConfig": {"deviceID": PCI}},
            id="the runtime's comes first",
        ),
        pytest.param(
            "bus/auxiliary/devices/mlx5_core.sf.4/net",
            {"runtimeConfig": {"deviceID": "mlx5_core.sf.4"}},
            id="auxiliary bus",
        ),
        pytest.param(
            "devices/pci0000:00/0000:00:19.0/net",
            {"kernelpath": "/sys/devices/pci0000:00/0000:00:19.0"},
            id="kernel path",
        ),
    ],
)
def test_by_hardware(below: str, keys: Document, runtime: Runtime, pod: Netns) -> None:
    prefix = hardware(runtime, below)
    config = host_device(runtime, device="", **keys)
    assert runtime.call("STATUS", config, prefix=prefix).code == 0
    result = runtime.add(config, pod, prefix=prefix)
    on_pci = "bus/pci" in below
    assert result["interfaces"][0].get("pciID") == (PCI if on_pci else None)
    assert link_of(pod, "eth0")["ifalias"] == "dev0"
    assert runtime.call("CHECK", with_previous(config, result), pod, prefix=prefix).code == 0
    # DEL needs no sysfs: the hardware may be gone by then.
    assert runtime.call("DEL", host_device(runtime, device=""), pod).code == 0
    assert "dev0" in devices(runtime.host)


@pytest.mark.parametrize("driver", ["vfio-pci", "uio_pci_generic", "igb_uio"])
def test_hardware_that_a_program_drives(driver: str, runtime: Runtime, pod: Netns) -> None:
    prefix = hardware(runtime, "", driver)
    config = with_ipam(runtime, device="", pciBusID=PCI)
    result = runtime.add(config, pod, prefix=prefix)
    assert "interfaces" not in result
    assert [ip["address"] for ip in result["ips"]] == ["10.1.0.2/24", "fd01::2/64"]
    assert devices(pod) == set()
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod, prefix=prefix).code == 0
    assert runtime.call("STATUS", config, prefix=prefix).code == 0
    assert runtime.call("DEL", checked, pod, prefix=prefix).code == 0
    assert runtime.reserved() == set()
    bare = host_device(runtime, device="", pciBusID=PCI)
    assert runtime.add(bare, pod, prefix=prefix) == {"cniVersion": "1.1.0"}


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"pciBusID": "0000:ff:1f.7"}, id="no such hardware"),
        pytest.param({"kernelpath": "/sys/devices/none"}, id="no such path"),
    ],
)
def test_no_such_hardware(keys: Document, runtime: Runtime, pod: Netns) -> None:
    config = host_device(runtime, device="", **keys)
    assert runtime.call("ADD", config, pod).code == INVALID_CONFIG
    assert runtime.call("STATUS", config).code == UNAVAILABLE


@pytest.mark.parametrize(
    "command",
    [
        "addr del 10.1.0.2/24 dev eth0",
        "route del default",
        "link set eth0 down",
        "link set eth0 alias else",
        "link set eth0 mtu 1280",
        "link set eth0 address 0a:00:00:00:00:77",
    ],
)
def test_check_notices(command: str, runtime: Runtime, pod: Netns) -> None:
    config = with_ipam(runtime)
    checked = with_previous(config, runtime.add(config, pod))
    pod.ip(*command.split())
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED


def test_two_devices_of_one_container(runtime: Runtime, pod: Netns) -> None:
    runtime.host.ip("link", "add", "dev1", "type", "veth", "peer", "name", "wire1")
    before = everything(runtime.host)
    one, two = host_device(runtime), host_device(runtime, device="dev1", name="net2")
    runtime.add(one, pod)
    runtime.add(two, pod, ifname="net1")
    assert runtime.call("DEL", one, pod).code == 0
    assert devices(pod) == {"net1"}
    assert runtime.call("DEL", two, pod, ifname="net1").code == 0
    assert everything(runtime.host) == before
    assert "dev1" in devices(runtime.host)


def test_two_containers_at_once(runtime: Runtime, make_netns: MakeNetns) -> None:
    """One gets the device; of the other nothing is left."""
    before = everything(runtime.host)
    pods = [make_netns() for _ in range(4)]
    config = with_ipam(runtime)
    with ThreadPoolExecutor(4) as threads:
        added = threads.map(
            lambda n: runtime.call("ADD", config, pods[n], container_id=f"c{n}").code, range(4)
        )
        assert sorted(map(bool, added)) == [False, True, True, True]
        assert sorted(map(len, map(devices, pods))) == [0, 0, 0, 1]
        assert (len(runtime.reserved()), len(files(runtime))) == (2, 1)
        deleted = threads.map(
            lambda n: runtime.call("DEL", config, pods[n], container_id=f"c{n}").code, range(4)
        )
        assert set(deleted) == {0}
    assert everything(runtime.host) == before
    assert (runtime.reserved(), files(runtime)) == (set(), [])


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


@needs_original
@pytest.mark.parametrize(
    ("version", "make"),
    [
        pytest.param("0.3.1", with_ipam, id="addresses"),
        pytest.param("0.4.0", host_device, id="no IPAM"),
        pytest.param("1.0.0", with_ipam, id="newest that Debian has"),
    ],
)
def test_as_the_original(
    version: str, make: Callable[[Runtime], Document], runtime: Runtime, make_netns: MakeNetns
) -> None:
    config = {**make(runtime), "cniVersion": version}

    def observe(pod: Netns, result: Document) -> object:
        mac = result["interfaces"][0]["mac"]
        return state_of(pod, "eth0"), link_of(pod, "eth0")["ifalias"], mac

    compare_main_plugins(runtime, make_netns, config, observe)


def test_the_example_of_the_manual(runtime: Runtime, pod: Netns) -> None:
    runtime.host.ip("link", "set", "dev0", "down")
    runtime.host.ip("link", "set", "dev0", "name", "ens5")
    config = {**example_of("host-device", runtime), "dataDir": str(runtime.directory / "state")}
    checked = with_previous(config, runtime.add(config, pod))
    assert addresses_of(pod, "eth0") == {"10.60.0.5/24"}
    assert runtime.call("CHECK", checked, pod).code == 0
    assert runtime.call("DEL", checked, pod).code == 0
    assert devices(runtime.host) == {"ens5", "wire"}
