"""The ``dhcp`` executable, with dnsmasq as server: containers come and go by it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from netns.conftest import MakeNetns, Netns, new_netns
from netns.plugins.cni_runtime import (
    REFERENCE,
    Document,
    Runtime,
    addresses_of,
    devices,
    link_of,
    read_example,
    routes_of,
    stable,
    state_of,
    with_previous,
)
from netns.plugins.dhcp.network import (
    NEEDS,
    DaemonPlace,
    Dnsmasq,
    Program,
    address_in,
    attached,
    eventually,
    running,
)
from netns.plugins.originals import needs_original
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, INVALID_NETNS, TRY_AGAIN_LATER

pytestmark = NEEDS


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("plugin", ["macvlan", "bridge"])
def test_a_whole_life(
    plugin: str, runtime: Runtime, pod: Netns, server: Dnsmasq, place: DaemonPlace
) -> None:
    config = attached(place, plugin)
    with server.serving("--dhcp-option=3,10.9.0.1") as dnsmasq:
        assert runtime.call("STATUS", config).code == 0
        result = runtime.add(config, pod)
        address = address_in(result)
        assert result["ips"][0] | {"interface": 0} == {
            "address": f"{address}/24", "gateway": "10.9.0.1", "interface": 0,
        }  # fmt: skip
        assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.9.0.1"}]
        assert addresses_of(pod, "eth0") == {f"{address}/24"}
        # The original's identifier: type 0, container/network/interface.
        assert server.leases()[address][1] == ":".join(f"{byte:02x}" for byte in b"\0c1/net/eth0")
        checked = with_previous(config, result)
        assert runtime.call("CHECK", checked, pod).code == 0
        assert place.kept() == 1

        for _ in range(2):
            assert runtime.call("DEL", checked, pod).code == 0
        eventually(lambda: not server.leases(), "the server has it back")
        assert dnsmasq.said("DHCPRELEASE") == 1
        assert (devices(pod), place.kept()) == (set(), 0)
        assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED


@pytest.mark.usefixtures("daemon")
def test_an_add_that_is_repeated(
    runtime: Runtime, pod: Netns, server: Dnsmasq, place: DaemonPlace
) -> None:
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    pod.ip("link", "set", "other", "netns", runtime.host.name)
    runtime.host.ip("link", "set", "other", "master", "br0", "up")
    config = {**attached(place), "type": "dhcp"}
    with server.serving() as dnsmasq:
        first = runtime.add(config, pod)
        assert link_of(pod, "eth0")["operstate"] == "UP"
        assert runtime.add(config, pod) == first
        assert dnsmasq.said("DHCPDISCOVER(br0)") == 1
        assert runtime.call("CHECK", with_previous(config, first), pod).code == 0
        lying = {**first, "ips": [{"address": "10.9.0.99/24"}]}
        assert runtime.call("CHECK", with_previous(config, lying), pod).code == CHECK_FAILED
        assert runtime.call("CHECK", config, pod).code == INVALID_CONFIG
        # Without namespace: it is still there, and the daemon knows where.
        assert runtime.call("DEL", config).code == 0
        eventually(lambda: dnsmasq.said("DHCPRELEASE"), "a release")


@pytest.mark.usefixtures("daemon")
def test_options(runtime: Runtime, pod: Netns, server: Dnsmasq, place: DaemonPlace) -> None:
    config = attached(
        place,
        request=[{"option": "rfc3442-classless-static-routes"}, {"option": "33"}],
        provide=[
            {"option": "host-name", "fromArg": "K8S_POD_NAME"},
            {"option": "vendor-class-identifier", "value": "podway-test"},
        ],
        priority=77,
    )
    options = (
        "--dhcp-option=3,10.9.0.1",
        "--dhcp-option=33,192.168.7.0,10.9.0.2",
        "--dhcp-option=121,10.20.0.0/16,10.9.0.3,0.0.0.0/0,10.9.0.4",
    )
    with server.serving(*options) as dnsmasq:
        result = runtime.add(config, pod, args="K8S_POD_NAME=web-0")
        assert result["routes"] == [
            {"dst": "10.20.0.0/16", "gw": "10.9.0.3", "priority": 77},
            {"dst": "0.0.0.0/0", "gw": "10.9.0.4", "priority": 77},
        ]
        assert {route.get("metric") for route in routes_of(pod) if "gateway" in route} == {77}
        assert server.leases()[address_in(result)][0] == "web-0"
        assert dnsmasq.said("vendor class: podway-test") >= 1
        assert dnsmasq.said("requested options: 121:classless-static-route, 33:static-route")
        assert dnsmasq.said("requested options: 3:router, 1:netmask")


@pytest.mark.usefixtures("daemon")
def test_no_gateway_if_it_is_suppressed(
    runtime: Runtime, pod: Netns, server: Dnsmasq, place: DaemonPlace
) -> None:
    with server.serving("--dhcp-option=3,10.9.0.1"):
        result = runtime.add(attached(place, suppress=["gateway"]), pod)
    assert "gateway" not in result["ips"][0]
    assert "routes" not in result


@needs_original
@pytest.mark.parametrize("version", ["0.2.0", "1.0.0"])
@pytest.mark.usefixtures("daemon")
def test_as_the_original(
    version: str,
    runtime: Runtime,
    make_netns: MakeNetns,
    server: Dnsmasq,
    place: DaemonPlace,
) -> None:
    original = replace(place, directory=place.directory / "o")
    original.directory.mkdir()
    request = [{"option": "121"}, {"option": "3"}]
    seen = []
    path = str(original.socket)
    with (
        server.serving("--dhcp-option=3,10.9.0.1", "--dhcp-option=33,192.168.7.0,10.9.0.2"),
        running(
            runtime.host,
            original.directory / "log",
            REFERENCE / "dhcp",
            "daemon",
            "-socketpath",
            path,
        ),
    ):
        eventually(original.socket.exists, "the original's daemon listens")
        for reference, where in ((False, place), (True, original)):
            config = {**attached(where, request=request), "cniVersion": version}
            pod = make_netns()
            result = runtime.add(config, pod, reference=reference)
            eventually(lambda: len(server.leases()) == 1, "a lease")
            ((_, identifier),) = server.leases().values()
            seen.append((stable(result), state_of(pod, "eth0"), identifier))
            if version >= "0.4.0":
                checked = with_previous(config, result)
                assert runtime.call("CHECK", checked, pod, reference=reference).code == 0
            assert runtime.call("DEL", config, pod, reference=reference).code == 0
            eventually(lambda: not server.leases(), "a release")
    for result, state, _ in seen:
        # Addresses follow the MAC address.
        for ip in (*result.get("ips", ()), *filter(None, [result.get("ip4")])):
            ip.pop("address", ip.pop("ip", ""))
        state["addresses"].clear()
        for route in state["routes"]:
            route.pop("prefsrc", None)
    assert seen[0] == seen[1]


@pytest.mark.usefixtures("daemon")
def test_del_after_the_namespace(runtime: Runtime, server: Dnsmasq, place: DaemonPlace) -> None:
    config = attached(place)
    with server.serving():
        with new_netns() as pod:
            runtime.add(config, pod)
        for netns in (pod.path, ""):
            assert runtime.call("DEL", config, netns).code == 0
        assert place.kept() == 0


def test_no_server(
    runtime: Runtime, pod: Netns, place: DaemonPlace, command: tuple[Path, str]
) -> None:
    with place.running(*command, "-resendtimeout=300ms") as daemon:
        outcome = runtime.call("ADD", attached(place), pod)
        assert outcome.code == TRY_AGAIN_LATER
        assert "no DHCP server answers" in outcome.msg
        assert (devices(pod), place.kept()) == (set(), 0)
        assert daemon.said("kind=RELEASE") == 0


@pytest.mark.usefixtures("daemon")
def test_a_server_that_comes_late(
    runtime: Runtime, pod: Netns, server: Dnsmasq, place: DaemonPlace, daemon: Program
) -> None:
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(runtime.add, attached(place), pod)
        eventually(lambda: daemon.said("kind=DISCOVER"), "a first message")
        with server.serving():
            assert result.result()["ips"]


@pytest.mark.usefixtures("daemon")
def test_del_while_add_waits(
    runtime: Runtime, pod: Netns, place: DaemonPlace, daemon: Program
) -> None:
    config = attached(place)
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(runtime.call, "ADD", config, pod)
        eventually(lambda: daemon.said("kind=DISCOVER"), "a first message")
        assert runtime.call("DEL", config, pod).code == 0
        assert outcome.result().code == TRY_AGAIN_LATER
    assert devices(pod) == set()


@pytest.mark.usefixtures("daemon")
def test_fifty_at_once(
    runtime: Runtime, make_netns: MakeNetns, server: Dnsmasq, place: DaemonPlace, daemon: Program
) -> None:
    pods = {f"c{number}": make_netns() for number in range(50)}
    config = attached(place)
    with server.serving(), ThreadPoolExecutor(10) as pool:
        results = pool.map(lambda each: runtime.add(config, each[1], container_id=each[0]),
                           pods.items())  # fmt: skip
        assert len({address_in(result) for result in results}) == 50
        assert place.kept() == 50
        # At rest a lease has nothing open.
        assert len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir())) < 20
        ended = pool.map(lambda each: runtime.call("DEL", config, each[1], container_id=each[0]),
                         pods.items())  # fmt: skip
        assert {outcome.code for outcome in ended} == {0}
        eventually(lambda: not server.leases(), "all released")
    assert place.kept() == 0


@pytest.mark.parametrize("calls", ["connect", "sendmsg", "recvfrom"])
@pytest.mark.parametrize("verb", ["ADD", "DEL"])
@pytest.mark.usefixtures("daemon")
def test_killed_at_any_point(  # noqa: PLR0917 - fixtures
    verb: str, calls: str, runtime: Runtime, pod: Netns, place: DaemonPlace, server: Dnsmasq
) -> None:
    config = attached(place)
    collecting = {**config, "cni.dev/valid-attachments": []}
    with server.serving():
        for n in range(1, 30):
            if verb == "DEL":
                runtime.add(config, pod)
            was_killed = runtime.kill(verb, config, pod, calls, n)
            if n % 2:
                assert runtime.call("DEL", config, pod).code == 0
                assert devices(pod) == set()
            assert runtime.call("GC", collecting).code == 0
            assert place.kept() == 0
            pod.exec("sh", "-c", "! ip link show eth0 2>/dev/null || ip link del eth0")
            if not was_killed:
                break
        eventually(lambda: not server.leases(), "all released")
    assert not was_killed


@pytest.mark.usefixtures("daemon")
def test_gc(runtime: Runtime, make_netns: MakeNetns, server: Dnsmasq, place: DaemonPlace) -> None:
    config = attached(place)
    other = {**config, "name": "other"}
    with server.serving() as dnsmasq:
        for container_id in ("c1", "c2"):
            runtime.add(config, make_netns(), container_id=container_id)
        runtime.add(other, make_netns(), container_id="c3")
        valid = [{"containerID": "c2", "ifname": "eth0"}]
        assert runtime.call("GC", {**config, "cni.dev/valid-attachments": valid}).code == 0
        eventually(lambda: dnsmasq.said("DHCPRELEASE"), "a release")
        assert (place.kept(), len(server.leases())) == (2, 2)


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("keys", "code"),
    [
        pytest.param({"ipam": {"type": "dhcp", "request": "3"}}, INVALID_CONFIG, id="request"),
        pytest.param({"ipam": {"type": "dhcp", "provide": [{"option": "53", "value": "x"}]}},
                     INVALID_CONFIG, id="provide"),
        pytest.param({"ipam": {"type": "dhcp", "priority": -1}}, INVALID_CONFIG, id="priority"),
        pytest.param({"name": "../x"}, INVALID_CONFIG, id="name"),
    ],
)  # fmt: skip
def test_bad_input(
    keys: Document, code: int, runtime: Runtime, pod: Netns, place: DaemonPlace
) -> None:
    config = {**attached(place), **keys}
    assert runtime.call("ADD", config, pod).code == code
    assert (devices(pod), place.kept()) == (set(), 0)


@pytest.mark.usefixtures("daemon")
def test_the_hosts_own_namespace(runtime: Runtime, place: DaemonPlace) -> None:
    config = {**attached(place), "type": "dhcp"}
    assert runtime.call("ADD", config, runtime.host).code == INVALID_NETNS


@pytest.mark.usefixtures("daemon")
def test_no_such_interface(runtime: Runtime, pod: Netns, place: DaemonPlace) -> None:
    config = {**attached(place), "type": "dhcp"}
    assert runtime.call("ADD", config, pod).code
    assert runtime.call("ADD", config, pod, ifname="lo").code
    assert place.kept() == 0


@pytest.mark.usefixtures("daemon")
def test_the_example_of_the_manual(
    runtime: Runtime, pod: Netns, server: Dnsmasq, place: DaemonPlace
) -> None:
    runtime.host.ip("link", "set", "up0", "down")
    runtime.host.ip("link", "set", "up0", "name", "eth1", "up")
    config = read_example("dhcp")
    config["ipam"]["daemonSocketPath"] = str(place.socket)
    with server.serving("--dhcp-option=3,10.9.0.1"):
        result = runtime.add(config, pod, args="K8S_POD_NAME=web-0;IgnoreUnknown=1")
        assert server.leases()[address_in(result)][0] == "web-0"
        assert runtime.call("DEL", config, pod, args="IgnoreUnknown=1").code == 0
