"""The ``ptp`` executable, and the same configuration through the original."""

import json
from concurrent.futures import ThreadPoolExecutor
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
    routes_of,
    saved_table,
    with_previous,
    without_waiting,
)
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.originals import compare_main_plugins, needs_original
from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    IO_FAILURE,
    LIMITED_CONNECTIVITY,
)

FOUR, SIX = "10.1.0.0/24", "fd01::/64"


def ptp(runtime: Runtime, **keys: Any) -> Document:
    """Return a configuration with addresses of both families and default routes."""
    ipam = runtime.ipam(FOUR, SIX, routes=[{"dst": "0.0.0.0/0"}, {"dst": "::/0"}])
    return config_of("ptp", **{"ipam": ipam, **keys})


def forwarding(netns: Netns) -> list[str]:
    paths = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
    return [netns.exec("cat", f"/proc/sys/{path}").strip() for path in paths]


def nat_rules(netns: Netns) -> str:
    """Return the rules of both families."""
    return "\n".join(line for line in saved_table(netns, "nat") if line.startswith("-A"))


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    config = ptp(runtime, mtu=1400, dns={"nameservers": ["192.0.2.53"]})
    assert runtime.call("STATUS", config).code == 0
    result = runtime.add(config, pod)
    outer, inner = result["interfaces"]
    assert outer["name"].startswith("veth")
    assert "sandbox" not in outer
    assert inner["sandbox"] == pod.path
    host_link, link = link_of(runtime.host, outer["name"]), link_of(pod, "eth0")
    for told, found in ((outer, host_link), (inner, link)):
        assert (told["mac"], told["mtu"]) == (found["address"], 1400)
        assert found["operstate"] == "UP"
    assert host_link["ifalias"] == "cni:net/c1/eth0"
    assert [ip["interface"] for ip in result["ips"]] == [1, 1]
    assert result["dns"] == {"nameservers": ["192.0.2.53"]}
    assert addresses_of(pod, "eth0") == {"10.1.0.2/24", "fd01::2/64"}
    assert addresses_of(runtime.host, outer["name"]) == {"10.1.0.1/32", "fd01::1/128"}
    assert forwarding(runtime.host) == ["1", "1"]
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert devices(pod) == devices(runtime.host) == set()
        assert runtime.reserved() == set()


def test_containers_reach_each_other_through_the_host(
    runtime: Runtime, make_netns: MakeNetns
) -> None:
    pods = [make_netns() for _ in range(2)]
    for number, pod in enumerate(pods):
        runtime.add(ptp(runtime), pod, container_id=f"c{number}")
    for address in ("10.1.0.3", "fd01::3"):
        connect(pods[0], pods[1], address)
        connect(runtime.host, pods[1], address)
    # Not through the link, where nobody of the subnet is: by way of the gateway.
    assert {each["dst"] for each in json.loads(pods[0].ip("-j", "neigh"))} <= {
        "10.1.0.1", "fd01::1",
    }  # fmt: skip


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_masquerade(backend: str, runtime: Runtime, pod: Netns, outside: Netns) -> None:
    config = ptp(runtime, ipMasq=True, ipMasqBackend=backend)
    result = runtime.add(config, pod)
    assert connect(pod, outside, "192.0.2.9") == "192.0.2.1"
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    if backend == "iptables":
        runtime.host.exec("iptables", "-t", "nat", "-F", "POSTROUTING")
    else:
        runtime.host.exec("nft", "flush chain inet cni_plugins_masquerade masq_checks")
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED
    assert runtime.call("DEL", checked, pod).code == 0
    assert "10.1.0.2" not in runtime.host.exec("nft", "list", "ruleset")
    assert "CNI-" not in nat_rules(runtime.host)


@pytest.mark.parametrize(
    "gone", ["path", "namespace", "link", "host end", "prevResult", "addresses", "address"]
)
def test_del_when_things_are_gone(
    gone: str, runtime: Runtime, make_netns: MakeNetns, pod: Netns
) -> None:
    config = ptp(runtime, ipMasq=True)
    result = runtime.add(config, pod)
    other = make_netns()
    runtime.add(config, other, container_id="c2")
    container, called = pod.path, with_previous(config, result)
    if gone == "path":
        container = "/run/netns/gone"  # but processes are still in the namespace
    elif gone == "namespace":
        container = ""
    elif gone == "link":
        pod.ip("link", "delete", "eth0")
    elif gone == "host end":
        runtime.host.ip("link", "delete", result["interfaces"][0]["name"])
    elif gone == "addresses":
        pod.ip("addr", "flush", "dev", "eth0")
        called = config
    elif gone == "address":
        pod.ip("addr", "flush", "dev", "eth0")
        pod.ip("addr", "add", "10.1.0.77/24", "dev", "eth0")
    else:
        called = with_previous(config, {"cniVersion": "0.0.9", "ips": "lie"})
    for _ in range(2):
        assert runtime.call("DEL", called, container).code == 0
    assert devices(pod) == set()
    assert len(devices(runtime.host)) == 1
    assert runtime.reserved() == {"10.1.0.3", "fd01::3"}
    rules = nat_rules(runtime.host)
    assert "10.1.0.2/32" not in rules
    assert "10.1.0.3/32" in rules


