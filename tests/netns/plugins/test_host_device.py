"""The ``host-device`` executable, and the same configuration through the original."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Outcome,
    Runtime,
    addresses_of,
    devices,
    example_of,
    link_of,
    state_of,
    with_previous,
)
from netns.plugins.host_devices import MAC, everything, files, host_device, with_ipam
from netns.plugins.originals import compare_main_plugins, needs_original
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE, UNAVAILABLE

pytestmark = pytest.mark.usefixtures("dev0")


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


def test_one_gives_back_what_another_takes(runtime: Runtime, make_netns: MakeNetns) -> None:
    """ADDs that find the device on its way home must not note a host without its addresses."""
    before = everything(runtime.host)
    pods = [make_netns() for _ in range(2)]
    config = with_ipam(runtime)

    def live(n: int) -> None:
        told = (config, pods[n % 2])
        added = runtime.call("ADD", *told, container_id=f"c{n % 2}").code
        assert added in {0, IO_FAILURE, INVALID_CONFIG}
        assert runtime.call("DEL", *told, container_id=f"c{n % 2}").code == 0

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(live, range(16)))
    assert everything(runtime.host) == before
    assert (runtime.reserved(), files(runtime)) == (set(), [])


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
