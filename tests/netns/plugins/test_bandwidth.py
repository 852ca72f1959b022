"""The ``bandwidth`` executable behind ``ptp``, and the same configuration through the original."""

import json
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    config_of,
    devices,
    link_of,
    with_previous,
)
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.originals import needs_original
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE
from podway.netlink import entered

pytestmark = pytest.mark.kernel("ifb")

BOTH = {
    "ingressRate": 8_000_000,
    "ingressBurst": 800_000,
    "egressRate": 16_000_000,
    "egressBurst": 1_600_000,
}


def bandwidth(**keys: Any) -> Document:
    return config_of("bandwidth", **keys)


def attach(runtime: Runtime, pod: Netns, **told: Any) -> Document:
    """Attach a container by ``ptp``; return the result, as `bandwidth` gets it."""
    config = config_of("ptp", ipam=runtime.ipam("10.1.0.0/24", "fd01::/64"))
    return runtime.add(config, pod, **told)


def host_end(result: Document) -> str:
    return str(result["interfaces"][0]["name"])


def tc(netns: Netns, *words: str) -> list[Document]:
    listed: list[Document] = json.loads(netns.exec("tc", "-j", "-d", *words))
    return listed


def qdiscs(netns: Netns, device: str) -> dict[str, Document]:
    """Return what is on a device, by kind, but for what is on every device."""
    listed = tc(netns, "qdisc", "show", "dev", device)
    return {each["kind"]: each for each in listed if each["kind"] != "noqueue"}


def filters(netns: Netns, device: str, parent: str) -> list[Document]:
    listed = tc(netns, "filter", "show", "dev", device, "parent", parent)
    return [each for each in listed if "match" in each.get("options", {})]


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    previous = attach(runtime, pod)
    config = with_previous(bandwidth(**BOTH), previous)
    assert runtime.call("STATUS", bandwidth(**BOTH)).code == 0
    result = runtime.add(config, pod)
    outer = host_end(result)
    ifb = result["interfaces"][-1]
    assert result["interfaces"][:-1] == previous["interfaces"]
    assert {**result, "interfaces": []} == {**previous, "interfaces": []}
    link = link_of(runtime.host, ifb["name"])
    assert ifb == {"name": link["ifname"], "mac": link["address"], "mtu": link["mtu"]}
    assert link["ifalias"] == "cni:net/c1/eth0"
    received = qdiscs(runtime.host, outer)
    assert received.keys() == {"tbf", "ingress"}
    assert received["tbf"]["options"]["rate"] == 1_000_000
    assert received["tbf"]["options"]["burst"].startswith("100000b")
    assert received["tbf"]["options"]["lat"] == 25_000
    assert qdiscs(runtime.host, ifb["name"])["tbf"]["options"]["rate"] == 2_000_000
    (redirection,) = filters(runtime.host, outer, "ffff:")
    (action,) = redirection["options"]["actions"]
    assert (action["mirred_action"], action["to_dev"]) == ("redirect", ifb["name"])

    checked = with_previous(bandwidth(**BOTH), result)
    assert runtime.call("CHECK", checked, pod).code == 0
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert devices(runtime.host) == {outer}
        assert qdiscs(runtime.host, outer) == {}


def test_limits_of_the_runtime(runtime: Runtime, pod: Netns) -> None:
    previous = attach(runtime, pod)
    told = {"runtimeConfig": {"bandwidth": {"egressRate": 800, "egressBurst": 800}}}
    result = runtime.add(with_previous(bandwidth(**told), previous), pod)
    ifb = result["interfaces"][-1]["name"]
    assert qdiscs(runtime.host, ifb)["tbf"]["options"]["rate"] == 100
    assert qdiscs(runtime.host, host_end(result)).keys() == {"ingress"}


def test_no_limits_change_nothing(runtime: Runtime, pod: Netns) -> None:
    previous = attach(runtime, pod)
    before = devices(runtime.host)
    config = with_previous(bandwidth(), previous)
    assert runtime.add(config, pod) == previous
    assert runtime.call("CHECK", config, pod).code == 0
    assert devices(runtime.host) == before
    assert qdiscs(runtime.host, host_end(previous)) == {}
    assert runtime.call("DEL", config, pod).code == 0


