"""What is left by the ``bridge`` executable after DEL, GC, and an ADD that failed: nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.bridge_network import FOUR, SIX, bridge, nat_rules, ruleset
from netns.plugins.cni_runtime import Runtime, addresses_of, devices, link_of, with_previous
from netns.plugins.kills import Victim, kill_everywhere
from podway.cni.errors import INVALID_CONFIG, INVALID_NETNS, NO_ADDRESS
from podway.netlink import NetlinkSocket
from podway.plugins.interfaces import assigned_addresses


def test_another_call_has_deleted_the_device(netns: Netns) -> None:
    """Between a DEL's look at the device and its look at the addresses."""
    netns.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    index = link_of(netns, "eth0")["ifindex"]
    with NetlinkSocket(netns_fd=netns.fd) as netlink:
        netns.ip("addr", "add", "10.1.0.2/24", "dev", "eth0")
        assert len(assigned_addresses(netlink, index)) == 1
        netns.ip("link", "del", "eth0")
        assert assigned_addresses(netlink, index) == []


GONE: dict[str, Callable[[Runtime, Netns], object]] = {
    "nothing": lambda _, __: None,
    "container's link": lambda _, pod: pod.ip("link", "del", "eth0"),
    "container's link by its name": lambda _, pod: pod.exec(
        "sh", "-c", "ip link set eth0 down; ip link set eth0 name net0"
    ),
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
