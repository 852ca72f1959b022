"""What somebody changes or removes in a real kernel is put right, and counted."""

import subprocess
from collections.abc import Iterator

import pytest

from agent.real_nodes import DUAL, VTEP, RealNode, pods, real_cluster, wait_until
from podway.model.instances import BRIDGE_NAME

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("command", "witness"),
    [
        pytest.param(f"ip link del {VTEP}", f"ip -d link show {VTEP}", id="VTEP"),
        pytest.param(f"ip link set {VTEP} down", f"ip link show {VTEP} up", id="VTEP down"),
        pytest.param(f"ip addr flush dev {VTEP}", f"ip -4 -o addr show {VTEP}", id="its address"),
        pytest.param(f"ip link del {BRIDGE_NAME}", f"ip link show {BRIDGE_NAME}", id="bridge"),
        pytest.param(
            f"ip addr flush dev {BRIDGE_NAME}",
            f"ip -o addr show {BRIDGE_NAME} scope global",
            id="gateways",
        ),
        pytest.param("ip route flush proto 112", "ip route show proto 112", id="routes"),
        pytest.param("ip -6 route flush proto 112", "ip -6 route show proto 112", id="IPv6 routes"),
        pytest.param(
            f"ip neigh flush dev {VTEP} nud permanent", f"ip neigh show dev {VTEP}", id="neighbours"
        ),
        pytest.param("bridge fdb del {mac} dev podway.1", f"bridge fdb show dev {VTEP}", id="FDB"),
        pytest.param("nft delete table inet podway", "nft list table inet podway", id="table"),
        pytest.param("nft flush table inet podway", "nft list table inet podway", id="rules"),
        pytest.param(
            "sysctl -qw net.ipv4.ip_forward=0", "sysctl net.ipv4.ip_forward", id="forwarding"
        ),
        pytest.param("ip link del {pod}", "bridge link show", id="a pod's host end"),
        pytest.param("ip link set {pod} nomaster", "bridge link show", id="a port"),
    ],
)
def test_drift_is_repaired_and_counted(drifting: RealNode, command: str, witness: str) -> None:
    node = drifting
    (pod,) = node.pod_links()
    (mac,) = {item["mac"] for item in node.fdb()}

    def look() -> str:
        done = subprocess.run(
            ["nsenter", f"--net={node.netns.path}", *witness.split()],
            capture_output=True,
            text=True,
            check=False,
        )
        return _without_numbers(done.stdout)

    before, count = look(), node.status()["drift_repaired"]
    assert before
    node.netns.exec(*command.format(pod=pod, mac=mac).split())
    wait_until(lambda: node.status()["drift_repaired"] > count, lambda: (look(), node.log))
    wait_until(lambda: look() == before, lambda: (before, look(), node.log))
    node.calm()
    node.ready()


def _without_numbers(text: str) -> str:
    """Return *text* without what a device that was made anew has otherwise: its index."""
    return "\n".join(sorted(line[max(line.find("<"), 0) :] for line in text.splitlines()))


@pytest.fixture(scope="module")
def drifting() -> Iterator[RealNode]:
    """One of two nodes that know each other, with a pod: one for all kinds of drift."""
    with real_cluster(DUAL, "ab") as (_, (one, two)), pods(1) as (pod,):
        for each in (one, two):
            each.start()
        for each in (one, two):
            each.ready()
        two.ready()
        assert one.cni("ADD", "c1", pod).code == 0
        wait_until(lambda: len(one.fdb()) == 1)
        one.calm()
        yield one
