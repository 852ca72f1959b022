"""The agent's process and the CNI executable on the real kernel, in namespaces of the test."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent.nodes import Answer
from agent.real_nodes import HTTP, PATIENCE_S, RealNode, pods, real_cluster, wait_until
from hub.hub_process import HubProcess
from netns.conftest import Netns
from podway.agent.attachments import KERNEL_REFUSED
from podway.agent.serving import CHECK_FAILED
from podway.cni.errors import TRY_AGAIN_LATER, UNAVAILABLE
from podway.model.instances import BRIDGE_NAME, UNFINISHED_GROUP

pytestmark = pytest.mark.root

DUAL: dict[str, Any] = {
    "Network": "10.9.0.0/16",
    "EnableIPv6": True,
    "IPv6Network": "fd00:9::/48",
    "Backend": {"Type": "vxlan"},
}
ROUTED = {**DUAL, "Attach": "routed"}
VTEP = "podway.1"


@pytest.fixture
def node() -> Iterator[RealNode]:
    """A dual-stack VXLAN node with bridged pods, ready."""
    with real_cluster(DUAL) as (_, (made,)):
        made.start()
        made.ready()
        yield made


@pytest.fixture
def pod() -> Iterator[Netns]:
    with pods(1) as (made,):
        yield made


def addresses_in(pod: Netns) -> set[str]:
    """Return the addresses of the pod's ``eth0`` with their prefix lengths, none link-local."""
    (link,) = json.loads(pod.ip("-j", "address", "show", "dev", "eth0"))
    return {
        f"{item['local']}/{item['prefixlen']}"
        for item in link["addr_info"]
        if item["scope"] == "global"
    }


def ifnames_in(pod: Netns) -> set[str]:
    return {item["ifname"] for item in json.loads(pod.ip("-j", "link"))} - {"lo"}


def kernel_state(node: RealNode) -> list[object]:
    """Return what iproute2 shows of the node, without what changes by itself."""
    shown: list[object] = [sorted(node.our_routes().items())]
    for link in node.ip("address"):
        addresses = sorted(
            str(item["local"]) for item in link["addr_info"] if item["scope"] == "global"
        )
        shown.append((link["ifname"], link["ifindex"], link["mtu"], link["address"], addresses))
    return shown


# --- pods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("net_conf", [DUAL, ROUTED], ids=["bridge", "routed"])
def test_the_life_of_a_pod(net_conf: dict[str, Any], pod: Netns) -> None:
    with real_cluster(net_conf) as (_, (node,)):
        node.start()
        node.ready()
        before = kernel_state(node)
        assert node.cni("STATUS").code == 0
        answer = node.cni("ADD", "c1", pod)
        assert answer.code == 0, (answer, node.log)
        assert addresses_in(pod) == set(answer.addresses)
        assert node.pod_links() == [answer.document["interfaces"][-2]["name"]]
        gateways = {
            item["gateway"] for item in json.loads(pod.ip("-j", "route")) if "gateway" in item
        }
        assert gateways == {answer.document["routes"][0]["gw"]}
        node.calm()
        assert node.cni("CHECK", "c1", pod, prevResult=answer.document).code == 0
        assert node.cni("ADD", "c1", pod).document == answer.document

        pod.ip("address", "del", answer.addresses[0], "dev", "eth0")
        assert node.cni("CHECK", "c1", pod, prevResult=answer.document).code == CHECK_FAILED
        assert node.cni("DEL", "c1", pod).code == 0
        assert (ifnames_in(pod), node.pod_links()) == (set(), [])
        assert node.cni("DEL", "c1", pod).code == 0
        assert node.status()["addresses"]["used"] == 0
        wait_until(lambda: kernel_state(node) == before, lambda: (before, kernel_state(node)))


def test_many_at_once_get_different_addresses(node: RealNode) -> None:
    with pods(24) as made, ThreadPoolExecutor(8) as pool:
        names = [f"c{number}" for number in range(len(made))]
        answers: list[Answer] = list(
            pool.map(lambda name, pod: node.cni("ADD", name, pod), names, made)
        )
        assert {answer.code for answer in answers} == {0}, node.log
        given = [address for answer in answers for address in answer.addresses]
        assert len(set(given)) == len(given) == 48
        for answer, pod in zip(answers, made, strict=True):
            assert addresses_in(pod) == set(answer.addresses)
        valid = [{"containerID": name, "ifname": "eth0"} for name in names[:4]]
        config: dict[str, Any] = {"cni.dev/valid-attachments": valid}
        assert node.cni("GC", **config).code == 0
        assert len(node.pod_links()) == 4
        assert set(pool.map(lambda name: node.cni("DEL", name).code, names)) == {0}
        assert (node.pod_links(), node.status()["addresses"]["used"]) == ([], 0)


