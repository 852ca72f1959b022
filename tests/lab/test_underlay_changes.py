"""The network under a cluster changes while pods live: addresses, names of interfaces, MTUs.

No agent is started anew for any of it. A node notices, publishes what is new, and its peers follow.
"""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from lab.probes import DUAL, eventually, unanswered
from lab.transfers import AMOUNT_BYTES, transfer
from podway.agent.calls import call_agent
from podway.lab import faults
from podway.lab.members import pod_stations
from podway.lab.names import FABRIC, agent_socket, namespace_of, node_name
from podway.lab.ping import Station, ping_all
from podway.lab.progress import silent
from podway.lab.readiness import start_ready
from podway.lab.runtime import add_pods, check_pod, remove_pods
from podway.lab.specs import LabSpec
from podway.lab.state import read_pods
from podway.lab.statuses import read_statuses
from podway.lab.topology import plan_agent

BACKENDS = ("vxlan", "host-gw", "udp", "wireguard")
OVERHEAD = {
    "vxlan": {4: 50, 6: 70},
    "host-gw": {4: 0, 6: 0},
    "udp": {4: 28, 6: 48},
    "wireguard": {4: 80, 6: 80},
}
HEADERS = {4: 20 + 8, 6: 40 + 8}


@pytest.fixture(params=BACKENDS)
def lab(request: pytest.FixtureRequest, make_lab: Callable[..., LabSpec]) -> LabSpec:
    """Give a lab of two nodes that find uplink and addresses by themselves, a pod on each."""
    return left_alone(make_lab(backend=request.param, families=DUAL))


def left_alone(spec: LabSpec) -> LabSpec:
    """Start the agents of *spec* again, without a word on uplink and addresses; add two pods."""
    for number in spec.nodes:
        faults.kill_agent(spec, node_name(number))
        agent = plan_agent(spec, number)
        told = tuple(
            each for each in agent.arguments if not each.startswith(("--uplink=", "--public-ip="))
        )
        start_ready([replace(agent, arguments=told)], silent)
    add_pods(spec, ["p1", "p2"])
    eventually("pods answer", lambda: unanswered(spec, timeout_s=1.2) == [])
    return spec


def stations(spec: LabSpec) -> list[Station]:
    return pod_stations(spec, read_pods(spec.name))


