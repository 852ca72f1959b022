"""Calls that meet other calls, and the agent's end, on their way."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from agent.nodes import Answer, KeptKernel, Node, run, running_node, until
from agent.staged_store import StagedStore, peer, snapshot
from podway.cni.errors import TRY_AGAIN_LATER
from podway.diff.operations import Operation
from podway.kernel import frame_server
from podway.kernel.protocol import KernelError
from podway.model.kernel import Link, Veth, link_key


class GatedKernel(KeptKernel):
    """A kernel whose writes can be held up.

    Attributes:
        waiting: somebody stands at the gate.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting = threading.Event()
        self._open = threading.Event()
        self._open.set()

    def apply(self, operations: Sequence[Operation]) -> list[KernelError | None]:
        if not self._open.is_set():
            self.waiting.set()
            assert self._open.wait(10), "nobody opened the gate"
        return super().apply(operations)

    def shut(self) -> None:
        self.waiting.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()


@asynccontextmanager
async def gated_node(
    tmp_path: Path, kernel: GatedKernel | None = None
) -> AsyncIterator[tuple[Node, GatedKernel]]:
    if kernel is None:
        kernel = GatedKernel()
        kernel.add_device("eth0", addresses=("192.0.2.1/24",))
        kernel.set_default_route("eth0", ip_address("192.0.2.254"))
        kernel.drain()
    store = StagedStore()
    store.say(snapshot())
    async with running_node(tmp_path, store, kernel=kernel) as node:
        await node.ready()
        yield node, kernel