@pytest.mark.parametrize("told", ["prevResult", "nothing"])
def test_two_attachments_of_one_container(told: str, runtime: Runtime, pod: Netns) -> None:
    config = ptp(runtime, ipMasq=True, ipam=runtime.ipam(FOUR))
    results = {name: runtime.add(config, pod, ifname=name) for name in ("eth0", "net1")}
    called = with_previous(config, results["eth0"]) if told == "prevResult" else config
    for _ in range(2):
        assert runtime.call("DEL", called, pod, ifname="eth0").code == 0
    checked = with_previous(config, results["net1"])
    assert runtime.call("CHECK", checked, pod, ifname="net1").code == 0
    assert runtime.call("DEL", checked, pod, ifname="net1").code == 0
    assert "CNI-" not in nat_rules(runtime.host)


def test_gc(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = ptp(runtime, ipMasq=True)
    pods = [make_netns() for _ in range(3)]
    results = [
        runtime.add(config, pod, container_id=f"c{number}") for number, pod in enumerate(pods)
    ]
    runtime.host.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    runtime.host.ip("link", "set", "veth0", "alias", "cni:other/c0/eth0")
    valid = [{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c9", "ifname": "eth0"}]
    collecting = {**config, "cni.dev/valid-attachments": valid}
    for _ in range(2):
        assert runtime.call("GC", collecting).code == 0
    kept = results[1]["interfaces"][0]["name"]
    assert devices(runtime.host) == {"veth0", "veth1", kept}
    assert runtime.reserved() == {"10.1.0.3", "fd01::3"}
    rules = nat_rules(runtime.host)
    assert ("10.1.0.2/32" in rules, "10.1.0.3/32" in rules) == (False, True)
    checked = with_previous(config, results[1])
    assert runtime.call("CHECK", checked, pods[1], container_id="c1").code == 0


def test_a_name_that_the_container_has_is_refused(runtime: Runtime, pod: Netns) -> None:
    config = ptp(runtime)
    checked = with_previous(config, runtime.add(config, pod))
    assert runtime.call("ADD", config, pod).code == IO_FAILURE
    assert runtime.call("CHECK", checked, pod).code == 0  # nothing was given back


def test_an_address_that_another_container_has(
    runtime: Runtime, make_netns: MakeNetns, pod: Netns
) -> None:
    addresses = [{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}]
    config = ptp(runtime, ipMasq=True, ipam={"type": "static", "addresses": addresses})
    runtime.add(config, pod)
    rules, other = nat_rules(runtime.host), make_netns()
    outcome = runtime.call("ADD", config, other, container_id="c2")
    assert outcome.code == IO_FAILURE
    assert "10.1.0.2/32" in outcome.msg
    assert devices(other) == set()
    assert len(devices(runtime.host)) == 1
    assert nat_rules(runtime.host) == rules


def test_an_add_that_fails_late_leaves_nothing(runtime: Runtime, pod: Netns) -> None:
    routes = [{"dst": "10.9.0.0/16", "gw": "172.16.0.1"}]
    config = ptp(runtime, ipMasq=True, ipam=runtime.ipam(FOUR, routes=routes))
    assert runtime.call("ADD", config, pod).code == IO_FAILURE
    assert devices(pod) == devices(runtime.host) == set()
    assert runtime.reserved() == set()


@pytest.mark.parametrize(
    ("ipam", "code"),
    [
        pytest.param({}, INVALID_CONFIG, id="no IPAM"),
        pytest.param(
            {"type": "static", "addresses": [{"address": "10.1.0.2/24"}]},
            INVALID_CONFIG,
            id="no gateway",
        ),
    ],
)
def test_refused(ipam: Document, code: int, runtime: Runtime, pod: Netns) -> None:
    assert runtime.call("ADD", ptp(runtime, ipam=ipam), pod).code == code
    assert devices(pod) == devices(runtime.host) == set()


def test_a_gateway_beyond_the_subnet_and_addresses_of_full_length(
    runtime: Runtime, pod: Netns
) -> None:
    addresses = [
        {"address": "10.1.0.2/32", "gateway": "169.254.1.1"},
        {"address": "10.2.0.2/32", "gateway": "169.254.1.1"},
        {"address": "fd01::2/128", "gateway": "fe80::1"},
    ]
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    ipam = {"type": "static", "addresses": addresses, "routes": routes}
    config = ptp(runtime, ipam=ipam)
    result = runtime.add(config, pod)
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    for address in ("10.1.0.2", "10.2.0.2", "fd01::2"):
        connect(runtime.host, pod, address)


@pytest.mark.parametrize(
    ("on_host", "in_pod"),
    [
        pytest.param("addr del 10.1.0.1/32 dev {veth}", "", id="gateway address"),
        pytest.param("route del fd01::2", "", id="host route"),
        pytest.param("link set {veth} down", "", id="host end down"),
        pytest.param("link set {veth} name other", "", id="host end renamed"),
        pytest.param("", "route del 10.1.0.0/24", id="route to the subnet"),
        pytest.param("", "route del fd01::1", id="route to the gateway"),
        pytest.param("", "route del default", id="default route"),
        pytest.param("", "link set eth0 mtu 1280", id="mtu"),
    ],
)
def test_check_notices(on_host: str, in_pod: str, runtime: Runtime, pod: Netns) -> None:
    config = ptp(runtime)
    result = runtime.add(config, pod)
    veth = result["interfaces"][0]["name"]
    for netns, command in ((runtime.host, on_host), (pod, in_pod)):
        if command:
            netns.ip(*command.format(veth=veth, pod=pod.name).split())
    assert runtime.call("CHECK", with_previous(config, result), pod).code == CHECK_FAILED


def test_check_notices_another_pair(runtime: Runtime, pod: Netns) -> None:
    config = ptp(runtime)
    result, other = (runtime.add(config, pod, ifname=name) for name in ("eth0", "net1"))
    pair = [other["interfaces"][0], result["interfaces"][1]]
    checked = with_previous(config, {**result, "interfaces": pair})
    outcome = runtime.call("CHECK", checked, pod)
    assert outcome.code == CHECK_FAILED
    assert pair[0]["name"] in outcome.msg


def test_check_notices_that_the_host_does_not_forward(runtime: Runtime, pod: Netns) -> None:
    config = ptp(runtime)
    result = runtime.add(config, pod)
    runtime.host.exec("sysctl", "-qw", "net.ipv4.ip_forward=0")
    assert runtime.call("CHECK", with_previous(config, result), pod).code == CHECK_FAILED


def test_status_of_those_attached(runtime: Runtime, pod: Netns) -> None:
    config = ptp(runtime)
    runtime.add(config, pod)
    assert runtime.call("STATUS", config).code == 0
    runtime.host.exec("sysctl", "-qw", "net.ipv4.ip_forward=0")
    assert runtime.call("STATUS", config).code == LIMITED_CONNECTIVITY
    assert runtime.call("STATUS", {**config, "name": "other"}).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert runtime.call("STATUS", config).code == 0, "nobody is attached"


def test_many_containers_at_once(runtime: Runtime, make_netns: MakeNetns) -> None:
    pods = [make_netns() for _ in range(8)]
    config = ptp(runtime, ipMasq=True)

    def call(command: str, n: int) -> int:
        return runtime.call(command, config, pods[n], container_id=f"c{n}").code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda n: call("ADD", n), range(8))) == {0}
        assert len(devices(runtime.host)) == 8
        assert len(runtime.reserved()) == 16
        assert set(threads.map(lambda n: call("DEL", n), range(8))) == {0}
    assert devices(runtime.host) == set()
    assert (runtime.reserved(), nat_rules(runtime.host)) == (set(), "")


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_killed_at_any_point(command: str, runtime: Runtime, pod: Netns) -> None:
    """Whatever it was doing: DEL and GC leave nothing afterwards."""
    kill_everywhere(Victim(runtime, pod, (ptp(runtime, ipMasq=True),)), command)


def both_ends(runtime: Runtime, pod: Netns, veth: str) -> list[object]:
    """Return addresses and routes of both ends; the original's random name as ours."""
    return [
        addresses_of(pod, "eth0"),
        routes_of(pod),
        addresses_of(runtime.host, veth),
        json.loads(json.dumps(routes_of(runtime.host)).replace(veth, "veth")),
        forwarding(runtime.host),
        link_of(pod, "eth0")["mtu"],
    ]


@needs_original
@pytest.mark.parametrize(
    ("version", "keys"),
    [
        pytest.param("0.2.0", {}, id="defaults"),
        pytest.param("0.3.1", {"mtu": 1300, "dns": {"domain": "d"}}, id="mtu, dns"),
        pytest.param("0.4.0", {"ipMasq": True}, id="masquerade"),
        pytest.param("1.0.0", {"ipMasq": True}, id="newest that Debian has"),
    ],
)
def test_as_the_original(
    version: str, keys: Document, runtime: Runtime, make_netns: MakeNetns
) -> None:
    config = {**ptp(runtime, **keys), "cniVersion": version}
    without_waiting(runtime.host)

    def observe(pod: Netns, _: Document) -> object:
        (veth,) = devices(runtime.host)
        return both_ends(runtime, pod, veth), nat_rules(runtime.host)

    compare_main_plugins(runtime, make_netns, config, observe)


def test_the_example_of_the_manual(runtime: Runtime, pod: Netns) -> None:
    config = example_of("ptp", runtime)
    checked = with_previous(config, runtime.add(config, pod))
    assert addresses_of(pod, "eth0") == {"10.50.0.2/24", "fd00:50::2/64"}
    connect(runtime.host, pod, "fd00:50::2")
    assert runtime.call("CHECK", checked, pod).code == 0
    assert runtime.call("DEL", checked, pod).code == 0
