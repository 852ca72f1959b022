"""ADD and DEL on an agent over a real hub and a kernel in memory."""

from pathlib import Path
from typing import Any

import pytest

from agent.nodes import Node, all_of, run, until
from agent.one_node import BRIDGE, DUAL, ROUTED, assert_clean, one_node
from podway.agent.attachments import KERNEL_REFUSED, NO_ADDRESS
from podway.model.instances import BRIDGE_NAME
from podway.model.kernel import link_key
from unit.diff.tracked import remembered

# --- ADD and DEL --------------------------------------------------------------------------------


def test_a_bridged_pod(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            answer = await node.add("c1", args="K8S_POD_NAMESPACE=web;K8S_POD_NAME=shop")
            assert answer.code == 0, answer
            assert answer.addresses == ["10.9.1.2/24"]
            assert answer.document["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.9.1.1"}]
            bridge, host, pod = answer.document["interfaces"]
            assert (bridge["name"], pod["name"]) == (BRIDGE_NAME, "eth0")
            assert node.pod_links() == [host["name"]]
            inside = node.kernel.netns(str(node.netns("c1")))
            assert inside.link("eth0").mac == pod["mac"]
            shown = (await node.call("ipam.show"))["addresses"]
            assert [(row["address"], row["pod"]) for row in shown] == [("10.9.1.2", "web/shop")]
            assert (await node.delete("c1")).code == 0
            assert list(inside.links()) == []
            await assert_clean(node)

    run(scenario)


def test_a_routed_pod(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path, ROUTED) as node:
            answer = await node.add("c1")
            assert answer.addresses == ["10.9.1.2/32"]
            assert answer.document["routes"] == [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}]
            assert BRIDGE_NAME not in [str(key.parts[0]) for key in node.kernel.stack.objects]
            assert any(str(item.key.parts[2]) == "10.9.1.2/32" for item in node.objects("route"))
            assert (await node.delete("c1")).code == 0
            await assert_clean(node)

    run(scenario)


def test_one_bridged_pod_on_a_routed_node_brings_the_bridge_and_takes_it_away(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path, ROUTED) as node:
            assert (await node.add("c1")).code == 0
            assert (await node.add("c2", config={"attach": "bridge"})).code == 0
            assert node.found(link_key(BRIDGE_NAME)) is not None
            assert (await node.delete("c2")).code == 0
            await until(lambda: node.found(link_key(BRIDGE_NAME)) is None)
            assert (await node.add("c3")).code == 0

    run(scenario)


def test_a_dual_stack_pod_with_all_that_a_runtime_may_ask_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path, DUAL) as node:
            wanted = {"ips": ["fd00:9:0:1::77"], "mac": "02:00:00:00:00:07"}
            answer = await node.add("c1", config={"runtimeConfig": wanted, "mtu": 1400})
            assert answer.addresses == ["10.9.1.2/24", "fd00:9:0:1::77/64"], answer
            pod = answer.document["interfaces"][-1]
            assert (pod["mac"], pod["mtu"]) == ("02:00:00:00:00:07", 1400)
            again = await node.add("c2", config={"runtimeConfig": {"ips": ["fd00:9:0:1::77"]}})
            assert again.code == NO_ADDRESS
            assert await node.used() == 2
            addresses = (await node.call("status"))["addresses"]
            assert addresses["ipv4"] == {"used": 1, "cooling": 0, "free": 252}
            # Of a /64: its own address, the bridge's and the pod's are not free.
            assert addresses["ipv6"] == {"used": 1, "cooling": 0, "free": 2**64 - 3}
            assert addresses["free"] == 252 + 2**64 - 3

    run(scenario)


@pytest.mark.parametrize("net_conf", [BRIDGE, ROUTED, DUAL], ids=["bridge", "routed", "dual"])
def test_a_hundred_at_once_get_a_hundred_addresses(
    tmp_path: Path, net_conf: dict[str, Any]
) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path, net_conf) as node:
            names = [f"c{number}" for number in range(100)]
            answers = await all_of(node.add(name) for name in names)
            assert {answer.code for answer in answers} == {0}
            given = [address for answer in answers for address in answer.addresses]
            assert len(set(given)) == len(given) == 100 * len(answers[0].addresses)
            assert len(node.pod_links()) == 100
            assert node.kernel.batches < 60, "calls that come together are served together"
            answers = await all_of(node.delete(name) for name in names)
            assert {answer.code for answer in answers} == {0}
            await assert_clean(node)

    run(scenario)


