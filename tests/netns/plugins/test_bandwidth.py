"""The ``bandwidth`` executable behind ``ptp``, and the same configuration through the original."""

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import Document, Runtime, config_of, devices, link_of, with_previous
from netns.plugins.originals import needs_original
from netns.plugins.shaped_links import BOTH, attach, bandwidth, filters, host_end, qdiscs
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE

pytestmark = pytest.mark.kernel("ifb")


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
