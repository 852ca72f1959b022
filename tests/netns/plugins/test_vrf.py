"""The ``vrf`` executable behind ``ptp``, and the original beside it."""

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    addresses_of,
    config_of,
    devices,
    link_of,
    with_previous,
    without_waiting,
)
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.originals import needs_original
from netns.plugins.routing_tables import routes_in
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE
from podway.netlink import entered

pytestmark = pytest.mark.kernel("vrf")


@pytest.fixture
def pod(make_netns: MakeNetns) -> Netns:
    """Return a container's namespace."""
    return without_waiting(make_netns())


def vrf(**keys: Any) -> Document:
    return config_of("vrf", **{"vrfname": "blue", **keys})


def ptp(runtime: Runtime) -> Document:
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.9.0.0/16", "priority": 7}]
    return config_of("ptp", ipam=runtime.ipam("10.1.0.0/24", "fd01::/64", routes=routes))


def routes(netns: Netns, table: str) -> set[tuple[str, ...]]:
    """Return the routes of a table, but for the kernel's own."""
    return {each for each in routes_in(netns, table) if not each[0].startswith(("fe80", "ff"))}


def table_of(netns: Netns, name: str) -> int:
    table: int = link_of(netns, name)["linkinfo"]["info_data"]["table"]
    return table


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    config = vrf()
    previous = runtime.add(ptp(runtime), pod)
    addresses, before = addresses_of(pod, "eth0"), routes(pod, "main")
    assert len(before) > 5
    assert runtime.call("STATUS", config).code == 0
    result = runtime.add(with_previous(config, previous), pod)
    assert result == previous
    assert link_of(pod, "eth0")["master"] == "blue"
    assert (table_of(pod, "blue"), "UP" in link_of(pod, "blue")["flags"]) == (1, True)
    assert addresses_of(pod, "eth0") == addresses
    assert routes(pod, "main") == set()
    assert routes(pod, "1") == before
    for plugin in (ptp(runtime), config):
        assert runtime.call("CHECK", with_previous(plugin, result), pod).code == 0
    for _ in range(2):
        assert runtime.call("DEL", with_previous(config, result), pod).code == 0
        assert devices(pod) == {"eth0"}
        assert "master" not in link_of(pod, "eth0")
    assert runtime.call("DEL", with_previous(ptp(runtime), result), pod).code == 0


@pytest.mark.parametrize(
    "damage",
    [
        "ip link set eth0 nomaster",
        "ip link set blue down",
        "ip link del blue",
        "ip route del default vrf blue",
        "ip -6 addr flush dev eth0",
        "ip link set eth0 down",
        "ip link del eth0",
    ],
)
def test_check_sees(runtime: Runtime, pod: Netns, damage: str) -> None:
    result = runtime.add(with_previous(vrf(), runtime.add(ptp(runtime), pod)), pod)
    pod.exec("sh", "-ec", damage)
    checked = with_previous(vrf(), result)
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert "blue" not in devices(pod)


def test_several_interfaces_and_vrfs(runtime: Runtime, pod: Netns) -> None:
    names = {"eth0": "blue", "eth1": "blue", "eth2": "red"}
    for ifname, name in names.items():
        previous = runtime.add(ptp(runtime), pod, ifname=ifname)
        runtime.add(with_previous(vrf(vrfname=name), previous), pod, ifname=ifname)
    assert (table_of(pod, "blue"), table_of(pod, "red")) == (1, 2)
    assert runtime.call("DEL", vrf(), pod, ifname="eth0").code == 0
    assert devices(pod) == {"blue", "red", *names}
    assert runtime.call("DEL", vrf(), pod, ifname="eth1").code == 0
    assert devices(pod) == {"red", *names}


def test_many_at_once(runtime: Runtime, pod: Netns) -> None:
    names = [f"eth{n}" for n in range(6)]
    previous = {name: runtime.add(ptp(runtime), pod, ifname=name) for name in names}

    def add(ifname: str) -> None:
        config = vrf(vrfname=f"vrf{int(ifname[-1]) // 2}")
        runtime.add(with_previous(config, previous[ifname]), pod, ifname=ifname)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, names))
    assert {link_of(pod, name)["master"] for name in names} == {"vrf0", "vrf1", "vrf2"}
    assert {table_of(pod, f"vrf{n}") for n in range(3)} == {1, 2, 3}


