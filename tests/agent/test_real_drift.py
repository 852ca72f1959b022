"""What somebody changes or removes in a real kernel is put right, and counted."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.real_nodes import DUAL, VTEP, RealNode, pods, real_cluster, wait_until
from podway.model.instances import BRIDGE_NAME

pytestmark = pytest.mark.root

VTEP6 = "podway-v6.1"


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
        pytest.param(f"ip link del {VTEP6}", f"ip -d link show {VTEP6}", id="IPv6 VTEP"),
        pytest.param(
            f"ip -6 neigh flush dev {VTEP6} nud permanent",
            f"ip neigh show dev {VTEP6} nud permanent",
            id="IPv6 neighbours",
        ),
        pytest.param(
            f"bridge fdb del {{mac6}} dev {VTEP6}", f"bridge fdb show dev {VTEP6}", id="IPv6 FDB"
        ),
        pytest.param("bridge fdb del {mac} dev podway.1", f"bridge fdb show dev {VTEP}", id="FDB"),
        pytest.param("nft delete table inet podway", "nft list table inet podway", id="table"),
        pytest.param("nft flush table inet podway", "nft list table inet podway", id="rules"),
        pytest.param(
            "sysctl -qw net.ipv4.ip_forward=0", "sysctl net.ipv4.ip_forward", id="forwarding"
        ),
        pytest.param(
            "sysctl -qw net.ipv6.conf.all.forwarding=0",
            "sysctl net.ipv6.conf.all.forwarding",
            id="IPv6 forwarding",
        ),
        pytest.param(
            f"sysctl -qw net.ipv6.conf.{BRIDGE_NAME}.accept_ra=1",
            f"sysctl net.ipv6.conf.{BRIDGE_NAME}.accept_ra",
            id="a device's sysctl",
        ),
        pytest.param("ip link del {pod}", "bridge link show", id="a pod's host end"),
        pytest.param("ip link set {pod} nomaster", "bridge link show", id="a port"),
    ],
)
def test_drift_is_repaired_and_counted(drifting: RealNode, command: str, witness: str) -> None:
    _break_and_see(drifting, command, witness)


@pytest.mark.parametrize(
    ("command", "witness"),
    [
        pytest.param("ip link del {pod}", "ip -d link show {pod}", id="a pod's host end"),
        pytest.param("ip link set {pod} down", "ip link show {pod} up", id="it is down"),
        pytest.param("ip route flush dev {pod}", "ip route show dev {pod}", id="a pod's route"),
        pytest.param(
            "ip -6 route flush dev {pod} proto 112",
            "ip -6 route show dev {pod} proto 112",
            id="a pod's IPv6 route",
        ),
        pytest.param(
            "ip route flush type unreachable",
            "ip route show type unreachable",
            id="the route for what no pod has",
        ),
        pytest.param(
            "ip addr flush dev {pod}", "ip -o addr show dev {pod}", id="what a pod's gateway is"
        ),
    ],
)
def test_drift_of_a_routed_pod(drifting_routed: RealNode, command: str, witness: str) -> None:
    _break_and_see(drifting_routed, command, witness)


def _break_and_see(node: RealNode, command: str, witness: str) -> None:
    """Run *command* in the node; see that *witness* soon says the same as before."""
    names = {"pod": node.pod_links()[0]}
    for name, dev in (("mac", VTEP), ("mac6", VTEP6)):
        (names[name],) = {item["mac"] for item in node.fdb(dev)}

    def look() -> str:
        done = subprocess.run(
            ["nsenter", f"--net={node.netns.path}", *witness.format(**names).split()],
            capture_output=True,
            text=True,
            check=False,
        )
        return _without_numbers(done.stdout)

    before, count = look(), node.status()["drift_repaired"]
    assert before
    _break(node, command.format(**names).split())
    wait_until(lambda: node.status()["drift_repaired"] > count, lambda: (look(), node.log))
    wait_until(lambda: look() == before, lambda: (before, look(), node.log))
    node.calm()
    node.ready()


def _break(node: RealNode, command: list[str]) -> None:
    """Run *command*; a flush that the agent has outrun ten times has flushed."""
    try:
        node.netns.exec(*command)
    except subprocess.CalledProcessError as error:
        if "Flush remains incomplete" not in str(error.stderr):
            raise


def _without_numbers(text: str) -> str:
    """Return *text* without what a device that was made anew has otherwise: its index."""
    return "\n".join(sorted(line[max(line.find("<"), 0) :] for line in text.splitlines()))


@pytest.fixture(scope="module")
def drifting() -> Iterator[RealNode]:
    """One of two nodes that know each other, with a pod: one for all kinds of drift."""
    with _settled("bridge") as node:
        yield node


@pytest.fixture(scope="module")
def drifting_routed() -> Iterator[RealNode]:
    """The same without a bridge."""
    with _settled("routed") as node:
        yield node


@contextmanager
def _settled(attach: str) -> Iterator[RealNode]:
    with real_cluster({**DUAL, "Attach": attach}, "ab") as (_, (one, two)), pods(1) as (pod,):
        for each in (one, two):
            each.start()
        for each in (one, two):
            each.ready()
        assert one.cni("ADD", "c1", pod).code == 0
        wait_until(lambda: len(one.fdb()) == len(one.fdb(VTEP6)) == 1)
        one.calm()
        yield one