def ip(spec: LabSpec, member: str, *words: str) -> str:
    command = ["ip", "-n", namespace_of(spec.name, member), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def uplink_of(spec: LabSpec, node: str) -> Any:
    return read_statuses(spec)[0][node]["uplink"]


def told_of(spec: LabSpec, node: str, peer: str) -> list[str]:
    """Return at which addresses *node* reaches *peer*."""
    peers = read_statuses(spec)[0][node]["peers"]
    return [address for each in peers if each["name"] == peer for address in each["public_ips"]]


def in_order(spec: LabSpec) -> bool:
    statuses, away = read_statuses(spec)
    return not away and all(
        status["ready"] and all(peer["state"] == "programmed" for peer in status["peers"])
        for status in statuses.values()
    )


def addresses(host: int) -> list[str]:
    """Return the addresses of n1 that end in *host* (in hex for IPv6, as if it were decimal)."""
    return [f"172.30.1.{host}", f"fd30:0:0:1::{host}"]


def change_addresses(spec: LabSpec, verb: str, host: int) -> None:
    ipv4, ipv6 = addresses(host)
    ip(spec, "n1", "addr", verb, f"{ipv4}/16", "dev", "eth0")
    ip(spec, "n1", "addr", verb, f"{ipv6}/48", "dev", "eth0", *(["nodad"] if verb == "add" else []))


def expect(spec: LabSpec, told: list[str]) -> None:
    """n2 reaches n1 at the addresses *told*, and pods each other."""
    eventually("the peer is told", lambda: told_of(spec, "n2", "n1") == told)
    eventually("pods answer", lambda: unanswered(spec, timeout_s=1.2) == [])
    eventually("in order", lambda: in_order(spec))


def replace_addresses(spec: LabSpec, old: int, new: int) -> None:
    """As a DHCP client does it that is given another address: the old one goes first."""
    change_addresses(spec, "del", old)
    change_addresses(spec, "add", new)
    for family, gateway in (("-4", "172.30.0.1"), ("-6", "fd30::1")):
        ip(spec, "n1", family, "route", "replace", "default", "via", gateway, "proto", "static")


def test_other_addresses_and_another_name(lab: LabSpec) -> None:
    replace_addresses(lab, 2, 77)
    expect(lab, addresses(77))
    # As network managers do it, which promote the second address: the new one comes first.
    switch = "/proc/sys/net/ipv4/conf/eth0/promote_secondaries"
    command = ["ip", "netns", "exec", namespace_of(lab.name, "n1"), "tee", switch]
    subprocess.run(command, input="1", text=True, check=True, stdout=subprocess.DEVNULL)
    change_addresses(lab, "add", 88)
    change_addresses(lab, "del", 77)
    expect(lab, addresses(88))
    ip(lab, "n1", "link", "set", "eth0", "name", "uplink0")
    eventually("the node follows", lambda: uplink_of(lab, "n1")["dev"] == "uplink0")
    expect(lab, addresses(88))


def test_another_address_towards_etcd(make_lab: Callable[..., LabSpec]) -> None:
    """The watch of the store went from the address that is gone; what comes next is heard."""
    lab = left_alone(make_lab(store="etcd", families=DUAL))
    replace_addresses(lab, 2, 77)
    expect(lab, addresses(77))
    ip(lab, "n2", "addr", "del", "172.30.2.2/16", "dev", "eth0")
    ip(lab, "n2", "addr", "add", "172.30.2.88/16", "dev", "eth0")
    told = ["172.30.2.88", "fd30:0:0:2::2"]
    eventually("n1 is told of n2", lambda: told_of(lab, "n1", "n2") == told)


def set_mtu(spec: LabSpec, mtu: int) -> None:
    for number in spec.nodes:
        ip(spec, node_name(number), "link", "set", "eth0", "mtu", str(mtu))
        ip(spec, FABRIC, "link", "set", node_name(number), "mtu", str(mtu))


def mtu_of(spec: LabSpec, pod: str) -> int:
    return int(json.loads(ip(spec, pod, "-j", "link", "show", "dev", "eth0"))[0]["mtu"])


def expect_path(sources: list[Station], targets: list[Station], mtus: dict[int, int]) -> None:
    """Packets as large as *mtus* pass; whoever sends larger ones is told so, not met by silence."""
    for version, mtu in mtus.items():
        fits = mtu - HEADERS[version]
        one, other = ([only(each, version) for each in ends] for ends in (sources, targets))
        assert [each for each in ping_all(one, other, payload_bytes=fits) if each.reason] == []
        for pair in ((one, other), (other, one)):
            beyond = ping_all(*pair, payload_bytes=fits + 40, timeout_s=1.2)
            assert {each.reason for each in beyond} == {"packet too big"}


def only(station: Station, version: int) -> Station:
    own = tuple(each for each in station.addresses if each.version == version)
    return Station(station.name, station.netns, own)


def expect_transfers(sources: list[Station], targets: list[Station]) -> None:
    for source in sources:
        for target in targets:
            for address in target.addresses:
                arrived = transfer(source, target, address)
                assert arrived == AMOUNT_BYTES, f"{source.name} to {target.name} at {address}"


def follow(spec: LabSpec, mtu: int) -> None:
    """Give the underlay *mtu*, and wait until the nodes have noticed."""
    set_mtu(spec, mtu)
    nodes = [node_name(number) for number in spec.nodes]
    eventually("the nodes notice", lambda: {uplink_of(spec, n)["mtu"] for n in nodes} == {mtu})
    eventually("kernels follow", lambda: not any(pending(spec, node) for node in nodes))
    eventually("in order", lambda: in_order(spec))


def pending(spec: LabSpec, node: str) -> list[Any]:
    """Return what the agent of *node* has yet to write."""
    return list(call_agent(agent_socket(spec.name, node), "diff")["operations"])


def ways(spec: LabSpec, mtu: int) -> dict[int, int]:
    return {version: mtu - outer for version, outer in OVERHEAD[spec.backend].items()}


def test_a_smaller_mtu_and_the_larger_one_again(lab: LabSpec) -> None:
    """Pods that live keep their interfaces; they, and new ones, learn what the way takes."""
    one, two = stations(lab)
    before = mtu_of(lab, "p1")
    follow(lab, 1400)
    expect_path([one], [two], ways(lab, 1400))
    expect_transfers([one], [two])
    new = add_pods(lab, ["p3", "p4"])
    assert {mtu_of(lab, pod) for pod in ("p1", "p3")} == {before}, "they share a bridge"
    three, four = pod_stations(lab, new)
    expect_path([one, three], [two, four], ways(lab, 1400))
    expect_transfers([three], [four])
    # What is larger than the way out still passes between pods of one node.
    size = before - HEADERS[6]
    assert [each for each in ping_all([one], [three], payload_bytes=size) if each.reason] == []
    for pod in read_pods(lab.name):
        check_pod(lab, pod)
    remove_pods(lab, read_pods(lab.name))
    grow(lab)


def grow(spec: LabSpec) -> None:
    """Give the underlay its MTU back; a bridge keeps its own until the last pod has ended."""
    add_pods(spec, ["p1", "p2"])
    small, large = (max(ways(spec, mtu).values()) for mtu in (1400, 1500))
    assert mtu_of(spec, "p1") == small
    follow(spec, 1500)
    (three,) = add_pods(spec, ["p3"], "n1")
    assert mtu_of(spec, "p3") == small
    # One node has new pods only, and larger packets; what they send to old ones is answered.
    remove_pods(spec, [pod for pod in read_pods(spec.name) if pod.node == three.node])
    (fresh,) = pod_stations(spec, add_pods(spec, ["p5"], "n1"))
    assert mtu_of(spec, "p5") == large
    (old,) = (each for each in stations(spec) if each.name == "p2")
    expect_transfers([fresh, old], [old, fresh])
    full = ways(spec, 1500)[4] - HEADERS[4]
    (outcome,) = ping_all([only(fresh, 4)], [only(old, 4)], payload_bytes=full)
    assert outcome.reason == "packet too big"
    for pod in read_pods(spec.name):
        check_pod(spec, pod)
