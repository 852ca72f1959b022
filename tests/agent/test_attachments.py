"""CNI's verbs on an agent over a real hub and a kernel in memory."""

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.nodes import Answer, Node, all_of, exchange, new_kernel, run, running_node, until
from hub.hub_process import running_hub
from podway.agent.attachments import KERNEL_REFUSED, NO_ADDRESS
from podway.agent.serving import CHECK_FAILED
from podway.cni.errors import (
    INVALID_ENVIRONMENT,
    INVALID_NETNS,
    TRY_AGAIN_LATER,
    UNAVAILABLE,
    UNKNOWN_CONTAINER,
)
from podway.cni.frames import encode_request
from podway.diff.operations import Verb
from podway.model.instances import BRIDGE_NAME
from podway.model.kernel import link_key
from unit.diff.tracked import remembered

BRIDGE: dict[str, Any] = {"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}}
ROUTED = {**BRIDGE, "Attach": "routed"}
DUAL = {**BRIDGE, "EnableIPv6": True, "IPv6Network": "fd00:9::/48"}
TINY = {**BRIDGE, "SubnetLen": 29}  # room for five pods


@asynccontextmanager
async def one_node(
    tmp_path: Path, net_conf: dict[str, Any] = BRIDGE, **settings: Any
) -> AsyncIterator[Node]:
    kernel = new_kernel("192.0.2.1/24", "2001:db8::1/64")
    async with (
        running_hub(net_conf=net_conf) as hub,
        running_node(tmp_path, hub.url, kernel=kernel, **settings) as node,
    ):
        await node.ready()
        yield node


async def assert_clean(node: Node) -> None:
    """Nothing is held, nothing is in the kernel, nothing is left to do."""
    assert await node.used() == 0
    assert node.pod_links() == []
    await until(lambda: not node.agent.tracker.pending)
    assert await node.preview() == []


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
        found["waiters"] = len(node.agent._waiters)
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


# --- what fails ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net_conf", "kind"),
    [(BRIDGE, "link"), (ROUTED, "link"), (ROUTED, "route"), (ROUTED, "address"), (DUAL, "link")],
)
def test_an_add_that_the_kernel_refuses_leaves_nothing(
    tmp_path: Path, net_conf: dict[str, Any], kind: str
) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path, net_conf) as node:
            node.kernel.fail_next(Verb.CREATE, kind, errno.ENOMEM)
            answer = await node.add("c1")
            assert answer.code == KERNEL_REFUSED
            assert list(node.kernel.netns(str(node.netns("c1"))).links()) == []
            await assert_clean(node)
            await node.ready()
            assert (await node.add("c1")).code == 0

    run(scenario)


def test_an_interface_of_the_pod_s_own_stands_in_the_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            assert (await node.add("c1")).code == 0
            answer = await node.add("c1", network="other")
            assert answer.code == KERNEL_REFUSED
            assert "eth0" in answer.document["msg"]
            assert (await node.delete("c1", network="other")).code == 0
            assert len(node.pod_links()) == await node.used() == 1

    run(scenario)