def test_del_during_add_waits_its_turn_and_wins(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gated_node(tmp_path) as (node, kernel):
            kernel.shut()
            adding = asyncio.create_task(node.add("c1"))
            await until(kernel.waiting.is_set)
            deleting = asyncio.create_task(node.delete("c1"))
            await asyncio.sleep(0.01)
            assert not deleting.done()
            kernel.open()
            assert (await adding).code == 0
            assert (await deleting).code == 0
            assert (node.pod_links(), await node.used()) == ([], 0)

    run(scenario)


def test_calls_for_other_pods_do_not_wait_for_one_that_was_kept_waiting(tmp_path: Path) -> None:
    """What comes while a batch is being written goes out together in the next one."""

    async def scenario() -> None:
        async with gated_node(tmp_path) as (node, kernel):
            kernel.shut()
            first = asyncio.create_task(node.add("c0"))
            await until(kernel.waiting.is_set)
            others = [asyncio.create_task(node.add(f"c{number}")) for number in range(1, 40)]
            await until(lambda: len(node.agent.endpoints) == 40)
            before = kernel.batches
            kernel.open()
            answers = await asyncio.gather(first, *others)
            assert {answer.code for answer in answers} == {0}
            assert kernel.batches - before <= 4

    run(scenario)


def test_when_add_is_over_nothing_names_its_descriptor(tmp_path: Path) -> None:
    """Its number may be that of another pod's namespace at any moment."""

    async def scenario() -> None:
        async with gated_node(tmp_path) as (node, _):
            await node.add("c1")
            (name,) = node.pod_links()
            link = node.agent.tracker.desired(link_key(name))
            assert isinstance(link, Link)
            assert isinstance(link.kind, Veth)
            assert link.kind.pod is not None
            assert link.kind.pod.netns == str(node.netns("c1"))
            assert await node.preview() == []

    run(scenario)


def test_gc_spares_an_add_under_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gated_node(tmp_path) as (node, kernel):
            kernel.shut()
            adding = asyncio.create_task(node.add("c1"))
            await until(kernel.waiting.is_set)
            collecting = asyncio.create_task(
                node.cni("GC", config={"cni.dev/valid-attachments": []})
            )
            await asyncio.sleep(0.01)
            kernel.open()
            assert (await adding).code == 0
            assert (await collecting).code == 0
            assert len(node.pod_links()) == await node.used() == 1

    run(scenario)


def test_gc_spares_what_an_add_under_way_finds_there(tmp_path: Path) -> None:
    """The runtime lost the answer and asks again: what it is told it has must stay."""

    async def scenario() -> None:
        async with gated_node(tmp_path) as (node, kernel):
            answer = await node.add("c1")
            kernel.shut()
            other = asyncio.create_task(node.add("c2"))
            await until(kernel.waiting.is_set)
            again = asyncio.create_task(node.add("c1"))
            await asyncio.sleep(0.01)
            collecting = asyncio.create_task(
                node.cni("GC", config={"cni.dev/valid-attachments": []})
            )
            await asyncio.sleep(0.01)
            kernel.open()
            assert (await again).document == answer.document
            assert (await other).code == (await collecting).code == 0
            assert len(node.pod_links()) == await node.used() == 2
            # What nobody asks for any more goes, as ever.
            await node.cni("GC", config={"cni.dev/valid-attachments": []})
            assert (node.pod_links(), await node.used()) == ([], 0)

    run(scenario)


def test_the_same_add_twice_at_once_is_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gated_node(tmp_path) as (node, kernel):
            kernel.shut()
            node.netns("c1")
            both = [asyncio.create_task(node.add("c1")) for _ in range(2)]
            await until(kernel.waiting.is_set)
            kernel.open()
            first, second = await asyncio.gather(*both)
            assert first == second
            assert len(node.pod_links()) == await node.used() == 1

    run(scenario)


def test_a_runtime_that_goes_away_in_the_middle_of_add(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gated_node(tmp_path) as (node, kernel):
            kernel.shut()
            adding = asyncio.create_task(node.add("c1"))
            await until(kernel.waiting.is_set)
            adding.cancel()
            kernel.open()
            await until(lambda: len(node.pod_links()) == 1)
            assert (await node.delete("c1")).code == 0
            assert (node.pod_links(), await node.used()) == ([], 0)

    run(scenario)


def test_a_namespace_that_goes_in_the_middle_of_add(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gated_node(tmp_path) as (node, kernel):
            kernel.shut()
            adding = asyncio.create_task(node.add("c1"))
            await until(kernel.waiting.is_set)
            kernel.destroy_netns(str(node.netns("c1")))
            kernel.open()
            assert (await adding).code != 0
            assert (node.pod_links(), await node.used()) == ([], 0)

    run(scenario)


def test_a_lease_that_changes_in_the_middle_of_add(tmp_path: Path) -> None:
    """The address was right when it was given; a pod must not be told what no longer works."""

    async def scenario() -> None:
        async with gated_node(tmp_path) as (node, kernel):
            kernel.shut()
            first = asyncio.create_task(node.add("c0"))
            await until(kernel.waiting.is_set)
            second = asyncio.create_task(node.add("c1"))
            await until(lambda: len(node.agent.endpoints) == 2)
            node.agent._granted(peer("a", "10.9.5.0/24", "192.0.2.1"))
            kernel.open()
            assert (await first).code in (0, TRY_AGAIN_LATER), "it was made before the change"
            assert (await second).code == TRY_AGAIN_LATER
            assert (await node.delete("c0")).code == 0
            assert (node.pod_links(), await node.used()) == ([], 0)
            assert (await node.add("c1")).addresses == ["10.9.5.2/24"]

    run(scenario)


# --- the agent's end ----------------------------------------------------------------------------


def test_an_add_under_way_when_the_agent_ends_is_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gated_node(tmp_path) as (node, kernel):
            kernel.shut()
            adding = asyncio.create_task(node.add("c1"))
            await until(kernel.waiting.is_set)
            asyncio.get_running_loop().call_later(0.05, kernel.open)
        assert (await adding).code == 0
        async with gated_node(tmp_path, kernel) as (node, _):
            assert len(node.pod_links()) == await node.used() == 1
            assert (await node.delete("c1")).code == 0
            assert (node.pod_links(), await node.used()) == ([], 0)

    run(scenario)


def test_an_add_that_does_not_come_to_its_end_is_undone_with_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_server, "FINISH_S", 0.02)

    async def scenario() -> None:
        async with gated_node(tmp_path) as (node, kernel):
            kernel.shut()
            adding = asyncio.create_task(node.add("c1"))
            await until(kernel.waiting.is_set)
            asyncio.get_running_loop().call_later(0.3, kernel.open)
        with pytest.raises(EOFError):
            await adding
        async with gated_node(tmp_path, kernel) as (node, _):
            assert (node.pod_links(), await node.used()) == ([], 0)
            assert (await node.delete("c1")).code == 0
            assert (node.pod_links(), await node.used()) == ([], 0)
            assert (await node.add("c1")).code == 0

    run(scenario)


def test_who_waits_for_an_agent_that_fails_is_told(tmp_path: Path) -> None:
    """A defect ends the agent; the calls under way end with an error and not with silence."""

    def fail() -> list[Operation]:
        raise AssertionError("arranged by the test")

    async def meet_a_defect(adding: list[asyncio.Task[Answer]]) -> None:
        async with gated_node(tmp_path) as (node, kernel):
            kernel.shut()
            adding += [asyncio.create_task(node.add(f"c{number}")) for number in range(3)]
            await until(kernel.waiting.is_set)
            await until(lambda: len(node.agent.endpoints) == 3)
            node.agent.tracker.plan = fail  # type: ignore[method-assign]
            kernel.open()
            await asyncio.sleep(20)

    async def scenario() -> None:
        adding: list[asyncio.Task[Answer]] = []
        with pytest.raises(ExceptionGroup) as ended:
            await meet_a_defect(adding)
        assert ended.group_contains(AssertionError)
        answers = await asyncio.gather(*adding)
        assert {answer.code for answer in answers} == {TRY_AGAIN_LATER}

    run(scenario)
