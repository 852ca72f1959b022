"""The ``bridge`` executable: what it makes, with the original as witness, and what it undoes."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
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
    stable,
    state_of,
    with_previous,
    without_waiting,
)
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.originals import each_first, needs_original
from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    INVALID_NETNS,
    IO_FAILURE,
    LIMITED_CONNECTIVITY,
    NO_ADDRESS,
    UNAVAILABLE,
)
from podway.netlink import NetlinkSocket
from podway.plugins.interfaces import assigned_addresses

FOUR, SIX = "10.1.0.0/24", "fd01::/64"
MAC = "0a:00:00:00:00:01"
# An announcement takes microseconds; nothing else would correct an entry that nobody uses.
HEARD_WITHIN_S = 10


@pytest.fixture
def make_runtime(
    make_netns: MakeNetns, executables: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Runtime]:
    """Return a function that makes one more host."""
    return lambda: Runtime(make_netns(), executables, tmp_path_factory.mktemp("data"))


def bridge(runtime: Runtime, *subnets: str, **keys: Any) -> Document:
    """Return a configuration with IPAM by host-local."""
    # The original fails if IPAM has a default route besides.
    routes = [] if keys.get("isDefaultGateway") else [{"dst": "0.0.0.0/0"}]
    ipam = runtime.ipam(*(subnets or (FOUR,)), routes=routes)
    return config_of("bridge", **{"bridge": "br0", "ipam": ipam, **keys})


def nat_rules(netns: Netns) -> list[str]:
    """Return chains and rules of table nat, of both families, without counters."""
    saved = [netns.exec(f"{program}-save", "-t", "nat") for program in ("iptables", "ip6tables")]
    lines = "".join(saved).splitlines()
    return [line.split(" [")[0] for line in lines if line.startswith(("-A", ":CNI"))]


def ruleset(netns: Netns) -> str:
    return netns.exec("nft", "list", "ruleset")


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


def uplink(runtime: Runtime, outside: Netns) -> None:
    """Connect the host with *outside*, which knows no way to containers."""
    host = runtime.host
    host.ip("link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", outside.name)
    for netns, device, number in ((host, "up0", 1), (outside, "eth0", 9)):
        netns.ip("addr", "add", f"192.0.2.{number}/24", "dev", device)
        netns.ip("addr", "add", f"2001:db8::{number}/64", "nodad", "dev", device)
        netns.ip("link", "set", device, "up")


BREAK_MASQUERADE = {
    "iptables": ("iptables", "-t", "nat", "-F", "POSTROUTING"),
    "nftables": ("nft", "flush", "chain", "inet", "cni_plugins_masquerade", "masq_checks"),
}


@pytest.mark.parametrize("backend", BREAK_MASQUERADE)
def test_masquerade(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    outside, *pods = (make_netns() for _ in range(3))
    uplink(runtime, outside)
    config = bridge(
        runtime, FOUR, SIX, isDefaultGateway=True, ipMasq=True, ipMasqBackend=backend
    )  # fmt: skip
    results = [runtime.add(config, pod, container_id=f"c{n}") for n, pod in enumerate(pods)]
    assert connect(pods[0], outside, "192.0.2.9") == "192.0.2.1"
    assert connect(pods[0], outside, "2001:db8::9") == "2001:db8::1"
    assert connect(pods[0], pods[1], "10.1.0.3") == "10.1.0.2", "what stays inside keeps its source"
    assert connect(pods[0], pods[1], "fd01::3") == "fd01::2"

    checked = with_previous(config, results[0])
    assert runtime.call("DEL", checked, pods[0], container_id="c0").code == 0
    left = with_previous(config, results[1])
    assert runtime.call("CHECK", left, pods[1], container_id="c1").code == 0
    assert "10.1.0.2" not in ruleset(runtime.host)
    runtime.host.exec(*BREAK_MASQUERADE[backend])
    assert runtime.call("CHECK", left, pods[1], container_id="c1").code == CHECK_FAILED
    assert runtime.call("DEL", left, pods[1], container_id="c1").code == 0


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


def test_masquerade_by_the_legacy_kind(
    runtime: Runtime, make_netns: MakeNetns, pod: Netns, legacy_path: Document
) -> None:
    """A system whose iptables is legacy; the kernel knows both kinds."""
    outside = make_netns()
    uplink(runtime, outside)
    config = bridge(runtime, FOUR, SIX, isDefaultGateway=True, ipMasq=True)
    result = runtime.add(config, pod, **legacy_path)
    assert connect(pod, outside, "192.0.2.9") == "192.0.2.1"
    assert connect(pod, outside, "2001:db8::9") == "2001:db8::1"
    assert "masquerade" not in ruleset(runtime.host), "nothing of the nft kind"
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod, **legacy_path).code == 0

    def legacy_rules() -> str:
        programs = ("iptables-legacy-save", "ip6tables-legacy-save")
        return "".join(runtime.host.exec(program, "-t", "nat") for program in programs)

    assert "CNI-" in legacy_rules()
    # Also by a plugin that runs on a system of the nft kind now.
    assert runtime.call("DEL", checked, pod).code == 0
    assert "CNI-" not in legacy_rules()


def test_two_interfaces_of_one_container_share_a_chain(runtime: Runtime, pod: Netns) -> None:
    config = bridge(runtime, isGateway=True, ipMasq=True)
    first = runtime.add(config, pod)
    second = runtime.add(config, pod, ifname="net1")
    assert runtime.call("DEL", with_previous(config, first), pod).code == 0
    rules = nat_rules(runtime.host)
    assert len(rules) == 4, rules
    assert not any("10.1.0.2/32" in rule for rule in rules)
    checked = with_previous(config, second)
    assert runtime.call("CHECK", checked, pod, ifname="net1").code == 0
    assert runtime.call("DEL", checked, pod, ifname="net1").code == 0
    assert nat_rules(runtime.host) == []


@pytest.mark.parametrize("how", ["DEL", "GC"])
def test_rules_are_an_interfaces_not_a_containers(how: str, runtime: Runtime, pod: Netns) -> None:
    """Nothing tells of the addresses: no prevResult, and the device is gone."""
    config = bridge(runtime, FOUR, SIX, isGateway=True, ipMasq=True)
    runtime.add(config, pod)
    second = runtime.add(config, pod, ifname="net1")
    pod.ip("link", "del", "eth0")
    if how == "DEL":
        assert runtime.call("DEL", config, pod).code == 0
    else:
        valid = [{"containerID": "c1", "ifname": "net1"}]
        assert runtime.call("GC", {**config, "cni.dev/valid-attachments": valid}).code == 0
    rules = "".join(nat_rules(runtime.host))
    assert ("10.1.0.2/32" in rules, "fd01::2/128" in rules) == (False, False)
    assert ("10.1.0.3/32" in rules, "fd01::3/128" in rules) == (True, True)
    checked = with_previous(config, second)
    assert runtime.call("CHECK", checked, pod, ifname="net1").code == 0
    # An address that went to another interface is that one's.
    third = runtime.add(
        {**config, "args": {"cni": {"ips": ["10.1.0.2"]}}, "ipam": runtime.ipam(FOUR)}, pod
    )
    assert third["ips"][0]["address"] == "10.1.0.2/24"
    assert runtime.call("DEL", config, pod, ifname="net1").code == 0
    assert "10.1.0.2/32" in "".join(nat_rules(runtime.host))
    assert runtime.call("DEL", config, pod).code == 0
    assert nat_rules(runtime.host) == []


def test_another_call_has_deleted_the_device(netns: Netns) -> None:
    """Between a DEL's look at the device and its look at the addresses."""
    netns.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    index = link_of(netns, "eth0")["ifindex"]
    with NetlinkSocket(netns_fd=netns.fd) as netlink:
        netns.ip("addr", "add", "10.1.0.2/24", "dev", "eth0")
        assert len(assigned_addresses(netlink, index)) == 1
        netns.ip("link", "del", "eth0")
        assert assigned_addresses(netlink, index) == []


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