def test_a_table_of_the_configuration(runtime: Runtime, pod: Netns) -> None:
    previous = runtime.add(ptp(runtime), pod)
    before = routes(pod, "main")
    config = vrf(table=5001)
    result = runtime.add(with_previous(config, previous), pod)
    assert routes(pod, "5001") == before
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    assert runtime.call("CHECK", with_previous(vrf(table=7), result), pod).code == CHECK_FAILED
    second = runtime.add(ptp(runtime), pod, ifname="eth1")
    outcome = runtime.call("ADD", with_previous(vrf(table=7), second), pod, ifname="eth1")
    assert outcome.code == INVALID_CONFIG
    assert "master" not in link_of(pod, "eth1")


@pytest.mark.parametrize(
    ("preparation", "code"),
    [
        pytest.param("ip link add blue type bridge", INVALID_CONFIG, id="no vrf"),
        pytest.param(
            "ip link add br0 type bridge; ip link set eth0 master br0", IO_FAILURE, id="elsewhere"
        ),
        pytest.param("ip link del eth0", IO_FAILURE, id="no interface"),
    ],
)
def test_a_failed_add_leaves_nothing(
    runtime: Runtime, pod: Netns, preparation: str, code: int
) -> None:
    previous = runtime.add(ptp(runtime), pod)
    pod.exec("sh", "-ec", preparation)
    before = devices(pod), routes(pod, "main")
    assert runtime.call("ADD", with_previous(vrf(), previous), pod).code == code
    assert (devices(pod), routes(pod, "main")) == before
    assert runtime.call("DEL", vrf(), pod).code == 0
    assert devices(pod) == before[0]


def test_what_cannot_be_moved_comes_back(runtime: Runtime, pod: Netns) -> None:
    previous = runtime.add(ptp(runtime), pod)
    # A source in another domain than the interface will be in.
    pod.ip("addr", "add", "fd99::1/128", "dev", "lo")
    pod.ip("route", "add", "fd98::/64", "dev", "eth0", "src", "fd99::1")
    before = addresses_of(pod, "eth0"), routes(pod, "main")
    assert runtime.call("ADD", with_previous(vrf(), previous), pod).code == IO_FAILURE
    assert (addresses_of(pod, "eth0"), routes(pod, "main")) == before
    assert devices(pod) == {"eth0"}


def test_del_without_namespace(runtime: Runtime) -> None:
    for netns in ("", "/nothing/there"):
        assert runtime.call("DEL", vrf(), netns).code == 0
    assert runtime.call("GC", {**vrf(), "cni.dev/valid-attachments": []}).code == 0


def test_packets_find_their_way(runtime: Runtime, pod: Netns) -> None:
    previous = runtime.add(ptp(runtime), pod)
    runtime.add(with_previous(vrf(), previous), pod)
    for family, address in ((socket.AF_INET, "10.1.0.2"), (socket.AF_INET6, "fd01::2")):
        with entered(pod.fd):
            listener = socket.socket(family)
        with entered(runtime.host.fd):
            caller = socket.socket(family)
        with listener, caller:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"blue")
            listener.bind((address, 0))
            listener.listen()
            caller.settimeout(10)
            caller.connect((address, listener.getsockname()[1]))


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_any_point(runtime: Runtime, pod: Netns, command: str) -> None:
    victim = Victim(runtime, pod, (ptp(runtime), vrf()), number=1, more=lambda: devices(pod))
    # Each takes seconds under User Mode Linux.
    kill_everywhere(victim, command, sample=2, records=1)


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_previous_results_of_every_version(runtime: Runtime, pod: Netns, version: str) -> None:
    previous = runtime.add({**ptp(runtime), "cniVersion": version}, pod)
    result = runtime.add({**with_previous(vrf(), previous), "cniVersion": version}, pod)
    assert result == previous


@needs_original
def test_as_the_original(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = {**vrf(table=77), "cniVersion": "1.0.0"}
    seen = []
    for reference in (False, True):
        pod = without_waiting(make_netns())
        previous = runtime.add({**ptp(runtime), "cniVersion": "1.0.0"}, pod)
        result = runtime.add(with_previous(config, previous), pod, reference=reference)
        link = link_of(pod, "eth0")
        seen.append((link["master"], table_of(pod, "blue"), addresses_of(pod, "eth0")))
        checked = with_previous(config, result)
        assert runtime.call("CHECK", checked, pod, reference=not reference).code in {
            0,
            # Debian's version loses the routes, and does not look for them.
            CHECK_FAILED if reference else 0,
        }
        assert runtime.call("DEL", config, pod, reference=not reference).code == 0
        assert devices(pod) == {"eth0"}
        assert runtime.call("DEL", ptp(runtime), pod).code == 0
        for last in runtime.directory.glob("net/*"):
            last.unlink()
    assert seen[0] == seen[1]
