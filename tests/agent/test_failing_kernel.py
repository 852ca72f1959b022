"""A kernel that cannot be read, or refuses what is written: what the node does and says then."""

import errno
from pathlib import Path

import pytest

from agent.nodes import new_kernel, routes, run, running_node, until
from agent.staged_store import StagedStore, changed, peer, snapshot, staged_node
from podway.agent import lookout
from podway.cni.errors import TRY_AGAIN_LATER
from podway.diff.operations import Verb


def test_a_kernel_that_cannot_be_read_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "REREAD_S", 0.05)

    async def scenario() -> None:
        kernel = new_kernel()
        for _ in range(3):
            kernel.fail_read(errno.ENOBUFS)
        store = StagedStore()
        store.say(snapshot())
        async with running_node(tmp_path, store, kernel=kernel) as node:
            await until(lambda: node.agent.lookout.error)
            assert any("arranged" in reason for reason in node.reasons())
            answer = await node.add("c1")
            assert answer.code == TRY_AGAIN_LATER
            assert kernel.log == [], "what is there is not known, so nothing is written"
            await node.ready()
            assert await node.used() in (0, 1)
            assert (await node.delete("c1")).code == 0
            assert await node.used() == 0
            assert (await node.add("c1")).code == 0

    run(scenario)


def test_a_kernel_that_cannot_be_read_later_hurts_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with staged_node(tmp_path) as (_, node):
            node.kernel.fail_read(errno.EIO)
            node.agent.resync()
            await until(lambda: node.agent.lookout.error)
            assert (await node.add("c1")).code == 0
            assert any("the kernel fails" in reason for reason in node.reasons())

    run(scenario)


def test_a_failing_operation_makes_the_node_not_ready_until_it_is_done(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with staged_node(tmp_path) as (store, node):
            node.kernel.fail_next(Verb.CREATE, "route", errno.ENETUNREACH, times=2)
            store.say(changed(peer("p", "10.9.7.0/24", "192.0.2.7")))
            await until(lambda: any("operations fail" in reason for reason in node.reasons()))
            assert (await node.call("status"))["peers"][0]["state"] == "pending"
            assert (await node.cni("STATUS")).code == 51
            await node.ready()
            assert routes(node) == {"10.9.7.0/24": "192.0.2.7"}

    run(scenario)


def test_what_fails_for_long_is_told_once_and_of_much_some(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with staged_node(tmp_path) as (store, node):
            node.kernel.fail_next(Verb.CREATE, "route", errno.ENETUNREACH, times=1000)
            peers = [peer(f"p{n}", f"10.9.{n}.0/24", f"192.0.2.{n}") for n in range(2, 42)]
            store.say(changed(*peers))
            failures = node.agent.tracker.failures
            await until(lambda: [each.attempts for each in failures.values()] == [3] * 40)
            await node.agent.passed()

    run(scenario)
    told = [record.getMessage() for record in caplog.records]
    assert (told.count("operation failed"), told.count("operations failed, too")) == (10, 1)
