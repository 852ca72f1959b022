"""The agent's process and the CNI executable on the real kernel, in namespaces of the test."""

import asyncio
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent.nodes import Answer
from agent.real_nodes import DUAL, VTEP, RealNode, pods, real_cluster, wait_until
from hub.hub_process import HubProcess
from netns.conftest import Netns
from podway.agent.attachments import KERNEL_REFUSED
from podway.agent.serving import CHECK_FAILED
from podway.cni.errors import TRY_AGAIN_LATER
from podway.model.instances import UNFINISHED_GROUP

pytestmark = pytest.mark.root

ROUTED = {**DUAL, "Attach": "routed"}


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


def test_a_hundred_calls_in_one_instant(node: RealNode) -> None:
    """As from a hundred processes, without what it takes to start them."""
    with pods(100) as made, ThreadPoolExecutor(len(made)) as pool:
        names = [f"c{number}" for number in range(len(made))]
        adding = [pool.submit(node.ask, "ADD", *each) for each in zip(names, made, strict=True)]
        answers = [future.result() for future in adding]
        assert {answer.code for answer in answers} == {0}, node.log
        assert len({address for answer in answers for address in answer.addresses}) == 200
        for answer, pod in zip(answers, made, strict=True):
            assert addresses_in(pod) == set(answer.addresses)
        deleting = [pool.submit(node.ask, "DEL", *each) for each in zip(names, made, strict=True)]
        assert {future.result().code for future in deleting} == {0}, node.log
        assert {frozenset(ifnames_in(pod)) for pod in made} == {frozenset()}
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


# --- peers and the uplink -------------------------------------------------------------------


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
        wait_until(lambda: one.fdb() == [], lambda: (one.fdb(), one.log))
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