GONE: dict[str, Callable[[Runtime, Netns], object]] = {
    "nothing": lambda _, __: None,
    "container's link": lambda _, pod: pod.ip("link", "del", "eth0"),
    "rules": lambda r, _: r.host.exec("nft", "flush", "ruleset"),
    "bridge": lambda r, _: r.host.ip("link", "del", "br0"),
    "reservation": lambda r, _: (r.directory / "net" / "10.1.0.2").unlink(),
    "index": lambda r, _: (r.directory / "net" / "index.podway").unlink(),
}


@pytest.mark.parametrize("previous", [True, False], ids=["with prevResult", "without"])
@pytest.mark.parametrize("gone", GONE)
def test_del_when_something_is_gone(
    gone: str,
    previous: bool,  # noqa: FBT001
    runtime: Runtime,
    pod: Netns,
) -> None:
    config = bridge(runtime, isGateway=True, ipMasq=True, macspoofchk=True)
    result = runtime.add(config, pod)
    GONE[gone](runtime, pod)
    told = with_previous(config, result) if previous else config
    for _ in range(2):
        assert runtime.call("DEL", told, pod).code == 0
    assert (devices(pod), devices(runtime.host) - {"br0"}) == (set(), set())
    assert "c1" not in ruleset(runtime.host)
    assert nat_rules(runtime.host) == []
    assert runtime.reserved() == set()


