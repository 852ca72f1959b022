"""The ``bridge`` executable: what it makes, with the original as witness, CHECK and STATUS."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.bridge_network import FOUR, MAC, SIX, bridge, nat_rules, ruleset
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    addresses_of,
    connect,
    devices,
    example_of,
    link_of,
    stable,
    state_of,
    with_previous,
    without_waiting,
)
from netns.plugins.originals import each_first, needs_original
from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    IO_FAILURE,
    LIMITED_CONNECTIVITY,
    UNAVAILABLE,
)

# An announcement takes microseconds; nothing else would correct an entry that nobody uses.
HEARD_WITHIN_S = 10


@pytest.fixture
def make_runtime(
    make_netns: MakeNetns, executables: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Runtime]:
    """Return a function that makes one more host."""
    return lambda: Runtime(make_netns(), executables, tmp_path_factory.mktemp("data"))


def host_state(netns: Netns) -> Document:
    """Return what the host's namespace holds of a network, without what is random."""
    link = link_of(netns, "br0")
    ports = json.loads(netns.exec("bridge", "-j", "-d", "link"))
    settings = ("state", "hairpin", "isolated", "guard", "learning", "flood")
    return {
        "is_up": "UP" in link["flags"],
        "promisc": link["promiscuity"],
        "mtu": link["mtu"],
        "addresses": addresses_of(netns, "br0"),
        "ports": [{key: port[key] for key in settings if key in port} for port in ports],
        "nat": nat_rules(netns),
        "forwarding": netns.exec("sysctl", "-n", "net.ipv4.ip_forward"),
        "accept_ra": netns.exec("sysctl", "-n", "net.ipv6.conf.br0.accept_ra"),
    }


CASES: dict[str, Document] = {
    "a gateway that masquerades": {"isGateway": True, "ipMasq": True},
    "the default gateway": {"isDefaultGateway": True, "hairpinMode": True},
    "no gateway, promiscuous": {"promiscMode": True, "mtu": 1400},
    "layer 2 alone": {"ipam": {}},
    "dns of the configuration": {"isGateway": True, "dns": {"nameservers": ["192.0.2.53"]}},
}


@needs_original
@pytest.mark.parametrize("case", CASES)
def test_the_same_as_the_original(
    case: str, make_runtime: Callable[[], Runtime], make_netns: MakeNetns
) -> None:
    found = []
    for reference in (True, False):
        runtime, pod = make_runtime(), without_waiting(make_netns())
        config = {**bridge(runtime, **CASES[case]), "cniVersion": "1.0.0"}
        result = runtime.add(config, pod, reference=reference)
        state = state_of(pod, "eth0")
        state["sysctls"] = [
            pod.exec("cat", f"/proc/sys/net/{path}")
            for path in ("ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/accept_dad")
        ]
        for key in ("link", "link_index"):
            state["link"].pop(key, None)
        found.append((stable(result), state, host_state(runtime.host)))
    theirs, ours = found
    assert ours == theirs


@needs_original
@each_first
def test_one_adds_and_the_other_deletes(
    ours_first: bool,  # noqa: FBT001
    runtime: Runtime,
    pod: Netns,
) -> None:
    config = {**bridge(runtime, isGateway=True, ipMasq=True), "cniVersion": "1.0.0"}
    result = runtime.add(config, pod, reference=not ours_first)
    assert nat_rules(runtime.host)
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod, reference=ours_first).code == 0
    assert runtime.call("DEL", checked, pod, reference=ours_first).code == 0
    assert (devices(pod), devices(runtime.host)) == (set(), {"br0"})
    assert nat_rules(runtime.host) == []
    assert runtime.reserved() == set()


def test_add_check_del_dual_stack(runtime: Runtime, pod: Netns) -> None:
    config = bridge(
        runtime, FOUR, SIX, isDefaultGateway=True, ipMasq=True, hairpinMode=True, mtu=1400,
        portIsolation=True, macspoofchk=True, runtimeConfig={"mac": MAC},
    )  # fmt: skip
    assert runtime.call("STATUS", config).code == 0
    result = runtime.add(config, pod)
    device, port, inner = result["interfaces"]
    assert (device["name"], device["mtu"]) == ("br0", 1400)
    assert device["mac"] == link_of(runtime.host, "br0")["address"]
    host_link = link_of(runtime.host, port["name"])
    assert (port["mac"], host_link["ifalias"]) == (host_link["address"], "cni:net/c1/eth0")
    settings = host_link["linkinfo"]["info_slave_data"]
    assert (settings["hairpin"], settings["isolated"]) == (True, True)
    assert inner == {"name": "eth0", "mac": MAC, "mtu": 1400, "sandbox": pod.path}
    assert [ip["interface"] for ip in result["ips"]] == [2, 2]
    assert [route["dst"] for route in result["routes"]] == ["0.0.0.0/0", "::/0"]
    assert addresses_of(pod, "eth0") == {"10.1.0.2/24", "fd01::2/64"}
    assert addresses_of(runtime.host, "br0") == {"10.1.0.1/24", "fd01::1/64"}
    connect(runtime.host, pod, "10.1.0.2")
    connect(pod, runtime.host, "fd01::1")
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    again = runtime.call("ADD", config, pod)
    assert again.code == IO_FAILURE
    assert runtime.call("CHECK", checked, pod).code == 0, "a second ADD takes nothing away"
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert (devices(pod), devices(runtime.host)) == (set(), {"br0"})
        assert "c1" not in ruleset(runtime.host)
        assert nat_rules(runtime.host) == []
        assert runtime.reserved() == set()


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.1", "0.4.0"])
def test_old_versions(version: str, runtime: Runtime, pod: Netns) -> None:
    config = {**bridge(runtime, isGateway=True, ipMasq=True), "cniVersion": version}
    result = runtime.add(config, pod)
    assert result["cniVersion"] == version
    first = result["ip4"]["ip"] if version < "0.3.0" else result["ips"][0]["address"]
    assert first == "10.1.0.2/24"
    assert runtime.call("DEL", config, pod).code == 0
    assert nat_rules(runtime.host) == []
    assert (devices(pod), runtime.reserved()) == (set(), set())