def test_two_interfaces_of_one_container(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            first, second = await all_of(
                node.add("c1", ifname=ifname) for ifname in ("eth0", "net1")
            )
            assert {first.code, second.code} == {0}
            assert first.addresses != second.addresses
            assert len(node.pod_links()) == 2
            assert (await node.delete("c1", ifname="net1")).code == 0
            assert len(node.pod_links()) == await node.used() == 1
            # The same name of an interface, in another network but in the same container.
            third = await node.add("c1", network="other")
            assert third.code == KERNEL_REFUSED
            assert len(node.pod_links()) == await node.used() == 1

    run(scenario)


def test_pods_that_came_and_went_leave_nothing_in_memory(tmp_path: Path) -> None:
    def sizes(node: Node) -> dict[str, int]:
        found = {
            name: len(value)
            for name, value in remembered(node.agent.tracker).items()
            if isinstance(value, (set, dict))
        }
        found["endpoints"] = len(node.agent.endpoints) + len(node.agent.endpoints.dirty)
        found["turns"] = len(node.attachments._turns._locks)
        found["waiters"] = len(node.agent.settling.waiters)
        return found

    async def cycle(node: Node, number: int) -> None:
        await node.add(f"c{number}")
        if number % 3 == 0:
            await node.destroy_netns(f"c{number}")
        await node.delete(f"c{number}")

    async def scenario() -> None:
        async with one_node(tmp_path, {**DUAL, "Attach": "routed"}) as node:
            await cycle(node, 0)
            await until(lambda: not node.agent.tracker.pending)
            before = sizes(node)
            for number in range(1, 40):
                await cycle(node, number)
            await until(lambda: not node.agent.tracker.pending)
            assert sizes(node) == before

    run(scenario)


# --- repeated -----------------------------------------------------------------------------------


def test_an_add_whose_answer_was_lost_is_answered_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            first = await node.add("c1")
            batches = node.kernel.batches
            assert await node.add("c1") == first
            assert node.kernel.batches == batches
            assert len(node.pod_links()) == await node.used() == 1

    run(scenario)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"runtimeConfig": {"ips": ["10.9.1.99"]}}, id="another address"),
        pytest.param({"attach": "routed"}, id="another attachment"),
        pytest.param({"runtimeConfig": {"mac": "02:00:00:00:00:09"}}, id="another MAC"),
    ],
)
def test_an_add_that_asks_for_something_else_is_made_anew(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            first = await node.add("c1")
            second = await node.add("c1", config=config)
            assert second.code == 0, second
            assert second.addresses != first.addresses
            assert len(node.pod_links()) == await node.used() == 1

    run(scenario)


@pytest.mark.parametrize("number", ["the same", "another"])
def test_a_container_that_came_back_in_another_namespace(tmp_path: Path, number: str) -> None:
    """The kernel may give the new namespace the old one's number, so both must do."""

    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            first = await node.add("c1")
            before = node.netns("c1").stat().st_ino
            if number == "another":
                (tmp_path / "kept").hardlink_to(node.netns("c1"))
            await node.destroy_netns("c1")
            second = await node.add("c1")
            assert second.code == 0, second
            # Whoever makes a file in that instant takes the number; then both cases are one.
            same = node.netns("c1").stat().st_ino == before
            assert not (same and number == "another")
            assert (second.addresses == first.addresses) == same
            inside = node.kernel.netns(str(node.netns("c1")))
            assert [link.name for link in inside.links()] == ["eth0"]
            assert len(node.pod_links()) == await node.used() == 1

    run(scenario)


def test_del_may_be_repeated_and_needs_no_namespace(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            assert (await node.delete("never")).code == 0
            await node.add("c1")
            await node.destroy_netns("c1")
            for _ in range(3):
                assert (await node.delete("c1")).code == 0
            await assert_clean(node)

    run(scenario)
