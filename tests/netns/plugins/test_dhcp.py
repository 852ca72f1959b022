"""The ``dhcp`` executable and its daemon, with dnsmasq and udhcpd as servers."""

import json
import random
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns, new_netns
from netns.plugins.cni_runtime import (
    REFERENCE,
    Document,
    Runtime,
    addresses_of,
    config_of,
    devices,
    link_of,
    routes_of,
    stable,
    state_of,
    with_previous,
)
from netns.plugins.dhcp_network import (
    DNSMASQ,
    UDHCPD,
    DaemonPlace,
    Dnsmasq,
    Program,
    eventually,
    make_link,
    running,
    udhcpd,
)
from netns.plugins.originals import needs_original
from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    INVALID_NETNS,
    TRY_AGAIN_LATER,
    UNAVAILABLE,
)
from podway.cni.frames import FrameBuffer, decode_response, encode_request
from podway.netlink import entered

pytestmark = [
    pytest.mark.kernel("macvlan"),
    pytest.mark.skipif(not DNSMASQ.exists(), reason="needs dnsmasq-base"),
]

# Of leases that are to be renewed within the test, after half of that. dnsmasq's last 2 minutes.
SHORT_LEASE_S = 2


MANUAL = Path(__file__).parents[3] / "docs" / "reference" / "cni" / "dhcp.md"

needs_udhcpd = pytest.mark.skipif(not UDHCPD.exists(), reason="needs udhcpd")


@pytest.fixture(autouse=True)
def _link(runtime: Runtime) -> None:
    make_link(runtime.host)


@pytest.fixture
def server(runtime: Runtime, tmp_path: Path) -> Dnsmasq:
    return Dnsmasq(runtime.host, tmp_path)


@pytest.fixture
def place(runtime: Runtime, run_directory: Path) -> DaemonPlace:
    return DaemonPlace(runtime.host, run_directory)


@pytest.fixture
def command(executables: Path) -> tuple[Path, str]:
    return executables / "dhcp", "daemon"


@pytest.fixture
def daemon(place: DaemonPlace, command: tuple[Path, str]) -> Iterator[Program]:
    with place.running(*command) as program:
        yield program


def dhcp(place: DaemonPlace, **keys: Any) -> Document:
    return {"type": "dhcp", "daemonSocketPath": str(place.socket), **keys}


def attached(place: DaemonPlace, plugin: str = "macvlan", **ipam: Any) -> Document:
    """Return the configuration of a main plugin with addresses by DHCP."""
    keys = {"macvlan": {"master": "up0"}, "bridge": {"bridge": "br0"}}[plugin]
    return config_of(plugin, ipam=dhcp(place, **ipam), **keys)


def address_in(result: Document) -> str:
    address: str = result["ips"][0]["address"]
    return address.partition("/")[0]


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


def test_a_daemon_that_dies_and_comes_back(
    runtime: Runtime,
    make_netns: MakeNetns,
    server: Dnsmasq,
    place: DaemonPlace,
    command: tuple[Path, str],
) -> None:
    pods = [make_netns() for _ in range(3)]
    config = attached(place)
    with server.serving() as dnsmasq:
        with place.running(*command) as first:
            results = [
                runtime.add(config, pod, container_id=f"c{number}")
                for number, pod in enumerate(pods)
            ]
            first.kill()
        leases = server.leases()
        requests = dnsmasq.said("DHCPREQUEST(br0)")
        with place.running(*command) as second:
            eventually(lambda: second.said("bound") == 3, "all confirmed")
            assert dnsmasq.said("DHCPREQUEST(br0)") == requests + 3
            assert second.said("kind=DISCOVER") == 0
            assert server.leases().keys() == leases.keys()
            for number, (pod, result) in enumerate(zip(pods, results, strict=True)):
                checked = with_previous(config, result)
                for verb in ("CHECK", "DEL"):
                    outcome = runtime.call(verb, checked, pod, container_id=f"c{number}")
                    assert outcome.code == 0
            eventually(lambda: not server.leases(), "all released")
            assert second.end() == 0
    assert place.kept() == 0
    assert not place.socket.exists()


