"""ADDs and DELs that cannot be done: what the runtime is told, and that nothing is left of them."""

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent.nodes import all_of, exchange, run, until
from agent.one_node import BRIDGE, DUAL, ROUTED, TINY, assert_clean, one_node
from podway.agent.attachments import KERNEL_REFUSED, NO_ADDRESS
from podway.cni.errors import (
    INVALID_ENVIRONMENT,
    INVALID_NETNS,
    TRY_AGAIN_LATER,
    UNAVAILABLE,
)
from podway.cni.frames import encode_request
from podway.diff.operations import Verb


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
