"""Claims, and the watch that tells of them: the answers come in an order that the test decides.

Whatever that order is, the last word of the stream is what the Node says, or, where an operator has
asked for something else than what was claimed, what the claim would make of it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from kube_apiserver.faults import FaultProxy, answer, fault_proxy, refuse
from kube_apiserver.server import Admin, KubeServer
from kube_apiserver.stores import claim, next_event, opened, run_scenario
from podway.model.nodes import Node
from podway.store.kube import KubeStore
from podway.store.protocol import (
    Away,
    Back,
    Delta,
    LeaseLost,
    Snapshot,
    StoreAway,
    StoreError,
    StoreEvent,
)

PUBLIC_IP = "flannel.alpha.coreos.com/public-ip"


class Stage:
    """A Node that was claimed at 192.0.2.1, the store that did it, and what its stream says."""

    def __init__(self, store: KubeStore, proxy: FaultProxy, admin: Admin) -> None:
        self.store = store
        self.proxy = proxy
        self.admin = admin
        self.events: AsyncIterator[StoreEvent] = store.watch()

    async def heard(self) -> str:
        """Return what the next delta says of n1: its public address, "gone", or "nothing".

        A Node that comes after what was to be heard bounds the wait.
        """
        change = (await next_event(self.events, Delta)).changes[0]
        if change.name != "n1":
            return "nothing"
        return "gone" if change.node is None else address_of(change.node)

    @asynccontextmanager
    async def claiming(self, method: str) -> AsyncIterator[asyncio.Task[Node]]:
        """Claim at 192.0.2.7; inside the answer to *method* is there, and held back."""
        async with self.proxy.holding(method) as held:
            claiming = asyncio.create_task(self.store.claim(claim("n1", "192.0.2.7")))
            await held.wait()
            yield claiming

    def make_anew(self) -> None:
        """Have another Node come in the place of n1, with another subnet."""
        self.admin.remove_node("n1")
        self.admin.add_node("n1", "10.244.9.0/24")

    async def claim_anew(self) -> None:
        """Claim what `make_anew` has made."""
        node = await self.store.claim(claim("n1", "192.0.2.7"))
        assert str(node.leases[0].subnet) == "10.244.9.0/24"
        assert await self.heard() == "192.0.2.7"

    def mark(self) -> None:
        """Have a Node come that has nothing to do with it: what is not heard now never is."""
        self.admin.add_node("mark", "10.244.99.0/24")
        self.admin.annotate(
            "mark", kube_subnet_manager="true", backend_type="vxlan", public_ip="192.0.2.99"
        )


Scene: TypeAlias = Callable[[Stage], Awaitable[None]]
Play: TypeAlias = Callable[[Scene], None]


def address_of(node: Node) -> str:
    return str(node.leases[0].public_ip)


@asynccontextmanager
async def staged(server: KubeServer, admin: Admin, directory: Path) -> AsyncIterator[Stage]:
    admin.add_node("n1", "10.244.1.0/24")
    async with (
        fault_proxy(server) as proxy,
        opened(server, directory, url=proxy.url) as store,
    ):
        await store.claim(claim("n1"))
        stage = Stage(store, proxy, admin)
        assert len((await next_event(stage.events, Snapshot)).nodes) == 1
        yield stage


@pytest.fixture
def play(server: KubeServer, admin: Admin, tmp_path: Path) -> Play:
    """Return what runs a scene on a `Stage`."""

    def run(scene: Scene) -> None:
        async def scenario() -> None:
            async with staged(server, admin, tmp_path) as stage:
                await scene(stage)

        run_scenario(scenario)

    return run


def test_the_watch_is_quicker_than_the_answer(play: Play) -> None:
    """What a claim is writing is heard as that, not as what the claim before it had made."""

    async def scene(stage: Stage) -> None:
        async with stage.claiming("PATCH") as claiming:
            assert await stage.heard() == "192.0.2.7"
            assert not claiming.done()
        assert address_of(await claiming) == "192.0.2.7"
        stage.mark()
        assert await stage.heard() == "nothing"

    play(scene)


def test_the_answer_is_quicker_than_the_watch(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.proxy.hear.clear()
        await stage.store.claim(claim("n1", "192.0.2.7"))
        assert await stage.heard() == "192.0.2.7"
        await stage.store.claim(claim("n1", "192.0.2.8"))
        assert await stage.heard() == "192.0.2.8"
        stage.mark()
        stage.proxy.hear.set()
        assert await stage.heard() == "nothing"

    play(scene)


@pytest.mark.parametrize("first", ["answer", "watch"])
def test_an_answer_that_is_lost(play: Play, first: str) -> None:
    """Nobody knows whether it was written; the watch does, and who claimed claims again."""

    async def scene(stage: Stage) -> None:
        stage.proxy.lose("PATCH")
        if first == "answer":
            stage.proxy.hear.clear()
        async with stage.claiming("PATCH") as claiming:
            if first == "watch":
                assert await stage.heard() == "192.0.2.7"
        with pytest.raises(StoreAway):
            await claiming
        if first == "answer":
            stage.proxy.hear.set()
            assert await stage.heard() == "192.0.2.7"
        assert address_of(await stage.store.claim(claim("n1", "192.0.2.7"))) == "192.0.2.7"
        stage.mark()
        assert await stage.heard() == "nothing"

    play(scene)


def test_an_operator_who_takes_it_back(play: Play) -> None:
    """What was asked for and is so no more is not what the others are left with."""

    async def scene(stage: Stage) -> None:
        for text, expected in (("203.0.113.7", "203.0.113.7"), (None, "192.0.2.1")):
            stage.admin.annotate("n1", public_ip_overwrite=text)
            assert await stage.heard() == expected
        stage.mark()
        assert await stage.heard() == "nothing"

    play(scene)


def test_an_operator_who_comes_between(play: Play) -> None:
    """The Node is read, an operator names another address, what was planned is written."""

    async def scene(stage: Stage) -> None:
        async with stage.claiming("GET") as claiming:
            stage.admin.annotate("n1", public_ip_overwrite="203.0.113.7")
            assert await stage.heard() == "203.0.113.7"
        await claiming
        assert address_of(await stage.store.claim(claim("n1", "192.0.2.7"))) == "203.0.113.7"
        assert stage.admin.annotations("n1")[PUBLIC_IP] == "203.0.113.7"
        stage.mark()
        assert await stage.heard() == "nothing"

    play(scene)


def test_somebody_writes_another_address(play: Play) -> None:
    """Who claimed hears what the others hear, and so can put it right."""

    async def scene(stage: Stage) -> None:
        stage.admin.annotate("n1", public_ip="192.0.2.66")
        assert await stage.heard() == "192.0.2.66"
        with pytest.raises(LeaseLost, match=r"192\.0\.2\.66"):
            await stage.store.renew("n1")
        await stage.store.claim(claim("n1"))
        assert await stage.heard() == "192.0.2.1"
        await stage.store.renew("n1")

    play(scene)


def bookmark_after(line: bytes) -> list[bytes]:
    """Return *line*, and a bookmark that says that everything up to it was told."""
    revision = json.loads(line)["object"]["metadata"]["resourceVersion"]
    word = {"kind": "Node", "apiVersion": "v1", "metadata": {"resourceVersion": revision}}
    return [line, json.dumps({"type": "BOOKMARK", "object": word}).encode() + b"\n"]


def test_a_node_that_is_deleted_before_the_answer_comes(play: Play) -> None:
    """The late answer does not bring it back, and who claimed does not believe to have it."""

    async def scene(stage: Stage) -> None:
        stage.proxy.lines = bookmark_after
        async with stage.claiming("PATCH") as claiming:
            stage.admin.remove_node("n1")
            while await stage.heard() != "gone":
                pass
            # What comes next was sent after the bookmark.
            stage.admin.add_node("n2", "10.244.2.0/24")
            stage.mark()
            assert await stage.heard() == "nothing"
        with pytest.raises(StoreError):
            await claiming
        stage.admin.annotate("mark", public_ip="192.0.2.98")
        assert await stage.heard() == "nothing"

    play(scene)


def test_a_node_that_is_made_anew_during_a_claim(play: Play) -> None:
    """The patch was meant for the Node that was read; the other one has another subnet."""

    async def scene(stage: Stage) -> None:
        async with stage.claiming("GET") as claiming:
            stage.make_anew()
        with pytest.raises(StoreError):
            await claiming
        assert await stage.heard() == "gone"
        assert PUBLIC_IP not in stage.admin.annotations("n1")
        await stage.claim_anew()

    play(scene)


def test_a_node_that_is_made_anew_before_the_answer_comes(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        async with stage.claiming("PATCH") as claiming:
            stage.make_anew()
            while await stage.heard() != "gone":
                pass
        with pytest.raises(StoreError):
            await claiming
        await stage.claim_anew()
        await stage.store.renew("n1")

    play(scene)


def test_a_release_that_the_watch_tells_of_first(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        async with stage.proxy.holding("PATCH"):
            releasing = asyncio.create_task(stage.store.release("n1"))
            assert await stage.heard() == "gone"
            assert not releasing.done()
        await releasing
        stage.mark()
        assert await stage.heard() == "nothing"

    play(scene)


def test_a_renewal_whose_answer_is_older_than_the_watch(play: Play) -> None:
    """What was asked about while a claim was under way says nothing of that claim."""

    async def scene(stage: Stage) -> None:
        async with stage.proxy.holding("GET") as held:
            renewing = asyncio.create_task(stage.store.renew("n1"))
            await held.wait()
            stage.admin.annotate("n1", public_ip="192.0.2.66")
            assert await stage.heard() == "192.0.2.66"
        await renewing  # it stood there when it was read; the stream has told the rest
        stage.mark()
        assert await stage.heard() == "nothing"

    play(scene)


def test_a_list_that_is_older_than_the_answer(play: Play) -> None:
    """An API server that lags lists the Node as it was before; the stream does not go back."""

    async def scene(stage: Stage) -> None:
        past = stage.admin.get("/api/v1/nodes")
        stage.proxy.hear.clear()
        await stage.store.claim(claim("n1", "192.0.2.7"))
        assert await stage.heard() == "192.0.2.7"
        current = answer(200, b'{"metadata":{"resourceVersion":"999999999"}}')
        lagging = answer(200, json.dumps(past).encode())
        stage.proxy.answers += [current, refuse(410), lagging]
        stage.proxy.cut_all()
        await next_event(stage.events, Away)
        await next_event(stage.events, Back)
        snapshot = await next_event(stage.events, Snapshot)
        assert [address_of(node) for node in snapshot.nodes] == ["192.0.2.7"]
        assert not snapshot.rewound

    play(scene)
