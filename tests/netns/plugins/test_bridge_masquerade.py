"""Masquerading by the ``bridge`` executable: who is seen outside, and whose rules are whose."""

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.bridge_network import FOUR, SIX, bridge, nat_rules, ruleset
from netns.plugins.cni_runtime import Document, Runtime, connect, with_previous
from podway.cni.errors import CHECK_FAILED

BREAK_MASQUERADE = {
    "iptables": ("iptables", "-t", "nat", "-F", "POSTROUTING"),
    "nftables": ("nft", "flush", "chain", "inet", "cni_plugins_masquerade", "masq_checks"),
}


@pytest.mark.parametrize("backend", BREAK_MASQUERADE)
def test_masquerade(backend: str, runtime: Runtime, make_netns: MakeNetns, outside: Netns) -> None:
    pods = [make_netns() for _ in range(2)]
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


def test_masquerade_by_the_legacy_kind(
    runtime: Runtime, pod: Netns, outside: Netns, legacy_path: Document
) -> None:
    """A system whose iptables is legacy; the kernel knows both kinds."""
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