def test_what_the_kernel_does_not_delete_stays_held_however_often_that_is_asked(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            await node.add("c1")
            node.kernel.fail_next(Verb.DELETE, "link", errno.EBUSY, times=3)
            assert (await node.delete("c1")).code == TRY_AGAIN_LATER
            assert (await node.delete("c1")).code == TRY_AGAIN_LATER
            assert len(node.pod_links()) == await node.used() == 1
            await until(lambda: node.pod_links() == [])  # tried again without being asked
            assert (await node.delete("c1")).code == 0
            await assert_clean(node)

    run(scenario)


def test_a_full_disk_refuses_add_and_del_and_changes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            await node.add("c1")
            (pages,) = node.ledger._db.execute("PRAGMA page_count").fetchone()
            node.ledger._db.execute(f"PRAGMA max_page_count={pages}")
            names = [f"f{number}" for number in range(60)]
            answers = await all_of(
                node.add(name, args="K8S_POD_NAME=" + "x" * 250) for name in names
            )
            refused = [answer for answer in answers if answer.code]
            assert refused
            assert {answer.code for answer in refused} == {TRY_AGAIN_LATER}
            assert len(node.pod_links()) == await node.used() == 61 - len(refused)
            node.ledger._db.execute("PRAGMA max_page_count=1000000")
            await all_of(node.delete(name) for name in ("c1", *names))
            await assert_clean(node)

    run(scenario)


def test_the_node_s_own_namespace_is_no_pod(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            variables = {
                "CNI_COMMAND": "ADD",
                "CNI_CONTAINERID": "c1",
                "CNI_IFNAME": "eth0",
                "CNI_NETNS": "/proc/1/ns/net",
            }
            config = json.dumps({"cniVersion": "1.0.0", "name": "net", "type": "podway"})
            own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                path = node.settings.run_dir / "cni.sock"
                answer = await exchange(path, encode_request(variables, config), [own])
            finally:
                os.close(own)
            assert answer.code == INVALID_NETNS
            await assert_clean(node)

    run(scenario)


def test_unknown_arguments_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            assert (await node.add("c1", args="FOO=1")).code == INVALID_ENVIRONMENT
            await assert_clean(node)

    run(scenario)


# --- the pool -----------------------------------------------------------------------------------


def test_a_pool_that_is_exhausted_and_one_that_rests(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path, TINY) as node:
            answers = await all_of(node.add(f"c{number}") for number in range(5))
            assert {answer.code for answer in answers} == {0}
            refused = await node.add("c5")
            assert (refused.code, "SubnetLen" in refused.document["msg"]) == (NO_ADDRESS, True)
            status = await node.cni("STATUS")
            assert status.code == UNAVAILABLE
            assert "all 5 pod addresses" in status.document["msg"]
            await node.delete("c0")
            assert (await node.cni("STATUS")).code == 0
            assert (await node.add("c5")).code == TRY_AGAIN_LATER
            assert len(node.pod_links()) == await node.used() == 4

    run(scenario)


def test_a_rested_address_is_given_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path, TINY, cooldown_s=0.01) as node:
            await all_of(node.add(f"c{number}") for number in range(5))
            gone = await node.add("c3")
            await node.delete("c3")
            await asyncio.sleep(0.02)
            assert (await node.add("new")).addresses == gone.addresses

    run(scenario)


# --- CHECK, GC, STATUS --------------------------------------------------------------------------


def test_check(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            result = (await node.add("c1")).document
            assert (await node.cni("CHECK", "c1", config={"prevResult": result})).code == 0
            other = {**result, "ips": [{"address": "10.9.1.99/24", "interface": 2}]}
            wrong = await node.cni("CHECK", "c1", config={"prevResult": other})
            assert (wrong.code, "10.9.1.99" in wrong.document["msg"]) == (CHECK_FAILED, True)
            node.netns("c2")
            assert (await node.cni("CHECK", "c2")).code == UNKNOWN_CONTAINER

            inside = node.kernel.netns(str(node.netns("c1")))
            (address,) = [key for key in inside.objects if key.kind == "address"]
            await node.tamper(inside.delete, address)
            broken = await node.cni("CHECK", "c1", config={"prevResult": result})
            assert (broken.code, "10.9.1.2" in broken.document["msg"]) == (CHECK_FAILED, True)

    run(scenario)


def test_check_of_a_host_end_that_cannot_be_made_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            await node.add("c1")
            (name,) = node.pod_links()
            node.kernel.fail_next(Verb.CREATE, "link", errno.EPERM, times=50)
            await node.tamper(node.kernel.tamper_delete, link_key(name))
            assert (await node.cni("CHECK", "c1")).code == CHECK_FAILED

    run(scenario)


def test_check_of_a_kernel_that_cannot_be_read(tmp_path: Path) -> None:
    """What was true when it could be read is no answer."""

    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            await node.add("c1")
            node.kernel.fail_read(errno.EIO)
            answer = await node.cni("CHECK", "c1")
            assert (answer.code, "arranged" in answer.document["msg"]) == (TRY_AGAIN_LATER, True)
            node.agent.resync()
            await node.ready()
            assert (await node.cni("CHECK", "c1")).code == 0

    run(scenario)


def test_gc_takes_what_the_runtime_does_not_know(tmp_path: Path) -> None:
    def naming(*containers: str) -> dict[str, Any]:
        valid = [{"containerID": name, "ifname": "eth0"} for name in containers]
        return {"cni.dev/valid-attachments": valid}

    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            for name in ("c1", "c2", "c3"):
                await node.add(name)
            await node.add("c1", ifname="net1")
            await node.add("else", network="other")
            assert (await node.cni("GC", config=naming("c2"))).code == 0
            held = (await node.call("ipam.show"))["addresses"]
            left = {(row["container_id"], row["network"]) for row in held if row["state"] == "held"}
            assert left == {("c2", "net"), ("else", "other")}
            assert len(node.pod_links()) == 2
            node.kernel.fail_next(Verb.DELETE, "link", errno.EBUSY)
            failed = await node.cni("GC", config=naming())
            assert (failed.code, "1 of 1" in failed.document["msg"]) == (TRY_AGAIN_LATER, True)
            await until(lambda: len(node.pod_links()) == 1)
            assert (await node.cni("GC", config=naming())).code == 0
            assert (await node.delete("else", network="other")).code == 0
            await assert_clean(node)

    run(scenario)


def test_verbs_in_the_version_that_was_asked_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with one_node(tmp_path) as node:
            answer: Answer = await node.add("c1", config={"cniVersion": "0.3.1"})
            assert answer.document["cniVersion"] == "0.3.1"
            assert answer.document["ips"][0]["version"] == "4"
            refused = await node.cni("CHECK", "c1", config={"cniVersion": "0.3.1"})
            assert refused.code != 0

    run(scenario)