def test_what_is_gone_when_the_daemon_comes_back(
    runtime: Runtime, server: Dnsmasq, place: DaemonPlace, command: tuple[Path, str]
) -> None:
    config = attached(place)
    with server.serving():
        with place.running(*command), new_netns() as pod:
            runtime.add(config, pod)
            path = pod.path
            assert place.kept() == 1
        (place.state / f"{'0' * 32}.json").write_text("{")
        with place.running(*command) as second:
            eventually(lambda: second.said("abandoned"), "the lease is given up")
            assert place.kept() == 0
            assert runtime.call("DEL", config, path).code == 0


@needs_udhcpd
def test_renewal_before_and_after_a_restart(
    runtime: Runtime, pod: Netns, place: DaemonPlace, command: tuple[Path, str]
) -> None:
    config = attached(place, "bridge")
    with udhcpd(runtime.host, place.directory, SHORT_LEASE_S):
        with place.running(*command) as first:
            result = runtime.add(config, pod)
            eventually(lambda: first.said("bound") >= 2, "a renewal")
            assert first.said("kind=DISCOVER") == 1
            first.kill()
        with place.running(*command) as second:
            eventually(lambda: second.said("bound") >= 2, "confirmed and renewed")
            assert second.said("kind=DISCOVER") == 0
            assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
            assert runtime.call("DEL", config, pod).code == 0
            assert second.said("kind=RELEASE") == 1


@needs_udhcpd
def test_the_daemon_keeps_no_namespace_alive(
    runtime: Runtime, place: DaemonPlace, daemon: Program
) -> None:
    config = attached(place, "bridge")
    with udhcpd(runtime.host, place.directory, SHORT_LEASE_S):
        with new_netns() as pod:
            runtime.add(config, pod)
            before = devices(runtime.host)
        # The namespace ends, and with it the pair whose other end is here.
        eventually(lambda: len(devices(runtime.host)) == len(before) - 1, "the pair is gone")
        eventually(lambda: daemon.said("abandoned"), "the lease is given up")
        assert place.kept() == 0
        assert runtime.call("DEL", config, pod.path).code == 0


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


def test_a_server_that_refuses(
    runtime: Runtime, pod: Netns, server: Dnsmasq, place: DaemonPlace, command: tuple[Path, str]
) -> None:
    config = attached(place)
    with place.running(*command) as first, server.serving():
        result = runtime.add(config, pod)
        address = address_in(result)
        first.kill()
    # It has forgotten the lease, and gives other addresses now.
    (server.directory / "leases").unlink()
    # For as long as an answer may take the same address may come again.
    patient = (*command, "-timeout=60s")
    with server.serving(first=10, last=20) as other, place.running(*patient) as second:
        eventually(lambda: other.said("DHCPNAK"), "a refusal")
        eventually(lambda: other.said("DHCPOFFER(br0)"), "an offer of another address")
        assert second.said("bound") == 0
        assert addresses_of(pod, "eth0") == {f"{address}/24"}
        other.kill()
        with server.serving():
            eventually(lambda: second.said("bound"), "the same address again")
            assert address in server.leases()
            assert runtime.call("CHECK", with_previous(config, result), pod).code == 0


def test_a_server_that_goes_on_refusing(
    runtime: Runtime, pod: Netns, server: Dnsmasq, place: DaemonPlace, command: tuple[Path, str]
) -> None:
    """Then the address is not the container's any more, and it has none."""
    config = attached(place)
    with place.running(*command) as first, server.serving():
        result = runtime.add(config, pod)
        first.kill()
    (server.directory / "leases").unlink()
    with server.serving(first=10, last=20), place.running(*command, "-timeout=1s") as second:
        eventually(lambda: second.said("expired"), "the address is given up")
        eventually(lambda: link_of(pod, "eth0")["operstate"] == "DOWN", "the interface goes down")
        eventually(lambda: place.kept() == 0, "the lease is forgotten")
        outcome = runtime.call("CHECK", {**with_previous(config, result), "type": "dhcp"}, pod)
        assert (outcome.code, "has run out" in outcome.msg) == (CHECK_FAILED, True)
        assert runtime.call("DEL", config, pod).code == 0


