"""Leases over time: renewed, refused, taken by somebody else, run out, and after a restart."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from netns.conftest import MakeNetns, Netns, new_netns
from netns.plugins.cni_runtime import Runtime, addresses_of, devices, link_of, with_previous
from netns.plugins.dhcp.network import (
    NEEDS,
    SHORT_LEASE_S,
    DaemonPlace,
    Dnsmasq,
    Program,
    address_in,
    attached,
    eventually,
    needs_udhcpd,
    udhcpd,
)
from podway.cni.errors import CHECK_FAILED, TRY_AGAIN_LATER

pytestmark = NEEDS


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