@pytest.mark.parametrize(
    ("key", "listed", "default"),
    [("unshapedSubnets", "1:1", "0x30"), ("shapedSubnets", "1:30", "0x1")],
)
def test_subnets(runtime: Runtime, pod: Netns, key: str, listed: str, default: str) -> None:
    previous = attach(runtime, pod)
    config = bandwidth(**BOTH, **{key: ["10.2.0.9/16", "2001:db8::/32", "0.0.0.0/0"]})
    result = runtime.add(with_previous(config, previous), pod)
    outer, ifb = host_end(result), result["interfaces"][-1]["name"]
    for device, offsets in ((outer, [8, 12, 0]), (ifb, [24, 16, 0])):
        assert qdiscs(runtime.host, device)["htb"]["options"]["default"] == default
        classes = runtime.host.exec("tc", "-d", "class", "show", "dev", device)
        rate = "8Mbit" if device == outer else "16Mbit"
        assert "class htb 1:30 root prio 0 quantum" in classes
        assert f" rate {rate} ceil " in classes
        assert " rate 800Gbit ceil 800Gbit " in classes
        found = filters(runtime.host, device, "1:")
        assert [each["protocol"] for each in found] == ["ipv6", "ip", "ip"]
        assert [each["options"]["flowid"] for each in found] == [listed] * 3
        matches = [each["options"]["match"] for each in found]
        assert [match["off"] for match in matches] == offsets
        assert [match["value"] for match in matches] == ["20010db8", "a020000", "0"]
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    filter_ = ("filter", "del", "dev", ifb, "parent", "1:", "prio", "15")
    runtime.host.exec("tc", *filter_)
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED
    assert runtime.call("DEL", checked, pod).code == 0
    assert qdiscs(runtime.host, outer) == {}
    assert devices(runtime.host) == {outer}


def test_a_burst_longer_than_the_kernel_can_say(runtime: Runtime, pod: Netns) -> None:
    previous = attach(runtime, pod)
    config = bandwidth(egressRate=1_000_000, egressBurst=2**32 - 1)
    result = runtime.add(with_previous(config, previous), pod)
    options = qdiscs(runtime.host, result["interfaces"][-1]["name"])["tbf"]["options"]
    # 274 s of 125000 bytes.
    assert abs(int(options["burst"].split("b")[0]) - 34_359_738) < 1000
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0


