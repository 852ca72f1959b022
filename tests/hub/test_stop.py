"""The end of a hub: cancelled while it waits, asked while it ends, before a store that fails it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from hub.clients import claim
from hub.hub_process import QUICK, run_scenario, running_hub
from podway.hub.database import Database
from podway.hub.limits import Limits
from podway.hub.listeners import listen
from podway.hub.upstream import UpstreamServer
from podway.model.nodes import Claim, Node
from podway.store.address import UnixAddress
from podway.store.engines import open_hub
from podway.store.hub import HubStore
from podway.store.protocol import AdminStore, StoreError, StoreEvent


@pytest.mark.parametrize("turns", range(5))
def test_a_cancellation_that_meets_the_last_farewell_is_not_lost(
    turns: int, tmp_path: Path
) -> None:
    """Cancelled that many turns of the event loop after the last client has left."""

    async def scenario() -> None:
        async with running_hub(tmp_path, limits=Limits(linger_s=30)) as hub:
            store = hub.open_store()
            await store.get_network()
            (session,) = hub.server.sessions
            ending = asyncio.create_task(hub.server.stop("the test is over"))
            await asyncio.sleep(0)
            hub.server.left(session)
            for _ in range(turns):
                await asyncio.sleep(0)
            if ending.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await ending
            Database(tmp_path / "data").close()  # the hub's is closed: a file has one hub
            await store.close()

    run_scenario(scenario)


class FailingStore:
    """A store with defects of its own, behind a hub."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.ends = asyncio.Event()
        self.answers = asyncio.Event()
        self.closed = False

    async def watch(self) -> AsyncIterator[StoreEvent]:
        await self.ends.wait()
        return
        yield  # only to be an iterator

    async def claim(self, claim: Claim) -> Node:
        assert not self.closed
        self.asked.set()
        await self.answers.wait()
        raise ZeroDivisionError(claim.name)

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def front(directory: Path) -> AsyncIterator[tuple[UpstreamServer, FailingStore, HubStore]]:
    """Give a hub before a failing store, and a client of it."""
    store = FailingStore()
    async with AsyncExitStack() as undo:
        server = UpstreamServer(cast("AdminStore", store), Limits(linger_s=0.2))
        undo.push_async_callback(server.stop, "the test is over")
        path = directory / "hub.sock"
        undo.callback((await listen(server, UnixAddress(path), None)).close)
        agent = open_hub(f"unix:{path}", options=QUICK)
        undo.push_async_callback(agent.close)
        yield server, store, agent


def scenario_with(
    directory: Path,
    play: Callable[[UpstreamServer, FailingStore, HubStore], Awaitable[None]],
) -> None:
    async def scenario() -> None:
        async with front(directory) as parts:
            await play(*parts)

    run_scenario(scenario)


def test_who_asks_is_answered_whatever_the_store_does(tmp_path: Path) -> None:
    async def play(server: UpstreamServer, store: FailingStore, agent: HubStore) -> None:
        store.answers.set()
        for _ in range(10):  # more than one client may be owed: each answer makes room
            with pytest.raises(StoreError, match="ZeroDivisionError"):
                await agent.claim(claim("a", 1))
        assert not server.broken.done()

    scenario_with(tmp_path, play)


def test_a_watch_that_ends_by_itself_ends_the_hub(tmp_path: Path) -> None:
    async def play(server: UpstreamServer, store: FailingStore, _agent: HubStore) -> None:
        store.ends.set()
        with pytest.raises(StoreError):
            await server.broken

    scenario_with(tmp_path, play)


@pytest.mark.parametrize("impatient", [False, True])
def test_the_store_is_closed_after_the_last_call(tmp_path: Path, *, impatient: bool) -> None:
    async def play(server: UpstreamServer, store: FailingStore, agent: HubStore) -> None:
        asking = asyncio.create_task(agent.claim(claim("a", 1)))
        await store.asked.wait()
        ending = asyncio.create_task(server.stop("the test is over"))
        await asyncio.sleep(0)
        if impatient:
            ending.cancel()
        await asyncio.wait((ending,))
        assert ending.cancelled() == impatient
        assert store.closed
        assert not server._calls
        with pytest.raises(StoreError):
            await asking

    scenario_with(tmp_path, play)