def test_an_interface_that_is_there_already(node: RealNode, pod: Netns) -> None:
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "other")
    answer = node.cni("ADD", "c1", pod)
    assert answer.code == KERNEL_REFUSED
    assert ifnames_in(pod) == {"eth0", "other"}
    assert (node.pod_links(), node.status()["addresses"]["used"]) == ([], 0)
    node.calm()
    node.ready()


def test_an_operation_that_always_fails_is_not_tried_without_end(node: RealNode) -> None:
    """Its own failed attempts must not be taken for news of the device."""
    with pods(1) as (pod,):
        assert node.cni("ADD", "c1", pod).code == 0
        node.kill()
        (name,) = node.pod_links()
        node.netns.ip("link", "del", name)
        pod.ip("link", "add", "eth0", "type", "veth", "peer", "other")
        node.start()
        wait_until(lambda: node.status().get("failing"))
        time.sleep(1.5)
        assert node.log.count("operation failed") < 15, node.log
        assert "exist" in node.status()["failing"][0]["error"].lower()
        pod.ip("link", "del", "eth0")
        node.ready()
        assert node.pod_links() == [name]


def test_a_namespace_that_went_before_its_del(node: RealNode) -> None:
    with pods(1) as (pod,):
        assert node.cni("ADD", "c1", pod).code == 0
    wait_until(lambda: node.pod_links() == [])
    node.ready()
    assert node.status()["addresses"]["used"] == 2
    assert node.cni("DEL", "c1").code == 0
    assert node.status()["addresses"]["used"] == 0


# --- restarts -----------------------------------------------------------------------------------


def test_a_killed_agent_finds_everything_as_it_was(node: RealNode, pod: Netns) -> None:
    answer = node.cni("ADD", "c1", pod)
    before = kernel_state(node)
    node.kill()
    # The executable waits for the agent for a while.
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(node.cni, "CHECK", "c1", pod, prevResult=answer.document)
        node.start()
        assert waiting.result().code in (0, TRY_AGAIN_LATER)
    node.ready()
    node.calm()
    assert kernel_state(node) == before
    assert node.cni("ADD", "c1", pod).document == answer.document
    assert node.cni("DEL", "c1", pod).code == 0
    assert node.pod_links() == []


def test_a_pair_whose_maker_was_killed_is_made_anew(node: RealNode, pod: Netns) -> None:
    """Its mark and its addresses come after its birth; what it is born with must do."""
    answer = node.cni("ADD", "c1", pod)
    (name,) = node.pod_links()
    node.kill()
    node.netns.ip("link", "del", name)
    for half, peer in ((name, ("peer", "eth0", "netns", pod.name)), ("pw0123456789a", ())):
        group = ("group", str(UNFINISHED_GROUP))
        node.netns.ip("link", "add", half, *group, "type", "veth", *peer)
    node.start()
    node.ready()
    node.calm()
    assert node.pod_links() == [name], "nobody knows the other one, and its mark says whose it is"
    assert addresses_in(pod) == set(answer.addresses)
    assert node.cni("ADD", "c1", pod).document == answer.document
    assert node.cni("DEL", "c1", pod).code == 0
    assert (ifnames_in(pod), node.pod_links()) == (set(), [])


def test_an_agent_that_is_told_to_end_ends_in_order(node: RealNode) -> None:
    with pods(8) as made, ThreadPoolExecutor(8) as pool:
        names = [f"c{number}" for number in range(8)]
        adding = [pool.submit(node.cni, "ADD", *each) for each in zip(names, made, strict=True)]
        time.sleep(0.02)
        assert node.signal(signal.SIGTERM) == 0, node.log
        assert "Traceback" not in node.log
        assert not list(node.directory.glob("*.sock"))
        node.start()
        answers = [future.result() for future in adding]
        assert {answer.code for answer in answers} <= {0, TRY_AGAIN_LATER}
        node.ready()
        live = sum(answer.code == 0 for answer in answers)
        assert len(node.pod_links()) == live
        assert set(pool.map(lambda name: node.cni("DEL", name).code, names)) == {0}
        assert (node.pod_links(), node.status()["addresses"]["used"]) == ([], 0)


def test_systemd_is_told(node: RealNode) -> None:
    node.signal(signal.SIGTERM)
    path = node.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(PATIENCE_S)

        def hear_until(word: str) -> list[str]:
            heard: list[str] = []
            while word not in heard:
                heard += listener.recv(4096).decode().splitlines()
            return heard

        node.start(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="1000000")
        hear_until("READY=1")
        assert node.status()["ready"]
        assert "STATUS=ready" in hear_until("WATCHDOG=1") + hear_until("WATCHDOG=1")
        assert node.signal(signal.SIGTERM) == 0
        hear_until("STOPPING=1")