@pytest.mark.parametrize("path", ["", "/nonexistent", "/etc/hostname"])
def test_del_without_a_namespace_removes_what_is_outside(
    path: str, runtime: Runtime, pod: Netns
) -> None:
    config = bridge(runtime, isGateway=True, ipMasq=True, macspoofchk=True)
    runtime.add(config, pod)
    assert runtime.call("DEL", config, path).code == 0
    # The namespace lives on under another name; its device went with the host's end.
    assert (devices(pod), devices(runtime.host)) == (set(), {"br0"})
    assert "c1" not in ruleset(runtime.host)
    assert nat_rules(runtime.host) == []
    assert runtime.reserved() == set()


def test_a_lying_prev_result_makes_del_delete_nothing_else(
    runtime: Runtime, make_netns: MakeNetns
) -> None:
    pods = [make_netns() for _ in range(2)]
    config = bridge(runtime, isGateway=True, ipMasq=True)
    results = [runtime.add(config, pod, container_id=f"c{n}") for n, pod in enumerate(pods)]
    assert (
        runtime.call("DEL", with_previous(config, results[1]), pods[0], container_id="c0").code == 0
    )
    left = with_previous(config, results[1])
    assert runtime.call("CHECK", left, pods[1], container_id="c1").code == 0
    assert runtime.reserved() == {"10.1.0.3"}


def test_failed_adds_leave_nothing(runtime: Runtime, make_netns: MakeNetns, pod: Netns) -> None:
    before = devices(runtime.host)
    small = bridge(runtime, "10.1.0.0/30", isGateway=True, ipMasq=True, macspoofchk=True)
    runtime.add(small, pod)
    other = make_netns()
    assert runtime.call("ADD", small, other, container_id="c2").code == NO_ADDRESS
    assert (devices(other), len(devices(runtime.host))) == (set(), 2)
    assert runtime.call("DEL", small, pod).code == 0

    # The bridge has an address that is in the way: found out after IPAM.
    runtime.host.ip("addr", "add", "10.9.0.1/24", "dev", "br0")
    runtime.host.ip("addr", "del", "10.1.0.1/30", "dev", "br0")
    assert runtime.call("ADD", small, pod).code == INVALID_CONFIG
    forced = {**small, "forceAddress": True}
    runtime.add(forced, pod)
    assert addresses_of(runtime.host, "br0") == {"10.1.0.1/30"}
    assert runtime.call("DEL", forced, pod).code == 0

    fresh = bridge(runtime, isGateway=True, bridge="br1", ipam={"type": "nonesuch"})
    assert runtime.call("ADD", fresh, pod).code == INVALID_CONFIG
    assert devices(runtime.host) == before | {"br0"}, "the bridge that this call made is gone"
    assert (devices(pod), runtime.reserved()) == (set(), set())
    assert "c1" not in ruleset(runtime.host)


def test_own_namespace_is_refused_untouched(runtime: Runtime) -> None:
    runtime.host.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    config = bridge(runtime)
    for command in ("ADD", "DEL", "CHECK"):
        assert runtime.call(command, config, runtime.host).code == INVALID_NETNS
    assert devices(runtime.host) == {"eth0", "eth1"}
    assert runtime.reserved() == set()


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