def test_a_port_has_no_ipv6_of_its_own(runtime: Runtime, make_netns: MakeNetns) -> None:
    """And bridges that of others, also where netfilter sees what is bridged."""
    nf_call = Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
    if nf_call.exists():
        runtime.host.exec("sysctl", "-qw", "net.bridge.bridge-nf-call-ip6tables=1")
    pods = [make_netns() for _ in range(2)]
    for number, pod in enumerate(pods):
        config = bridge(runtime, SIX, isGateway=True)
        result = runtime.add(config, pod, container_id=f"c{number}")
        port = result["interfaces"][1]["name"]
        assert runtime.host.ip("-6", "address", "show", "dev", port) == ""
        assert runtime.host.ip("-6", "route", "show", "table", "all", "dev", port) == ""
    connect(pods[0], pods[1], "fd01::3")
    connect(pods[0], runtime.host, "fd01::1")


def test_neighbours_hear_who_has_an_address_now(runtime: Runtime, make_netns: MakeNetns) -> None:
    """Who remembers another owner, on the bridge or behind it, need not find out by himself."""
    first, second = make_netns(), make_netns()
    config = bridge(runtime, FOUR, SIX, isGateway=True)
    runtime.add(config, first, container_id="c1")
    places = [(first, "eth0"), (runtime.host, "br0")]
    for address in ("10.1.0.3", "fd01::3"):
        for netns, device in places:
            old = ("lladdr", "02:00:00:00:00:99", "nud", "stale")
            netns.ip("neigh", "replace", address, "dev", device, *old)
    result = runtime.add(config, second, container_id="c2")
    mac = result["interfaces"][2]["mac"]
    for address in ("10.1.0.3", "fd01::3"):
        for netns, device in places:
            await_neighbour(netns, device, address, mac)


def await_neighbour(netns: Netns, device: str, address: str, mac: str) -> None:
    """Wait until the neighbour with *address* is known by *mac*."""
    deadline = time.monotonic() + HEARD_WITHIN_S
    while True:
        found = json.loads(netns.ip("-j", "neigh", "show", address, "dev", device))
        if found[0]["lladdr"] == mac:
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def test_spoofed_frames_are_dropped(runtime: Runtime, make_netns: MakeNetns) -> None:
    pods = [make_netns() for _ in range(2)]
    config = bridge(runtime, isGateway=True, macspoofchk=True)
    for number, pod in enumerate(pods):
        runtime.add(config, pod, container_id=f"c{number}")
    connect(pods[0], pods[1], "10.1.0.3")
    pods[0].ip("link", "set", "eth0", "address", "0a:00:00:00:00:99")
    pods[0].ip("neigh", "flush", "dev", "eth0")
    reached = pods[0].exec("sh", "-c", "ping -c 1 -W 1 10.1.0.3 >/dev/null && echo yes || echo no")
    assert reached == "no\n"
    assert "cni-br-iface-c0-eth0-mac" in ruleset(runtime.host)


# What is run: in the container, or on the host, {} being the host's end of the pair.
INSIDE = {
    "address": "ip addr flush dev eth0 scope 0",
    "route": "ip route del default",
    "link down": "ip link set eth0 down",
    "MAC": f"ip link set eth0 address {MAC}",
    "MTU": "ip link set eth0 mtu 1300",
}


OUTSIDE = {
    "port off the bridge": "ip link set {} nomaster",
    "port down": "ip link set {} down",
    "port's MTU": "ip link set {} mtu 1300",
    "hairpin": "bridge link set dev {} hairpin off",
    "isolation": "bridge link set dev {} isolated off",
    "bridge down": "ip link set br0 down",
    "bridge's address": "ip addr flush dev br0 scope 0",
    "bridge's MAC": f"ip link set br0 address {MAC}",
    "forwarding": "sysctl -qw net.ipv4.ip_forward=0",
    "masquerade's jump": "iptables -t nat -F POSTROUTING",
    "spoof check": "nft flush chain bridge nat PREROUTING",
}


