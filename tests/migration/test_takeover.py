"""A cluster of flannel's becomes podway's, node by node, and not one packet is lost."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from agent.real_nodes import wait_until
from migration.flannel_cluster import flannel_cluster
from migration.flannel_nodes import FlannelNode
from migration.flows import assert_nothing_lost, flows

VXLAN = {"Type": "vxlan"}
HOST_GW = {"Type": "host-gw"}
pytestmark = pytest.mark.root


def fates(answer: dict[str, Any]) -> set[tuple[str, str]]:
    return {(item["fate"], item["what"]) for item in answer["items"]}


def has_no(node: FlannelNode, word: str) -> bool:
    return word not in node.rules()


def as_flanneld(node: FlannelNode) -> tuple[list[str], list[str]]:
    return ["--flanneld", *node.flags], ["flanneld", *node.flags]


def renamed(node: FlannelNode) -> tuple[list[str], list[str]]:
    return node.options, ["agent", *node.options]


@pytest.mark.parametrize(
    ("way", "device"),
    [
        pytest.param(as_flanneld, "flannel.1", id="names kept"),
        pytest.param(renamed, "podway.1", id="renamed", marks=pytest.mark.kernel("rename_up")),
    ],
)
def test_vxlan_node_by_node(
    way: Callable[[FlannelNode], tuple[list[str], list[str]]], device: str
) -> None:
    with flannel_cluster(3, VXLAN) as (etcd, nodes):
        first, second, third = nodes
        before = [node.link("flannel.1") for node in nodes]
        bytes_before = [etcd.get(node.key) for node in nodes]
        first.add_vxlan_peer(99)  # went while flanneld was down
        with flows(first, second) as one, flows(second, third) as other:
            for node in (first, second):
                migration, agent = way(node)
                code, plan = node.migrate(*migration)
                assert (code, plan["done"]) == (0, False)
                assert node.routes()["10.244.3.0/24"] == ("flannel.1", "boot")
                code, done = node.migrate("--apply", *migration)
                assert (code, done["done"], done["items"]) == (0, True, plan["items"])
                assert "FLANNEL" not in node.rules()
                assert "masquerade" in node.rules() or way is renamed
                node.start(*agent)
            told = [*one.end(), *other.end()]
        assert_nothing_lost(told)
        for node, was in zip(nodes, before, strict=True):
            now = node.link("flannel.1" if node is third else device)
            assert (now["ifindex"], now["address"]) == (was["ifindex"], was["address"])
        for node in (first, second):
            others = {f"10.244.{each.number}.0/24" for each in nodes if each is not node}
            routes = {dst: way for dst, way in node.routes().items() if way[0] != "cni0"}
            assert routes == dict.fromkeys(others, (device, "112"))
            assert not node.status()["failing"]
        assert [etcd.get(node.key) for node in nodes] == bytes_before
        assert sorted(etcd.keys()) == sorted(node.key for node in nodes)
        assert "10.244.99" not in first.netns.ip("neigh")


def test_the_plan_names_everything() -> None:
    with flannel_cluster(2, VXLAN) as (_, (node, _other)):
        node.add_vxlan_peer(99)
        code, plan = node.migrate("--flanneld", *node.flags)
        assert (code, plan["blocked"]) == (0, False)
        assert fates(plan) == {
            ("kept", "device flannel.1"),
            ("kept", "1 address"),
            ("kept", "1 route"),
            ("kept", "1 neighbour"),
            ("kept", "1 FDB entry"),
            ("added", "nftables table inet podway"),
            ("replaced", "sysctl ipv6/conf/flannel.1/accept_ra"),
            ("removed", "route 10.244.99.0/24"),
            ("removed", "neighbour 10.244.99.0 on flannel.1"),
            ("removed", "FDB entry 02:f1:a0:00:00:63 on flannel.1"),
            ("removed", "iptables chain FLANNEL-POSTRTG of table nat"),
            ("removed", "iptables chain FLANNEL-FWD of table filter"),
        }
        assert node.routes()["10.244.99.0/24"] == ("flannel.1", "boot")


def test_host_gw() -> None:
    with flannel_cluster(2, HOST_GW) as (_etcd, nodes):
        first, second = nodes
        first.add_route(99)
        first.netns.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.2")
        with flows(first, second) as traffic:
            for node in nodes:
                code, _ = node.migrate("--apply", "--flanneld", *node.flags)
                assert code == 0, node.log
                node.start("flanneld", *node.flags)
            assert_nothing_lost(traffic.end())
        routes = {dst: way for dst, way in first.routes().items() if way[0] != "cni0"}
        assert routes == {"10.244.2.0/24": ("eth0", "112")}
        assert "198.51.100.0/24" in first.netns.ip("route")


def test_an_agent_takes_over_without_being_migrated() -> None:
    """As when the image of a DaemonSet is changed and nothing else."""
    with flannel_cluster(2, VXLAN) as (etcd, nodes):
        first, second = nodes
        with flows(first, second) as traffic:
            for node in nodes:
                value = etcd.get(node.key)
                node.start("flanneld", *node.flags)
                wait_until(partial(has_no, node, "FLANNEL"), node.rules)
                assert etcd.get(node.key) == value
                assert (node.directory / "subnet.env").read_text() == node.subnet_env()
            for node in nodes:
                node.kill()
                node.start("flanneld", *node.flags)
            assert_nothing_lost(traffic.end())
        assert {dev for dev, _ in first.routes().values()} == {"cni0", "flannel.1"}


@pytest.mark.kernel("rename_up")
def test_killed_in_the_middle_it_goes_on() -> None:
    """Over its whole run; what is half done is found and finished, and packets flow on."""
    with flannel_cluster(2, VXLAN) as (_etcd, nodes):
        first, second = nodes
        with flows(first, second) as traffic:
            started = time.monotonic()
            assert second.migrate("--apply", *second.options)[0] == 0
            whole_s = time.monotonic() - started
            for step in range(8):
                process = first.podway("migrate", "--apply", *first.options)
                time.sleep(whole_s * (0.4 + step * 0.08))
                process.kill()
                process.communicate()
            assert first.migrate("--apply", *first.options)[0] == 0
            again = first.migrate("--apply", *first.options)[1]
            first.start("agent", *first.options)
            assert_nothing_lost(traffic.end())
        # What an earlier process wrote there nobody can compare; it is written once more.
        assert fates(again) - {("replaced", "nftables table inet podway")} == {
            ("kept", "device podway.1"),
            *(("kept", f"1 {kind}") for kind in ("address", "route", "neighbour", "FDB entry")),
        }
        assert first.routes()["10.244.2.0/24"] == ("podway.1", "112")
        assert "FLANNEL" not in first.rules()


def test_what_cannot_be_taken_over_says_why() -> None:
    with flannel_cluster(2, {"Type": "vxlan", "Port": 4789}) as (_etcd, (node, _other)):
        code, plan = node.migrate("--apply", "--flanneld", *node.flags)
        assert (code, plan["done"]) == (1, False)
        why = [item["why"] for item in plan["items"] if item["fate"] == "blocked"]
        assert len(why) == 1
        assert "port 8472, not 4789" in why[0]
        assert node.routes()["10.244.2.0/24"] == ("flannel.1", "boot")
        assert "FLANNEL-FWD" in node.rules()


@pytest.mark.parametrize("after", ["flanneld", "a reboot"])
def test_a_chain_that_drops_lets_the_network_pass(after: str) -> None:
    """Docker sets the policy of FORWARD to DROP: another table's accept does not help then."""
    with flannel_cluster(2, VXLAN) as (_etcd, nodes):
        for node in nodes:
            node.netns.exec("iptables", "-P", "FORWARD", "DROP")
            if after == "a reboot":
                node.netns.exec("iptables", "-F", "FORWARD")
                node.netns.exec("iptables", "-F", "FLANNEL-FWD")
                node.netns.exec("iptables", "-X", "FLANNEL-FWD")
            node.start("flanneld", *node.flags)
            wait_until(partial(has_no, node, "FLANNEL-POSTRTG"), node.rules)
            assert "jump PODWAY-FWD" in node.rules()
            assert "FLANNEL" not in node.rules(), "podway's own has taken its place"
        with flows(*nodes) as traffic:
            assert_nothing_lost(traffic.end())
