"""Starts and restarts of an agent and of its store: what is kept, made good, and swept."""

import asyncio
from contextlib import AsyncExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.nodes import new_kernel, routes, run, running_node, until
from agent.staged_store import (
    StagedStore,
    changed,
    peer,
    snapshot,
)
from hub.hub_process import HubProcess, running_hub
from podway.cni.errors import TRY_AGAIN_LATER, UNAVAILABLE
from podway.model.instances import BRIDGE_NAME
from podway.model.kernel import Route, link_key
from podway.store.protocol import Away, Back


def test_a_restart_writes_nothing_and_keeps_everything(tmp_path: Path) -> None:
    async def scenario() -> None:
        kernel = new_kernel()
        async with running_hub() as hub:
            async with running_node(tmp_path, hub.url, kernel=kernel) as node:
                await node.ready()
                before = [(await node.add(name)).addresses for name in ("c1", "c2")]
                subnet = node.agent.me
            done = len(kernel.log)
            async with running_node(tmp_path, hub.url, kernel=kernel) as node:
                await node.ready()
                await until(lambda: node.agent.cluster.complete)
                await until(lambda: not node.agent.tracker.pending)
                assert kernel.log[done:] == []
                assert node.agent.me == subnet
                assert await node.used() == 2
                assert (await node.add("c1")).addresses == before[0]
                assert (await node.add("c3")).addresses not in before
                assert (await node.delete("c2")).code == 0

    run(scenario)


def test_what_happened_while_it_was_down_is_made_good(tmp_path: Path) -> None:
    """A peer came, a peer went, a pod went, somebody deleted a route and the bridge."""

    async def scenario() -> None:
        kernel = new_kernel()
        store = StagedStore()
        stays, goes = (peer(n, f"10.9.{i}.0/24", f"192.0.2.{i}") for i, n in ((7, "s"), (8, "g")))
        store.say(snapshot(stays, goes))
        async with running_node(tmp_path, store, kernel=kernel) as node:
            await node.ready()
            await node.add("c1")
            await node.add("c2")
            await node.destroy_netns("c2")
        for key in [key for key in kernel.stack.objects if key.kind == "route"]:
            if "10.9.7.0/24" in key.parts:
                kernel.tamper_delete(key)
        kernel.tamper_delete(link_key(BRIDGE_NAME))
        kernel.drain()
        store = StagedStore()
        store.say(snapshot(stays, peer("new", "10.9.9.0/24", "192.0.2.9")))
        async with running_node(tmp_path, store, kernel=kernel) as node:
            await node.ready()
            await until(lambda: set(routes(node)) == {"10.9.7.0/24", "10.9.9.0/24"})
            await until(lambda: node.found(link_key(BRIDGE_NAME)) is not None)
            (name,) = node.pod_links()
            await until(lambda: getattr(node.found(link_key(name)), "master", "") == BRIDGE_NAME)
            assert await node.used() == 2, "the pod that went is held until its DEL"
            assert (await node.delete("c2")).code == 0
            assert await node.used() == 1

    run(scenario)


def test_nothing_is_swept_before_the_first_complete_list(tmp_path: Path) -> None:
    async def scenario() -> None:
        kernel = new_kernel()
        store = StagedStore()
        store.say(snapshot(peer("old", "10.9.7.0/24", "192.0.2.7")))
        async with running_node(tmp_path, store, kernel=kernel) as node:
            await node.ready()
            await node.add("c1")
        # What a life before that one may have left: nobody remembers it.
        stale = Route(dst=ip_network("10.9.66.0/24"), dev="eth0", via=ip_address("192.0.2.66"))
        kernel.tamper_set(stale)
        foreign = replace(stale, dst=ip_network("10.99.0.0/24"), protocol=4)
        kernel.tamper_set(foreign)
        kernel.tamper_delete(Route(dst=ip_network("10.9.7.0/24")).key)
        kernel.drain()

        store = StagedStore()
        store.say(Away("not there yet"))
        async with running_node(tmp_path, store, kernel=kernel, store_grace_s=0.001) as node:
            await until(lambda: node.agent.reconciled)
            # What is missing comes back from memory; what nobody knows stays; pods come and go.
            assert set(routes(node)) == {"10.9.7.0/24", "10.9.66.0/24"}
            assert (await node.add("c2")).code == 0
            assert (await node.delete("c1")).code == 0
            assert (await node.cni("STATUS")).code == 0, "ADD works without the store"
            assert any("store has been away" in reason for reason in node.reasons())
            store.say(Back(), snapshot(peer("old", "10.9.7.0/24", "192.0.2.7")))
            await until(lambda: set(routes(node)) == {"10.9.7.0/24"})
            assert node.found(foreign.key) == foreign
            await node.ready()

    run(scenario)