@pytest.mark.parametrize("breakage", [*INSIDE, *OUTSIDE, "reservation"])
def test_check_notices(breakage: str, runtime: Runtime, pod: Netns) -> None:
    config = bridge(
        runtime, isGateway=True, ipMasq=True, macspoofchk=True, hairpinMode=True, portIsolation=True
    )  # fmt: skip
    result = runtime.add(config, pod)
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    if breakage in INSIDE:
        pod.exec(*INSIDE[breakage].split())
    elif breakage in OUTSIDE:
        runtime.host.exec(*OUTSIDE[breakage].format(result["interfaces"][1]["name"]).split())
    else:
        (runtime.directory / "net" / "10.1.0.2").unlink()
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED


def test_the_containers_end_stays_down(runtime: Runtime, pod: Netns) -> None:
    config = bridge(runtime, disableContainerInterface=True, ipam={}, runtimeConfig={"mac": MAC})
    result = runtime.add(config, pod)
    link = link_of(pod, "eth0")
    assert ("UP" in link["flags"], link["address"]) == (False, MAC)
    assert [each["name"] for each in result["interfaces"]][::2] == ["br0", "eth0"]
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    assert runtime.call("DEL", checked, pod).code == 0
    assert (devices(pod), devices(runtime.host)) == (set(), {"br0"})


def test_duplicates_are_looked_for(runtime: Runtime, make_netns: MakeNetns) -> None:
    """With enabledad ADD ends when IPv6 addresses can be used, or somebody has them: 1 to 2 s."""
    neighbour, pod = make_netns(), make_netns()
    runtime.add(bridge(runtime, SIX, enabledad=True), neighbour, container_id="c1")
    flags = json.loads(neighbour.ip("-j", "-6", "addr", "show", "dev", "eth0", "tentative"))
    assert [each for each in flags if each] == []
    taken = {"type": "static", "addresses": [{"address": "fd01::2/64"}]}
    config = bridge(runtime, enabledad=True, ipam=taken)
    assert runtime.call("ADD", config, pod, container_id="c2").code
    assert devices(pod) == set()
    assert addresses_of(neighbour, "eth0") == {"fd01::2/64"}
    # Without it, nobody looks.
    assert runtime.call("ADD", {**config, "enabledad": False}, pod, container_id="c2").code == 0


def test_status(runtime: Runtime, pod: Netns) -> None:
    config = bridge(runtime, "10.1.0.0/30")
    assert runtime.call("STATUS", config).code == 0
    runtime.add(config, pod)
    assert runtime.call("STATUS", config).code == UNAVAILABLE, "no address is left"
    runtime.host.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    assert runtime.call("STATUS", bridge(runtime, bridge="veth0")).code == UNAVAILABLE
    assert runtime.call("ADD", bridge(runtime, bridge="veth0"), pod).code == INVALID_CONFIG


def test_status_of_those_attached(runtime: Runtime, pod: Netns) -> None:
    config = bridge(runtime, isGateway=True)
    runtime.add(config, pod)
    runtime.host.exec("sysctl", "-qw", "net.ipv4.ip_forward=0")
    assert runtime.call("STATUS", config).code == LIMITED_CONNECTIVITY
    runtime.host.exec("sysctl", "-qw", "net.ipv4.ip_forward=1")
    assert runtime.call("STATUS", config).code == 0
    runtime.host.ip("link", "set", "br0", "down")
    assert runtime.call("STATUS", config).code == LIMITED_CONNECTIVITY
    assert runtime.call("DEL", config, pod).code == 0
    assert runtime.call("STATUS", config).code == 0, "nobody is attached"


def test_status_of_a_bridge_without_a_port_left(runtime: Runtime, tmp_path: Path) -> None:
    runtime.host.ip("link", "add", "br0", "type", "bridge")
    runtime.host.ip("link", "set", "br0", "up")
    lines = [f"link add p{n} master br0 type veth peer name q{n}" for n in range(1022)]
    batch = tmp_path / "batch"
    batch.write_text("\n".join(lines), encoding="utf-8")
    runtime.host.ip("-batch", str(batch))
    assert runtime.call("STATUS", bridge(runtime)).code == 0
    runtime.host.ip("link", "add", "last", "master", "br0", "type", "veth", "peer", "name", "x")
    assert runtime.call("STATUS", bridge(runtime)).code == UNAVAILABLE


def test_the_example_of_the_manual(runtime: Runtime, pod: Netns) -> None:
    config = example_of("bridge", runtime)
    checked = with_previous(config, runtime.add(config, pod))
    assert addresses_of(pod, "eth0") == {"10.60.0.2/24", "fd00:60::2/64"}
    connect(runtime.host, pod, "fd00:60::2")
    assert any("-j MASQUERADE" in rule for rule in nat_rules(runtime.host))
    assert runtime.call("CHECK", checked, pod).code == 0
    assert runtime.call("DEL", checked, pod).code == 0
