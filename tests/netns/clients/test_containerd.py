"""containerd 1.6 with runc, told by CRI: pods with loopback and a network, made in parallel."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from netns.clients.cri import Containerd
from netns.conftest import ReadJson

_TCP = 0
CONFLIST: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.22.0.0/24"}], [{"subnet": "fd00:22::/64"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    ],
}


def use(containerd: Containerd, conflist: dict[str, Any], name: str = "10-pods.conflist") -> None:
    """Give containerd a network configuration, and wait until it has seen it."""
    containerd.networks.joinpath(name).write_text(json.dumps(conflist))
    for _ in range(500):
        if containerd.network_ready():
            return
        containerd.machine.run("sleep", "0.02")
    pytest.fail("containerd did not take the configuration")


def test_network_is_not_ready_without_configuration(containerd: Containerd) -> None:
    """containerd says itself that it has no network, until there is a configuration."""
    assert not containerd.network_ready()
    use(containerd, CONFLIST)


def test_pod_life(containerd: Containerd, ip_json: ReadJson) -> None:
    """RunPodSandbox attaches, StopPodSandbox detaches, twice too; nothing is left."""
    use(containerd, CONFLIST)
    pod = containerd.run_pod("a")
    assert containerd.addresses(pod) == ["10.22.0.2", "fd00:22::2"]
    links = {
        link["ifname"]: link for link in json.loads(containerd.inside(pod, "ip", "-j", "link"))
    }
    assert sorted(links) == ["eth0", "lo"]
    assert "UP" in links["lo"]["flags"]
    assert containerd.inside(pod, "busybox", "ping", "-c1", "-W5", "10.22.0.1")
    containerd.stop_pod(pod)
    containerd.stop_pod(pod)
    containerd.remove_pod(pod)
    assert sorted(link["ifname"] for link in ip_json(containerd.machine.netns, "link")) == [
        "cni0",
        "lo",
    ]
    assert not any("/10.22." in name for name in containerd.machine.files("/var/lib/cni/networks"))
    assert containerd.machine.files("/var/lib/cni/results") == []


def test_published_port_and_bandwidth(containerd: Containerd, ip_json: ReadJson) -> None:
    """Port mappings and the pod's bandwidth annotations reach the plugins as capabilities."""
    use(containerd, CONFLIST)
    ports = [{1: _TCP, 2: 80, 3: 8080}]
    pod = containerd.run_pod("a", ports, egress_bandwidth="10M", ingress_bandwidth="10M")
    netns = containerd.machine.netns
    assert "10.22.0.2:80" in netns.exec("iptables-save", "-t", "nat")
    kinds = {link.get("linkinfo", {}).get("info_kind") for link in ip_json(netns, "link")}
    assert "ifb" in kinds
    assert "rate 10Mbit" in netns.exec("tc", "qdisc", "show")
    containerd.stop_pod(pod)
    assert "10.22.0.2:80" not in netns.exec("iptables-save", "-t", "nat")
    assert sorted(link["ifname"] for link in ip_json(netns, "link")) == ["cni0", "lo"]


def test_many_pods_at_once(containerd: Containerd) -> None:
    """Every pod gets an address of its own, and gives it back."""
    use(containerd, CONFLIST)
    with ThreadPoolExecutor(4) as threads:
        pods = list(threads.map(containerd.run_pod, (f"p{n}" for n in range(8))))
        addresses = [containerd.addresses(pod)[0] for pod in pods]
        assert len(set(addresses)) == len(pods)
        list(threads.map(containerd.stop_pod, pods))
    assert not any("/10.22." in name for name in containerd.machine.files("/var/lib/cni/networks"))


def test_failed_pod_leaves_nothing(containerd: Containerd, ip_json: ReadJson) -> None:
    """No address left: RunPodSandbox fails with the plugin's sentence."""
    conflist = json.loads(json.dumps(CONFLIST))
    conflist["plugins"][0]["ipam"]["ranges"] = [[{"subnet": "10.22.0.0/30"}]]
    use(containerd, conflist)
    containerd.run_pod("a")
    with pytest.raises(grpc.RpcError) as caught:
        containerd.run_pod("b")
    assert "no address is free in 10.22.0.1 to 10.22.0.2" in str(caught.value)
    links = ip_json(containerd.machine.netns, "link")
    assert [each.get("linkinfo", {}).get("info_kind") for each in links].count("veth") == 1


def test_first_configuration_counts(containerd: Containerd) -> None:
    """Of several files the first by name is the network, as libcni orders them."""
    other = {**CONFLIST, "name": "other", "plugins": [{"type": "ptp"}]}
    containerd.networks.joinpath("20-other.conflist").write_text(json.dumps(other))
    use(containerd, CONFLIST)
    pod = containerd.run_pod("a")
    assert containerd.addresses(pod)[0] == "10.22.0.2"
