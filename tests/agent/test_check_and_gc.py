"""CHECK and GC on an agent over a real hub and a kernel in memory, and the form of answers."""

import errno
from pathlib import Path
from typing import Any

from agent.nodes import Answer, run, until
from agent.one_node import assert_clean, one_node
from podway.agent.serving import CHECK_FAILED
from podway.cni.errors import (
    TRY_AGAIN_LATER,
    UNKNOWN_CONTAINER,
)
from podway.diff.operations import Verb
from podway.model.kernel import link_key


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
