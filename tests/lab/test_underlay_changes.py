"""The network under a cluster changes while pods live: addresses, names of interfaces, MTUs.

No agent is started anew for any of it. A node notices, publishes what is new, and its peers follow.
"""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from lab.probes import eventually
from lab.transfers import AMOUNT_BYTES, transfer
from podway.lab import faults
from podway.lab.labs import read_statuses
from podway.lab.members import pod_stations
from podway.lab.names import FABRIC, namespace_of, node_name
from podway.lab.ping import Outcome, Station, ping_all
from podway.lab.progress import silent
from podway.lab.readiness import start_ready
from podway.lab.runtime import add_pods, check_pod, remove_pods
from podway.lab.specs import LabSpec
from podway.lab.state import read_pods
from podway.lab.topology import plan_agent
from podway.lab.underlay import underlay_addresses
from podway.model.addresses import Family

DUAL = (Family.IPV4, Family.IPV6)
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
    eventually("pods answer", lambda: unanswered(spec) == [])
    return spec


def stations(spec: LabSpec) -> list[Station]:
    return pod_stations(spec, read_pods(spec.name))


def unanswered(spec: LabSpec, payload_bytes: int = 56) -> list[Outcome]:
    outcomes = ping_all(stations(spec), payload_bytes=payload_bytes, timeout_s=1.2)
    return [each for each in outcomes if each.rtt_ms is None]


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


NEW = ["172.30.1.77", "fd30:0:0:1::77"]


def give_new_addresses(spec: LabSpec) -> None:
    ip(spec, "n1", "addr", "add", f"{NEW[0]}/16", "dev", "eth0")
    ip(spec, "n1", "addr", "add", f"{NEW[1]}/48", "dev", "eth0", "nodad")


def take_old_addresses(spec: LabSpec) -> None:
    for address, length in zip(underlay_addresses(spec, 1), (16, 48), strict=True):
        ip(spec, "n1", "addr", "del", f"{address}/{length}", "dev", "eth0")


def expect_the_new_ones(spec: LabSpec) -> None:
    eventually("the peer is told", lambda: told_of(spec, "n2", "n1") == NEW)
    eventually("pods answer", lambda: unanswered(spec) == [])
    eventually("in order", lambda: in_order(spec))


def test_another_address(lab: LabSpec) -> None:
    """As a DHCP client does it that is given another address: the old one goes first."""
    take_old_addresses(lab)
    give_new_addresses(lab)
    for family, gateway in (("-4", "172.30.0.1"), ("-6", "fd30::1")):
        ip(lab, "n1", family, "route", "replace", "default", "via", gateway, "proto", "static")
    expect_the_new_ones(lab)


def test_another_address_towards_etcd(make_lab: Callable[..., LabSpec]) -> None:
    """The watch of the store went from the address that is gone."""
    lab = left_alone(make_lab(store="etcd", families=DUAL))
    take_old_addresses(lab)
    give_new_addresses(lab)
    expect_the_new_ones(lab)
    n2 = underlay_addresses(lab, 2)
    ip(lab, "n2", "addr", "add", "172.30.2.88/16", "dev", "eth0")
    ip(lab, "n2", "addr", "del", f"{n2[0]}/16", "dev", "eth0")
    ip(lab, "n2", "addr", "replace", "172.30.2.88/16", "dev", "eth0")
    told = ["172.30.2.88", str(n2[1])]
    eventually("n1 is told of n2", lambda: told_of(lab, "n1", "n2") == told)


def test_an_address_that_comes_before_the_old_one_goes(lab: LabSpec) -> None:
    """As network managers do it, which promote the second address."""
    command = ["ip", "netns", "exec", namespace_of(lab.name, "n1"), "sysctl", "-qw"]
    subprocess.run([*command, "net.ipv4.conf.eth0.promote_secondaries=1"], check=True)
    give_new_addresses(lab)
    take_old_addresses(lab)
    expect_the_new_ones(lab)


def test_another_name(lab: LabSpec) -> None:
    ip(lab, "n1", "link", "set", "eth0", "name", "uplink0")
    eventually("the node follows", lambda: uplink_of(lab, "n1")["dev"] == "uplink0")
    eventually("pods answer", lambda: unanswered(lab) == [])
    eventually("in order", lambda: in_order(lab))


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
    eventually("the nodes follow", lambda: {uplink_of(spec, n)["mtu"] for n in nodes} == {mtu})
    eventually("in order", lambda: in_order(spec))


def ways(spec: LabSpec, mtu: int) -> dict[int, int]:
    return {version: mtu - outer for version, outer in OVERHEAD[spec.backend].items()}


def test_a_smaller_mtu(lab: LabSpec) -> None:
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
    expect_transfers([one, three], [four])
    # What is larger than the way out still passes between pods of one node.
    assert [
        each for each in ping_all([one], [three], payload_bytes=before - HEADERS[6]) if each.reason
    ] == []
    for pod in read_pods(lab.name):
        check_pod(lab, pod)


def test_a_larger_mtu(lab: LabSpec) -> None:
    """The pods of a bridge stay as they are until the last of them has ended."""
    remove_pods(lab, read_pods(lab.name))
    follow(lab, 1400)
    add_pods(lab, ["p1", "p2"])
    before = mtu_of(lab, "p1")
    assert before == max(ways(lab, 1400).values())
    follow(lab, 1500)
    first = stations(lab)
    new = add_pods(lab, ["p3", "p4"])
    assert {mtu_of(lab, pod.name) for pod in new} == {before}
    expect_transfers(first[:1], pod_stations(lab, new)[1:])
    for pod in read_pods(lab.name):
        check_pod(lab, pod)
    # One node has new pods only, and larger packets; what they send to old ones is answered.
    on_one = [pod for pod in read_pods(lab.name) if pod.node == "n1"]
    remove_pods(lab, on_one)
    (fresh,) = add_pods(lab, ["p5"], "n1")
    assert mtu_of(lab, "p5") == max(ways(lab, 1500).values())
    old = [each for each in stations(lab) if each.name != "p5"]
    (source,) = pod_stations(lab, [fresh])
    expect_transfers([source], old)
    large = ways(lab, 1500)[4] - HEADERS[4]
    outcomes = ping_all([only(source, 4)], [only(each, 4) for each in old], payload_bytes=large)
    assert {each.reason for each in outcomes} == {"packet too big"}