def test_a_second_agent_with_the_same_state_is_refused(node: RealNode) -> None:
    done = _run_agent("--state-dir", str(node.directory / "state"), "--node", "a")
    assert done.returncode == 1
    assert "in use by another podway agent" in done.stderr
    assert "Traceback" not in done.stderr
    assert node.status()["ready"]


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        pytest.param(2, ("--tls-ca", "/ca"), "go together", id="half of TLS"),
        pytest.param(2, ("--store", "http://x"), "store", id="no such store"),
        pytest.param(2, ("--store", "tcp:hub:4000"), "--tls-ca", id="TCP without TLS"),
        pytest.param(2, ("--http", "nowhere"), "ADDRESS:PORT", id="no address"),
        pytest.param(
            1, ("--run-dir", "/tmp/" + "x" * 120), "--run-dir", id="too long for a socket"
        ),
        pytest.param(1, ("--state-dir", "/proc/x"), "cannot open", id="no place for the state"),
    ],
)
def test_what_cannot_be_started_says_why(
    tmp_path: Path, code: int, arguments: tuple[str, ...], says: str
) -> None:
    done = _run_agent(
        *("--state-dir", str(tmp_path / "state"), "--run-dir", str(tmp_path), "--node", "a"),
        *arguments,
    )
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def _run_agent(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an agent that is expected not to get far, in a namespace of its own."""
    return subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "podway.cli", "agent", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


# --- drift --------------------------------------------------------------------------------------


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
    (mac,) = {item["mac"] for item in _fdb(node)}

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


def _fdb(node: RealNode) -> list[dict[str, Any]]:
    text = subprocess.run(
        ["bridge", "-n", node.netns.name, "-j", "fdb", "show", "dev", VTEP],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed: list[dict[str, Any]] = json.loads(text)
    return [item for item in listed if "dst" in item]


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
        wait_until(lambda: len(_fdb(one)) == 1)
        one.calm()
        yield one


# --- the store and the uplink -------------------------------------------------------------------


def test_readiness_follows_the_store_and_metrics_tell(pod: Netns) -> None:
    with real_cluster(DUAL) as (hub, (node,)):
        hub.stop()
        node.start("--http", HTTP, "--store-grace", "0.2")
        wait_until(node.status)
        assert node.http("/readyz")[0] == 503
        assert node.http("/healthz")[0] == 200
        assert node.cni("STATUS").code == UNAVAILABLE
        hub.start()
        node.ready()
        assert node.http("/readyz") == (200, "ready\n\n")
        assert node.cni("ADD", "c1", pod).code == 0

        hub.kill()
        wait_until(lambda: node.http("/readyz")[0] == 503)
        assert "has been away" in node.http("/readyz")[1]
        assert node.cni("DEL", "c1", pod).code == 0
        metrics = node.http("/metrics")[1]
        assert "podway_store_connected 0.0" in metrics
        assert 'podway_cni_duration_seconds_count{command="ADD",result="ok"} 1.0' in metrics
        assert 'podway_operations_total{kind="link",result="ok",verb="create"}' in metrics
        hub.start()
        node.ready()


def _peer_routes(node: RealNode) -> set[str]:
    return {dst for dst, via in node.our_routes().items() if via}


def test_the_uplink_goes_down_and_up_and_changes_its_mtu() -> None:
    conf = {**DUAL, "Backend": {"Type": "host-gw"}}
    with real_cluster(conf, "ab") as (_, (one, two)):
        _start(one, two)
        wait_until(lambda: len(_peer_routes(one)) == 2, lambda: (one.our_routes(), one.log))
        before = one.our_routes()
        one.netns.ip("link", "set", "eth0", "down")
        wait_until(lambda: one.our_routes() == {} or not one.status()["ready"])
        one.netns.ip("link", "set", "eth0", "up")
        one.netns.ip("address", "replace", "2001:db8::1/64", "dev", "eth0", "nodad")
        wait_until(lambda: one.our_routes() == before, lambda: (one.our_routes(), one.log))
        one.ready()
        one.netns.ip("link", "set", "eth0", "mtu", "1400")
        wait_until(lambda: one.status()["mtu"] == {"ipv4": 1400, "ipv6": 1400})


def test_a_node_that_is_released_goes_from_its_peer(tmp_path: Path) -> None:
    del tmp_path
    with real_cluster(DUAL, "ab") as (hub, (one, two)):
        _start(one, two)
        wait_until(lambda: len(one.status()["peers"]) == 1)
        two.signal(signal.SIGTERM)
        one.kill()
        _release(hub, "b")
        one.start()
        one.ready()
        wait_until(lambda: _fdb(one) == [], lambda: (_fdb(one), one.log))
        one.calm()
        assert one.ip("neigh", "show", "dev", VTEP, "nud", "permanent") == []


def _start(*nodes: RealNode) -> None:
    for node in nodes:
        node.start()
    for node in nodes:
        node.ready()


def _release(hub: HubProcess, name: str) -> None:
    async def release() -> None:
        store = hub.open_store()
        await store.release(name)
        await store.close()

    asyncio.run(release())