def test_an_address_that_somebody_has(
    runtime: Runtime,
    make_netns: MakeNetns,
    server: Dnsmasq,
    place: DaemonPlace,
    command: tuple[Path, str],
) -> None:
    pod, squatter = make_netns(), make_netns()
    runtime.host.ip("link", "add", "port", "type", "veth", "peer", "name", "eth0")
    runtime.host.ip("link", "set", "port", "master", "br0", "up")
    runtime.host.ip("link", "set", "eth0", "netns", squatter.name)
    squatter.ip("addr", "add", "10.9.0.100/24", "dev", "eth0")
    squatter.ip("link", "set", "eth0", "up")
    mac = link_of(squatter, "eth0")["address"]
    config = attached(place)
    with (
        server.serving(first=100, last=100) as dnsmasq,
        place.running(*command, more=("-probetime=10s",)) as daemon,
        ThreadPoolExecutor(1) as pool,
    ):
        outcome = pool.submit(runtime.call, "ADD", config, pod)
        eventually(lambda: dnsmasq.said("DHCPDECLINE"), "the server hears of it")
        assert daemon.said(f"address=10.9.0.100 by={mac}") == 1
        assert daemon.said("bound") == 0
        assert runtime.call("DEL", config, pod).code == 0
        assert outcome.result().code == TRY_AGAIN_LATER
        assert (devices(pod), place.kept(), server.leases()) == (set(), 0, {})


@needs_udhcpd
def test_a_lease_that_runs_out(
    runtime: Runtime, pod: Netns, place: DaemonPlace, daemon: Program, tmp_path: Path
) -> None:
    config = attached(place)
    with udhcpd(runtime.host, tmp_path, SHORT_LEASE_S):
        result = runtime.add(config, pod)
        eventually(lambda: daemon.said("bound") >= 2, "a renewal")
        assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    eventually(lambda: daemon.said("expired"), "the lease runs out")
    eventually(lambda: link_of(pod, "eth0")["operstate"] == "DOWN", "the interface goes down")
    eventually(lambda: place.kept() == 0, "the lease is forgotten")
    outcome = runtime.call("CHECK", {**with_previous(config, result), "type": "dhcp"}, pod)
    assert (outcome.code, "has run out" in outcome.msg) == (CHECK_FAILED, True)
    assert runtime.call("DEL", config, pod).code == 0
    with udhcpd(runtime.host, tmp_path, lease_s=60):
        assert runtime.add(config, pod)["ips"]


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


def test_without_daemon(runtime: Runtime, pod: Netns, place: DaemonPlace) -> None:
    config = {**attached(place), "type": "dhcp"}
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    assert runtime.call("STATUS", config).code == UNAVAILABLE
    with ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(lambda command: runtime.call(command, config, pod), ("ADD", "DEL"))
    for outcome in outcomes:
        assert outcome.code == TRY_AGAIN_LATER
        # What containerd would take for a container that is not there.
        assert "not found" not in outcome.msg
        assert "no such file" not in outcome.msg.lower()


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


def ask(place: DaemonPlace, *frames: bytes, descriptors: tuple[int, ...] = ()) -> bytes:
    """Send bytes to the daemon, with *descriptors*; return what it answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(10)
        link.connect(str(place.socket))
        for frame in frames:
            socket.send_fds(link, [frame], list(descriptors))
        link.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            return b"".join(iter(lambda: link.recv(65536), b""))
        return b""


@pytest.mark.usefixtures("daemon")
def test_what_is_no_request(runtime: Runtime, pod: Netns, place: DaemonPlace) -> None:
    config = {**attached(place), "type": "dhcp"}
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": pod.path,
        "CNI_IFNAME": "eth0",
    }
    whole = encode_request(environment, json.dumps(config))
    rng = random.Random(7)
    bad = [b"", b"\0" * 4, b"\xff" * 8, whole[:50], whole + b"x", rng.randbytes(200)]
    bad += [bytes([*(10).to_bytes(4, "big"), *rng.randbytes(10)]) for _ in range(20)]
    for frame in bad:
        ask(place, frame)
    # ADD without namespace, with two, and with what is none.
    with (runtime.directory / "file").open("w") as file:
        for descriptors in ((), (pod.fd, pod.fd), (file.fileno(),)):
            payload = FrameBuffer(1 << 20).feed(ask(place, whole, descriptors=descriptors))
            assert payload is not None
            code, _ = decode_response(payload)
            assert code == 1
    assert runtime.call("STATUS", config).code == 0


def spray(host: Netns, packets: list[bytes]) -> None:
    """Send *packets* from a server's port to every client on the link."""
    with entered(host.fd):
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"br0")
        link.bind(("10.9.0.1", 67))
        for packet in packets:
            link.sendto(packet, ("255.255.255.255", 68))


