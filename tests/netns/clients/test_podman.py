"""podman 4.3 and its CNI back end: run, stop, published ports, networks of its own, two of them."""

import json
from pathlib import Path

import pytest

from netns.clients.podman import Podman
from netns.conftest import ReadJson

_SERVE = "echo hello > /srv/index.html; exec httpd -f -h /srv -p 80"


def serve(podman: Podman, name: str) -> None:
    """Start a container that says hello on port 80, published as 8080, and wait until it does."""
    podman.run(name, "--publish", "8080:80", command=_SERVE)
    podman("exec", name, "sh", "-c", "until wget -qO- http://127.0.0.1/; do sleep 0.02; done")


def kernel_state(podman: Podman, ip_json: ReadJson) -> tuple[list[str], list[str]]:
    """Return the host's devices, and its rules that are about one container."""
    netns = podman.machine.netns
    links = sorted(link["ifname"] for link in ip_json(netns, "link"))
    rules = netns.exec("iptables-save").splitlines() + netns.exec("ip6tables-save").splitlines()
    return links, [rule for rule in rules if rule.startswith("-A") and "10.88." in rule]


def test_run_and_remove(podman: Podman, ip_json: ReadJson) -> None:
    """A container has an address of podman's default network; nothing of it is left."""
    podman.run("a")
    assert podman.addresses("a") == {"eth0": ["10.88.0.2/16"]}
    assert podman.inspect("a")["Networks"]["podman"]["IPAddress"] == "10.88.0.2"
    assert podman("exec", "a", "ping", "-c1", "-W5", "10.88.0.1")
    podman("rm", "-f", "-t", "0", "a")
    links, rules = kernel_state(podman, ip_json)
    assert links == ["cni-podman0", "lo"]
    assert rules == []
    reservations = podman.machine.files("/var/lib/cni/networks/podman")
    assert not [name for name in reservations if Path(name).name.startswith("10.88.")]


def test_stop_and_start(podman: Podman) -> None:
    """A container that was stopped gets a network again."""
    podman.run("a")
    podman("stop", "-t", "0", "a")
    podman("start", "a")
    assert podman.addresses("a")["eth0"][0].startswith("10.88.0.")
    assert podman("exec", "a", "ping", "-c1", "-W5", "10.88.0.1")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.88.0.1"])
def test_published_port(podman: Podman, address: str) -> None:
    """The host reaches a container by its own port, also by the loopback address."""
    serve(podman, "a")
    fetch = ("busybox", "wget", "-qO-", f"http://{address}:8080/")
    assert podman.machine.run(*fetch) == "hello\n"
    podman("rm", "-f", "-t", "0", "a")
    assert podman.machine.fails(*fetch)


def test_containers_reach_each_other(podman: Podman) -> None:
    """Also by the port that the host publishes, and a container reaches itself so (hairpin)."""
    serve(podman, "a")
    podman.run("b")
    fetch = ("wget", "-qO-")
    assert podman("exec", "b", *fetch, "http://10.88.0.2/") == "hello"
    assert podman("exec", "b", *fetch, "http://10.88.0.1:8080/") == "hello"
    assert podman("exec", "a", *fetch, "http://10.88.0.1:8080/") == "hello"


def test_custom_networks(podman: Podman) -> None:
    """Two networks on one container, one of both families; addresses that the user chose."""
    podman("network", "create", "--disable-dns", "--subnet=10.89.7.0/24", "--ipv6",
           "--subnet=fd00:7::/64", "two")  # fmt: skip
    podman.run("a", "--network=podman,two")
    addresses = podman.addresses("a")
    assert sorted(len(each) for each in addresses.values()) == [1, 2]
    assert sorted(each for listed in addresses.values() for each in listed) == [
        "10.88.0.2/16",
        "10.89.7.2/24",
        "fd00:7::2/64",
    ]
    podman.run("b", "--network=two:ip=10.89.7.77,mac=02:00:00:00:00:77")
    assert "10.89.7.77/24" in podman.addresses("b")["eth0"]
    assert "02:00:00:00:00:77" in podman("exec", "b", "ip", "link")
    assert podman("exec", "a", "ping", "-c1", "-W5", "10.89.7.77")
    podman("rm", "-f", "-t", "0", "a", "b")
    podman("network", "rm", "two")


def test_connect_and_disconnect(podman: Podman) -> None:
    """A network is added to a container that runs, and taken away."""
    podman("network", "create", "--disable-dns", "--subnet=10.89.7.0/24", "two")
    podman.run("a")
    podman("network", "connect", "two", "a")
    assert sorted(podman.addresses("a")) == ["eth0", "eth1"]
    podman("network", "disconnect", "two", "a")
    assert sorted(podman.addresses("a")) == ["eth0"]


def test_cached_result(podman: Podman) -> None:
    """libcni keeps the result that it got, and its DEL goes by that."""
    identifier = podman.run("a")
    path = f"/var/lib/cni/results/podman-{identifier}-eth0"
    cached = json.loads(podman.machine.read(path))
    assert cached["kind"] == "cniCacheV1"
    assert cached["ifName"] == "eth0"
    assert [each["address"] for each in cached["result"]["ips"]] == ["10.88.0.2/16"]
    assert cached["result"]["cniVersion"] == "0.4.0"
    podman("rm", "-f", "-t", "0", "a")
    assert podman.machine.files("/var/lib/cni/results") == []