def test_a_node_that_was_removed_while_the_agent_was_down(tmp_path: Path) -> None:
    async def scenario() -> None:
        kernel = new_kernel()
        async with running_hub() as hub:
            other = hub.open_store()
            async with running_node(tmp_path, hub.url, kernel=kernel) as node:
                await node.ready()
                async with running_node(
                    tmp_path, hub.url, "b", kernel=new_kernel("192.0.2.2/24")
                ) as second:
                    await second.ready()
                await until(lambda: len(routes(node)) == 1)
            await other.release("b")
            await other.close()
            async with running_node(tmp_path, hub.url, kernel=kernel) as node:
                await until(lambda: routes(node) == {})
                await node.ready()

    run(scenario)


def test_a_hub_that_is_away_at_the_start_and_comes(tmp_path: Path) -> None:
    async def scenario() -> None:
        with HubProcess() as hub:
            hub.stop()
            async with running_node(tmp_path, hub.url) as node:
                await until(lambda: node.agent.watch.state == "away")
                assert any("has not answered yet" in reason for reason in node.reasons())
                assert (await node.add("c1")).code == TRY_AGAIN_LATER
                assert (await node.delete("c1")).code == 0
                assert (await node.cni("STATUS")).code == UNAVAILABLE
                await asyncio.to_thread(hub.start)
                await node.ready()
                assert (await node.add("c1")).code == 0

    run(scenario)


def test_a_hub_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        with HubProcess() as hub:
            async with AsyncExitStack() as stack:
                kernels = [new_kernel(f"192.0.2.{n}/24") for n in (1, 2, 3)]
                one, two = [
                    await stack.enter_async_context(
                        running_node(tmp_path, hub.url, name, kernel=kernel, store_grace_s=0.05)
                    )
                    for name, kernel in zip("ab", kernels, strict=False)
                ]
                await until(lambda: len(routes(one)) == len(routes(two)) == 1)
                await asyncio.to_thread(hub.kill)
                await until(lambda: any("been away" in reason for reason in one.reasons()))
                assert (await one.add("c1")).code == 0
                assert len(routes(one)) == 1
                await asyncio.to_thread(hub.start)
                await one.ready()
                await stack.enter_async_context(
                    running_node(tmp_path, hub.url, "c", kernel=kernels[2])
                )
                await until(lambda: len(routes(one)) == len(routes(two)) == 2)

    run(scenario)


def test_peers_are_followed_though_the_disk_is_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be remembered is told once, and is when there is room again."""

    async def scenario() -> None:
        kernel, store = new_kernel(), StagedStore()
        peers = [peer(f"p{n}", f"10.9.{n}.0/24", f"192.0.2.{n}") for n in range(2, 102)]
        store.say(snapshot())
        async with running_node(tmp_path, store, kernel=kernel) as node:
            await node.ready()
            (pages,) = node.ledger._db.execute("PRAGMA page_count").fetchone()
            node.ledger._db.execute(f"PRAGMA max_page_count={pages}")
            store.say(changed(*peers))
            await until(lambda: len(routes(node)) == len(peers))
            await node.ready()
            assert "cluster not remembered" in caplog.text
            store.say(changed(peers[0]))
            node.agent.resync()
            assert node.ledger.remembered("node") == {}
            assert caplog.text.count("cluster not remembered") == 1
            node.ledger._db.execute(f"PRAGMA max_page_count={1 << 20}")
            node.agent.resync()
            assert len(node.ledger.remembered("node")) == len(peers)
        async with running_node(tmp_path, StagedStore(), kernel=kernel) as node:
            await until(lambda: len(routes(node)) == len(peers))

    run(scenario)


def test_memory_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        kernel = new_kernel()
        async with running_hub() as hub:
            async with running_node(tmp_path, hub.url, kernel=kernel) as node:
                await node.ready()
                for kind in ("me", "node", "network"):
                    node.ledger.remember([(kind, "" if kind == "network" else "a", b"\xc1")])
                    node.ledger.remember([("node", "x", b"\xff\x00")])
            async with running_node(tmp_path, hub.url, kernel=kernel) as node:
                await node.ready()
                assert (await node.add("c1")).code == 0

    run(scenario)