@pytest.mark.usefixtures("daemon")
def test_malformed_packets(
    runtime: Runtime, pod: Netns, server: Dnsmasq, place: DaemonPlace, daemon: Program
) -> None:
    rng = random.Random(11)
    head = struct.pack("!BBBB", 2, 1, 6, 0)
    packets = [rng.randbytes(rng.randrange(0, 700)) for _ in range(100)]
    packets += [
        head + rng.randbytes(232) + b"\x63\x82\x53\x63" + rng.randbytes(rng.randrange(0, 300))
        for _ in range(200)
    ]
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(runtime.add, attached(place), pod)
        eventually(lambda: daemon.said("kind=DISCOVER"), "a first message")
        spray(runtime.host, packets)
        eventually(lambda: daemon.said("not understood") > 50, "the daemon reads them")
        with server.serving():
            assert result.result()["ips"]
    assert daemon.said("Traceback") == 0


@pytest.mark.parametrize(
    "make_command",
    [
        pytest.param(lambda path: (path / "dhcp", "daemon"), id="the executable"),
        pytest.param(lambda _: (sys.executable, "-m", "podway.cli", "dhcp"), id="podway dhcp"),
    ],
)
def test_ways_to_start(
    make_command: Callable[[Path], tuple[str | Path, ...]],
    executables: Path,
    runtime: Runtime,
    place: DaemonPlace,
) -> None:
    pidfile = place.directory / "pid"
    with place.running(*make_command(executables), "-pidfile", str(pidfile)) as program:
        assert pidfile.read_text() == str(program.process.pid)
        assert place.socket.stat().st_mode & 0o777 == 0o600
        assert runtime.call("STATUS", attached(place)).code == 0
        assert program.end() == 0
    assert not pidfile.exists()
    assert not place.socket.exists()


# Does what systemd does for a socket unit: descriptor 3 listens (sd_listen_fds(3)).
ACTIVATION = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_a_socket_of_systemds(
    runtime: Runtime, place: DaemonPlace, command: tuple[Path, str]
) -> None:
    activation = (sys.executable, "-c", ACTIVATION, str(place.socket))
    with place.running(*activation, *command) as program:
        assert runtime.call("STATUS", attached(place)).code == 0
        assert program.end() == 0
    # The socket is systemd's: calls wait there for the next daemon.
    assert place.socket.exists()


def test_a_host_prefix(
    runtime: Runtime,
    pod: Netns,
    place: DaemonPlace,
    command: tuple[Path, str],
) -> None:
    """The daemon sees the host's files elsewhere, as in a container."""
    prefix = place.directory / "host"
    prefix.symlink_to("/")
    with (
        udhcpd(runtime.host, place.directory, SHORT_LEASE_S),
        place.running(*command, "-hostprefix", str(prefix)) as program,
    ):
        runtime.add(attached(place), pod)
        eventually(lambda: program.said("bound") >= 2, "a renewal, by the path")
        assert place.kept() == 1


@pytest.mark.usefixtures("daemon")
def test_the_example_of_the_manual(
    runtime: Runtime, pod: Netns, server: Dnsmasq, place: DaemonPlace
) -> None:
    runtime.host.ip("link", "set", "up0", "down")
    runtime.host.ip("link", "set", "up0", "name", "eth1", "up")
    _, _, behind = MANUAL.read_text(encoding="utf-8").partition("```json\n")
    config = json.loads(behind.partition("```")[0])
    config["ipam"]["daemonSocketPath"] = str(place.socket)
    with server.serving("--dhcp-option=3,10.9.0.1"):
        result = runtime.add(config, pod, args="K8S_POD_NAME=web-0;IgnoreUnknown=1")
        assert server.leases()[address_in(result)][0] == "web-0"
        assert runtime.call("DEL", config, pod, args="IgnoreUnknown=1").code == 0
