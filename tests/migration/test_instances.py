"""Two agents in one network namespace, each for a network of its own."""

import json
import subprocess
from typing import Any

import pytest

from agent.real_nodes import wait_until
from migration.flannel_cluster import Etcd, flannel_cluster
from migration.flannel_nodes import STORE, FlannelNode
from podway.agent.calls import call_agent
from podway.model.instances import instance_of

pytestmark = pytest.mark.root
BLUE = "/blue/network"
BLUE_PROTOCOL = str(instance_of("blue").marks.protocol)
PEER = '{{"PublicIP":"192.0.2.2","PublicIPv6":null,"BackendType":"vxlan","BackendData":{data}}}'


def set_up_blue(etcd: Etcd) -> None:
    conf = {"Network": "10.250.0.0/16", "Backend": {"Type": "vxlan", "VNI": 2}}
    etcd.put(f"{BLUE}/config", json.dumps(conf))
    data = '{"VNI":2,"VtepMAC":"02:b1:00:00:00:02"}'
    etcd.put(f"{BLUE}/subnets/10.250.2.0-24", PEER.format(data=data))


def options_of(node: FlannelNode, name: str, prefix: str) -> list[str]:
    directory = node.directory / (name or "default")
    instance = ["--instance", name] if name else []
    return [
        *("agent", "--node", node.name, "--uplink", "eth0", *instance),
        *("--store", f"etcd:http://{STORE}:2379{prefix}"),
        *("--run-dir", str(directory), "--state-dir", str(directory / "state")),
    ]


def status(node: FlannelNode, name: str) -> dict[str, Any]:
    try:
        return call_agent(node.directory / (name or "default") / "agent.sock", "status", {})
    except Exception:  # noqa: BLE001  (not there yet)
        return {}


def ready(node: FlannelNode, name: str) -> None:
    wait_until(lambda: status(node, name).get("ready"), lambda: node.log)


def end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
        process.communicate()


def routes(node: FlannelNode) -> dict[str, tuple[str, str]]:
    listed = json.loads(node.netns.ip("-j", "-d", "route", "show"))
    return {item["dst"]: (item["dev"], str(item.get("protocol", ""))) for item in listed}


def test_they_leave_each_others_things_alone() -> None:
    with flannel_cluster(1, {"Type": "vxlan"}) as (etcd, (node,)):
        node.netns.ip("link", "delete", "flannel.1")
        node.netns.ip("link", "delete", "cni0")
        set_up_blue(etcd)
        peer = PEER.format(data='{"VNI":1,"VtepMAC":"02:f1:a0:00:00:02"}')
        etcd.put("/coreos.com/network/subnets/10.244.2.0-24", peer)
        agents = {}
        try:
            for name, prefix in (("", "/coreos.com/network"), ("blue", BLUE)):
                agents[name] = node.podway(*options_of(node, name, prefix))
            for name in agents:
                ready(node, name)
            both = {
                "10.244.2.0/24": ("podway.1", "112"),
                "10.250.2.0/24": ("blue.2", BLUE_PROTOCOL),
            }
            wait_until(lambda: both.items() <= routes(node).items(), lambda: routes(node))
            assert {"cni0", "cni-blue"} <= {dev for dev, _ in routes(node).values()}
            # Whoever of them starts sweeps its own things only.
            for name, prefix in (("", "/coreos.com/network"), ("blue", BLUE)):
                end(agents[name])
                agents[name] = node.podway(*options_of(node, name, prefix))
                ready(node, name)
                assert both.items() <= routes(node).items()
            tables = node.netns.exec("nft", "list", "tables").splitlines()
            assert {"table inet podway", "table inet podway-blue"} <= set(tables)
            end(agents[""])
            directory = node.directory / "default"
            places = ("--run-dir", str(directory), "--state-dir", str(directory / "state"))
            gone = node.podway("uninstall", *places)
            assert gone.wait(timeout=20) == 0, node.log
            gone.communicate()
            left = routes(node)
            assert left["10.250.2.0/24"] == both["10.250.2.0/24"]
            assert "10.244.2.0/24" not in left
            assert not status(node, "blue")["failing"]
        finally:
            for agent in agents.values():
                end(agent)


def test_two_with_one_name_are_refused() -> None:
    with flannel_cluster(1, {"Type": "vxlan"}) as (_etcd, (node,)):
        node.start("flanneld", *node.flags)
        second = node.podway(*options_of(node, "", BLUE))
        second.communicate(timeout=20)
        assert second.returncode == 1
        assert "--instance" in node.log
        assert node.status()["ready"]