def test_a_device_that_is_no_pair_is_nobodys(runtime: Runtime, pod: Netns) -> None:
    pod.ip("link", "add", "eth0", "type", "bridge")
    assert runtime.call("DEL", bridge(runtime), pod).code == 0
    assert devices(pod) == {"eth0"}


def test_gc_keeps_the_valid_and_collects_the_rest(runtime: Runtime, make_netns: MakeNetns) -> None:
    pods = [make_netns() for _ in range(4)]
    config = bridge(runtime, FOUR, SIX, isGateway=True, ipMasq=True, macspoofchk=True)
    nft = {**config, "ipMasqBackend": "nftables"}
    other = {**config, "name": "other"}
    result = runtime.add(config, pods[0], container_id="c0")
    runtime.add(config, pods[1], container_id="c1")
    runtime.add(nft, pods[2], container_id="c2")
    others = {**other, "ipam": runtime.ipam("10.2.0.0/24"), "bridge": "br1"}
    strangers = runtime.add(others, pods[3], container_id="c3")
    # One lost its devices without a DEL.
    pods[1].ip("link", "del", "eth0")

    valid = {"cni.dev/valid-attachments": [{"containerID": "c0", "ifname": "eth0"}]}
    for _ in range(2):
        assert runtime.call("GC", {**config, **valid}).code == 0
    rules = ruleset(runtime.host) + "\n".join(nat_rules(runtime.host))
    for lost in ("c1", "c2", "10.1.0.3", "10.1.0.4", "fd01::3", "fd01::4"):
        assert f"{lost}-eth0" not in rules
        assert f'"{lost}"' not in rules
        assert f"{lost}/" not in rules
    assert devices(pods[2]) == set()
    assert runtime.reserved() == {"10.1.0.2", "fd01::2"}
    assert (
        runtime.call("CHECK", with_previous(config, result), pods[0], container_id="c0").code == 0
    )
    told = with_previous(others, strangers)
    assert runtime.call("CHECK", told, pods[3], container_id="c3").code == 0


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


def test_many_at_once(runtime: Runtime, make_netns: MakeNetns) -> None:
    """Different containers at the same time: the bridge is made once, no address given twice."""
    pods = [make_netns() for _ in range(8)]
    config = bridge(runtime, FOUR, SIX, isGateway=True, ipMasq=True)
    with ThreadPoolExecutor(len(pods)) as threads:
        results = list(
            threads.map(lambda n: runtime.add(config, pods[n], container_id=f"c{n}"), range(8))
        )
        addresses = [ip["address"] for result in results for ip in result["ips"]]
        assert len(set(addresses)) == 16
        outcomes = threads.map(
            lambda n: runtime.call(
                "DEL", with_previous(config, results[n]), pods[n], container_id=f"c{n}"
            ),
            range(8),
        )
        assert {outcome.code for outcome in outcomes} == {0}
    assert (devices(runtime.host), nat_rules(runtime.host)) == ({"br0"}, [])
    assert runtime.reserved() == set()


def test_the_same_container_at_once(runtime: Runtime, pod: Netns) -> None:
    """Of several ADDs one wins; whatever the DELs meet, nothing is left at the end."""
    config = bridge(runtime, isGateway=True, ipMasq=True)
    with ThreadPoolExecutor(4) as threads:
        codes = [
            outcome.code
            for outcome in threads.map(lambda _: runtime.call("ADD", config, pod), "1234")
        ]
        assert codes.count(0) == 1
        outcomes = threads.map(lambda _: runtime.call("DEL", config, pod), "1234")
        assert {outcome.code for outcome in outcomes} == {0}
    assert (devices(pod), devices(runtime.host)) == (set(), {"br0"})
    assert (nat_rules(runtime.host), runtime.reserved()) == ([], set())


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_any_point(command: str, runtime: Runtime, pod: Netns) -> None:
    """Whatever it was doing: DEL and GC leave nothing afterwards."""
    config = bridge(runtime, isGateway=True, ipMasq=True, macspoofchk=True)
    kill_everywhere(Victim(runtime, pod, (config,)), command, every_change=True)