DAMAGE = {
    "tbf of the host's end": "tc qdisc del dev {outer} root",
    "other rate": "tc qdisc replace dev {outer} root handle 1: tbf rate 1mbit burst 1k latency 9ms",
    "ingress": "tc qdisc del dev {outer} ingress",
    "filter": "tc filter del dev {outer} ingress",
    "tbf of the ifb device": "tc qdisc del dev {ifb} root",
    "ifb device down": "ip link set {ifb} down",
    "ifb device of smaller packets": "ip link set {ifb} mtu 1400",
    "ifb device gone": "ip link del {ifb}",
    "another ifb device": "ip link del {ifb}; ip link add {ifb} up type ifb",
    "first another filter": (
        "tc filter del dev {outer} ingress;"
        "tc filter add dev {outer} ingress protocol all prio 1 u32 match u32 0 0 "
        "action mirred egress redirect dev {outer}"
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_check_sees(runtime: Runtime, pod: Netns, damage: str) -> None:
    result = runtime.add(with_previous(bandwidth(**BOTH), attach(runtime, pod)), pod)
    names = {"outer": host_end(result), "ifb": result["interfaces"][-1]["name"]}
    runtime.host.exec("sh", "-ec", DAMAGE[damage].format(**names))
    checked = with_previous(bandwidth(**BOTH), result)
    outcome = runtime.call("CHECK", checked, pod)
    assert outcome.code == CHECK_FAILED, outcome
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert devices(runtime.host) == {names["outer"]}
        left = {"ingress"} if damage == "first another filter" else set()
        assert qdiscs(runtime.host, names["outer"]).keys() == left


def test_classes_as_newer_originals_make_them(runtime: Runtime, pod: Netns) -> None:
    result = runtime.add(with_previous(bandwidth(**BOTH), attach(runtime, pod)), pod)
    outer = host_end(result)
    for words in (
        "qdisc del dev {} root",
        "qdisc add dev {} root handle 1: htb default 30",
        "class add dev {} parent 1: classid 1:30 htb rate 8mbit ceil 16mbit burst 100000b",
        "class add dev {} parent 1: classid 1:1 htb rate 800gbit",
    ):
        runtime.host.exec("tc", *words.format(outer).split())
    checked = with_previous(bandwidth(**BOTH), result)
    assert runtime.call("CHECK", checked, pod).code == 0
    runtime.host.exec("tc", *f"class del dev {outer} classid 1:1".split())
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED
    assert runtime.call("DEL", checked, pod).code == 0
    assert qdiscs(runtime.host, outer) == {}


def test_del_without_namespace_and_previous_result(runtime: Runtime, make_netns: MakeNetns) -> None:
    first, second = make_netns(), make_netns()
    config = bandwidth(**BOTH)
    for number, pod in enumerate((first, second)):
        told = {"container_id": f"c{number}"}
        runtime.add(with_previous(config, attach(runtime, pod, **told)), pod, **told)
    assert runtime.call("DEL", config, "", container_id="c0").code == 0
    assert runtime.call("DEL", config, "/nothing/there", container_id="c1").code == 0
    assert not [name for name in devices(runtime.host) if name.startswith("bwp")]


def test_gc(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = bandwidth(**BOTH)
    ifbs = []
    for number in range(3):
        told, pod = {"container_id": f"c{number}"}, make_netns()
        previous = with_previous(config, attach(runtime, pod, **told))
        ifbs.append(runtime.add(previous, pod, **told)["interfaces"][-1]["name"])
    runtime.host.ip("link", "add", "bwp0", "type", "ifb")
    other = {**config, "name": "other", "cni.dev/valid-attachments": []}
    assert runtime.call("GC", other).code == 0
    assert {*ifbs, "bwp0"} <= devices(runtime.host)
    valid = [{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c2", "ifname": "eth1"}]
    assert runtime.call("GC", {**config, "cni.dev/valid-attachments": valid}).code == 0
    assert {ifbs[1], "bwp0"} == {each for each in devices(runtime.host) if each[:3] == "bwp"}


def test_a_container_that_is_attached_twice(runtime: Runtime, pod: Netns) -> None:
    config = bandwidth(**BOTH)
    results = {}
    for ifname in ("eth0", "eth1"):
        previous = with_previous(config, attach(runtime, pod, ifname=ifname))
        results[ifname] = runtime.add(previous, pod, ifname=ifname)
    first, second = (each["interfaces"][-1]["name"] for each in results.values())
    for ifname, result in results.items():
        assert runtime.call("CHECK", with_previous(config, result), pod, ifname=ifname).code == 0
    assert runtime.call("DEL", config, pod, ifname="eth0").code == 0
    left = devices(runtime.host)
    assert (first in left, second in left) == (False, True)
    assert runtime.call("DEL", config, pod, ifname="eth1").code == 0
    assert second not in devices(runtime.host)


def test_add_again_breaks_nothing(runtime: Runtime, pod: Netns) -> None:
    previous = with_previous(bandwidth(**BOTH), attach(runtime, pod))
    result = runtime.add(previous, pod)
    before = devices(runtime.host)
    assert runtime.call("ADD", previous, pod).code == IO_FAILURE
    assert devices(runtime.host) == before
    assert runtime.call("CHECK", with_previous(bandwidth(**BOTH), result), pod).code == 0


@pytest.mark.parametrize("taken", ["root tbf rate 1mbit burst 1k latency 9ms", "ingress"])
def test_what_others_have_put_there_stays(runtime: Runtime, pod: Netns, taken: str) -> None:
    previous = attach(runtime, pod)
    outer = host_end(previous)
    runtime.host.exec("tc", "qdisc", "add", "dev", outer, *taken.split())
    before = qdiscs(runtime.host, outer)
    outcome = runtime.call("ADD", with_previous(bandwidth(**BOTH), previous), pod)
    assert outcome.code == IO_FAILURE
    assert qdiscs(runtime.host, outer) == before
    assert devices(runtime.host) == {outer}


def test_a_lying_previous_result(runtime: Runtime, make_netns: MakeNetns, pod: Netns) -> None:
    previous = attach(runtime, pod)
    other = attach(runtime, make_netns(), container_id="c2")
    for interfaces in ([], other["interfaces"], [*pod_interfaces(previous)]):
        lie = {**previous, "interfaces": interfaces, "ips": []}
        outcome = runtime.call("ADD", with_previous(bandwidth(**BOTH), lie), pod)
        assert outcome.code == INVALID_CONFIG
    assert runtime.call("ADD", bandwidth(**BOTH), pod).code == INVALID_CONFIG
    for result in (previous, other):
        assert qdiscs(runtime.host, host_end(result)) == {}


def pod_interfaces(result: Document) -> list[Document]:
    return [each for each in result["interfaces"] if each.get("sandbox")]


def test_no_pair_of_devices(runtime: Runtime, pod: Netns) -> None:
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    previous = {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "sandbox": pod.path}, {"name": "eth1"}],
    }
    outcome = runtime.call("ADD", with_previous(bandwidth(**BOTH), previous), pod)
    assert outcome.code == INVALID_CONFIG
    assert devices(runtime.host) == set()


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_previous_results_of_every_version(runtime: Runtime, pod: Netns, version: str) -> None:
    ipam = runtime.ipam("10.1.0.0/24", routes=[{"dst": "0.0.0.0/0"}])
    made = {**config_of("ptp", ipam=ipam), "cniVersion": version}
    previous = runtime.add(made, pod)
    config = {**bandwidth(**BOTH), "cniVersion": version}
    result = runtime.add(with_previous(config, previous), pod)
    assert result["cniVersion"] == version
    assert {**result, "interfaces": result["interfaces"][:-1]} == previous


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_any_point(runtime: Runtime, pod: Netns, command: str) -> None:
    ptp = config_of("ptp", ipam=runtime.ipam("10.1.0.0/24"))
    plugins = (ptp, bandwidth(**BOTH, shapedSubnets=["10.0.0.0/8"]))
    kill_everywhere(Victim(runtime, pod, plugins, number=1), command)


@needs_original
def test_as_the_original(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = {**bandwidth(**BOTH), "cniVersion": "1.0.0"}
    seen = []
    for reference in (False, True):
        pod = make_netns()
        previous = {**attach(runtime, pod), "cniVersion": "1.0.0"}
        result = runtime.add(with_previous(config, previous), pod, reference=reference)
        outer, ifb = host_end(result), result["interfaces"][-1]["name"]
        options = [qdiscs(runtime.host, each)["tbf"]["options"] for each in (outer, ifb)]
        (redirection,) = filters(runtime.host, outer, "ffff:")
        kept = ("protocol", "pref", "kind")
        link = link_of(runtime.host, ifb)
        seen.append(
            (
                ifb,
                options,
                {key: redirection[key] for key in kept},
                redirection["options"]["match"],
                (link["mtu"], "UP" in link["flags"]),
            )
        )
        checked = with_previous(config, result)
        for checker in (False, True):
            assert runtime.call("CHECK", checked, pod, reference=checker).code == 0
        assert runtime.call("DEL", config, pod, reference=not reference).code == 0
        assert devices(runtime.host) == {outer}
        pod.ip("link", "del", "eth0")
        for last in runtime.directory.glob("net/*"):
            last.unlink()
    assert seen[0] == seen[1]


@needs_original
def test_gc_of_what_the_original_left(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = {**bandwidth(**BOTH), "cniVersion": "1.0.0"}
    pods = [make_netns(), make_netns()]
    ifbs = []
    for number, pod in enumerate(pods):
        told: dict[str, Any] = {"container_id": f"c{number}"}
        previous = {**attach(runtime, pod, **told), "cniVersion": "1.0.0"}
        made = runtime.add(with_previous(config, previous), pod, reference=True, **told)
        ifbs.append(made["interfaces"][-1]["name"])
    pods[0].ip("link", "del", "eth0")
    other = {**bandwidth(), "name": "other", "cni.dev/valid-attachments": []}
    assert runtime.call("GC", other).code == 0
    assert {each for each in devices(runtime.host) if each[:3] == "bwp"} == {ifbs[1]}


def send(source: Netns, target: Netns, address: str, size: int) -> None:
    """Send bytes over TCP, and see that they all arrive."""
    with entered(target.fd):
        listener = socket.create_server((address, 0))
    with entered(source.fd):
        sender = socket.socket()
    with listener, sender:
        sender.settimeout(30)
        sender.connect((address, listener.getsockname()[1]))
        receiver, _ = listener.accept()

        def push() -> None:
            sender.sendall(bytes(size))
            sender.close()

        thread = Thread(target=push)
        thread.start()
        with receiver:
            left = size
            while chunk := receiver.recv(1 << 16):
                left -= len(chunk)
        thread.join()
    assert left == 0


def test_traffic_is_shaped(runtime: Runtime, pod: Netns) -> None:
    previous = attach(runtime, pod)
    keys = {**BOTH, "ingressBurst": 80_000, "egressBurst": 80_000}
    result = runtime.add(with_previous(bandwidth(**keys), previous), pod)
    size = 200_000
    for source, target, device in (
        (runtime.host, pod, host_end(result)),
        (pod, runtime.host, result["interfaces"][-1]["name"]),
    ):
        address = "10.1.0.2" if target is pod else "10.1.0.1"
        send(source, target, address, size)
        (counted,) = json.loads(
            runtime.host.exec("tc", "-j", "-s", "qdisc", "show", "dev", device, "root")
        )
        assert counted["bytes"] > size
        assert counted["overlimits"] > 0


def test_traffic_of_other_subnets_is_not_shaped(runtime: Runtime, pod: Netns) -> None:
    previous = attach(runtime, pod)
    keys = {"egressRate": 8_000, "egressBurst": 8_000_000, "ingressRate": 8_000}
    config = bandwidth(**keys, ingressBurst=8_000_000, unshapedSubnets=["10.1.0.1/32"])
    result = runtime.add(with_previous(config, previous), pod)
    size = 100_000
    send(runtime.host, pod, "10.1.0.2", size)
    send(pod, runtime.host, "10.1.0.1", size)
    for device in (host_end(result), result["interfaces"][-1]["name"]):
        text = runtime.host.exec("tc", "-s", "class", "show", "dev", device)
        free, shaped = text.split("class htb ")[1:]
        assert int(free.split("Sent ")[1].split()[0]) > size
        assert int(shaped.split("Sent ")[1].split()[0]) < size


def test_many_at_once(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = bandwidth(**BOTH)
    pods = [make_netns() for _ in range(8)]
    previous = [attach(runtime, pod, container_id=f"c{n}") for n, pod in enumerate(pods)]
    valid = [{"containerID": f"c{n}", "ifname": "eth0"} for n in range(8)]

    def add(n: int) -> Document:
        told = with_previous(config, previous[n])
        return runtime.add(told, pods[n], container_id=f"c{n}")

    with ThreadPoolExecutor(9) as pool:
        collected = pool.submit(runtime.call, "GC", {**config, "cni.dev/valid-attachments": valid})
        results = list(pool.map(add, range(8)))
        assert collected.result().code == 0
        for n, result in enumerate(results):
            told = with_previous(config, result)
            assert runtime.call("CHECK", told, pods[n], container_id=f"c{n}").code == 0
        deleted = [
            pool.submit(runtime.call, "DEL", config, pod, container_id=f"c{n}")
            for n, pod in enumerate(pods)
            for _ in range(2)
        ]
        assert {each.result().code for each in deleted} == {0}
    assert devices(runtime.host) == {host_end(each) for each in previous}


def test_del_while_others_change_filters(runtime: Runtime, pod: Netns) -> None:
    """The kernel refuses (EBUSY) to take a qdisc away that somebody else's request is about."""
    result = attach(runtime, pod)
    config, device = bandwidth(**BOTH), host_end(result)
    match = f"dev {device} ingress pref 9 protocol ip"
    line = f"filter replace {match} u32 match u32 0 0 action ok\nfilter del {match}\n"
    batch = runtime.directory / "filters"
    batch.write_text(line * 100_000)
    command = ["ip", "netns", "exec", runtime.host.name, "tc", "-force", "-batch", str(batch)]
    others = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        for _ in range(20):
            told = with_previous(config, runtime.add(with_previous(config, result), pod))
            outcome = runtime.call("DEL", told, pod)
            assert outcome.code == 0, outcome
        assert all(other.poll() is None for other in others)
    finally:
        for other in others:
            other.kill()
            other.wait()
