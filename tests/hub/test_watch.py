"""The watched stream over real sockets: complete first, then every change, across every loss."""

import asyncio
import shutil
from pathlib import Path

from hub.clients import claim, next_event, patiently, until
from hub.hub_process import HOST_GW, HubProcess, run_scenario, running_hub
from hub.links import linked
from podway.hub.ledger import Ledger
from podway.hub.limits import Limits
from podway.store.engines import open_hub
from podway.store.hub import HubOptions
from podway.store.protocol import Away, Back, Change, Delta, Snapshot

FAST = HubOptions(backoff_min_s=0.01, backoff_max_s=0.05)


def test_snapshot_then_changes() -> None:
    async def scenario() -> None:
        async with running_hub() as hub:
            admin, agent = hub.open_store(), hub.open_store()
            first = await admin.claim(claim("a", 1))
            events = agent.watch()
            snapshot = await next_event(events, Snapshot)
            assert snapshot.nodes == (first,)
            assert snapshot.network is not None
            second = await admin.claim(claim("b", 2))
            delta = await next_event(events, Delta)
            assert delta.changes == (Change("b", second),)
            assert delta.revision > snapshot.revision
            await admin.release("a")
            assert (await next_event(events, Delta)).changes == (Change("a", None),)
            await admin.close()
            await agent.close()

    run_scenario(scenario)


def test_a_renewal_and_a_claim_repeated_are_no_events() -> None:
    async def scenario() -> None:
        async with running_hub() as hub:
            store = hub.open_store()
            await store.claim(claim("a", 1))
            events = store.watch()
            revision = (await next_event(events, Snapshot)).revision
            await store.renew("a")
            await store.claim(claim("a", 1))
            other = await store.claim(claim("b", 2))
            delta = await next_event(events, Delta)
            assert delta == Delta(revision=revision + 1, changes=(Change("b", other),))
            await store.close()

    run_scenario(scenario)


def test_a_lease_that_ends_is_told() -> None:
    async def scenario() -> None:
        async with running_hub() as hub:
            store = hub.open_store()
            events = store.watch()
            await next_event(events, Snapshot)
            node = await store.claim(claim("short", 1, ttl_s=1))
            assert (await next_event(events, Delta)).changes == (Change("short", node),)
            assert (await next_event(events, Delta)).changes == (Change("short", None),)
            assert await store.list_nodes() == ()
            await store.close()

    run_scenario(scenario)


def test_a_new_network_is_told() -> None:
    async def scenario() -> None:
        async with running_hub(net_conf=None) as hub:
            store = hub.open_store()
            events = store.watch()
            assert (await next_event(events, Snapshot)).network is None
            await store.put_network('{"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}}')
            delta = await next_event(events, Delta)
            assert delta.network is not None
            assert delta.network.backend_name == "host-gw"
            assert delta.changes == ()
            await store.close()

    run_scenario(scenario)


def test_a_snapshot_of_many_parts() -> None:
    async def scenario() -> None:
        async with running_hub(net_conf=HOST_GW | {"Network": "10.0.0.0/8"}) as hub:
            store = hub.open_store()
            nodes = await asyncio.gather(*(store.claim(claim(f"n{n}", n)) for n in range(3000)))
            snapshot = await next_event(store.watch(), Snapshot)
            assert set(snapshot.nodes) == set(nodes)
            await store.close()

    run_scenario(scenario)


def test_the_second_watch_begins_anew() -> None:
    async def scenario() -> None:
        async with running_hub() as hub:
            store = hub.open_store()
            node = await store.claim(claim("a", 1))
            assert (await next_event(store.watch(), Snapshot)).nodes == (node,)
            events = store.watch()
            event = await anext(events)
            while not isinstance(event, Snapshot):
                event = await anext(events)
            assert event.nodes == (node,)
            await store.close()

    run_scenario(scenario)


def test_a_closed_store_ends_its_stream() -> None:
    async def scenario() -> None:
        async with running_hub() as hub:
            store = hub.open_store()
            events = store.watch()
            await next_event(events, Snapshot)
            await store.close()
            assert [event async for event in events] == []

    run_scenario(scenario)


def test_a_hub_that_comes_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_hub(f"unix:{tmp_path / 'hub.sock'}", options=FAST)
        events = store.watch()
        away = await next_event(events, Away)
        assert "is the hub running" in away.reason
        async with running_hub(tmp_path):
            await next_event(events, Back)
            await next_event(events, Snapshot)
        await next_event(events, Away)
        await store.close()

    run_scenario(scenario)


def test_a_watcher_resumes_where_it_stopped(tmp_path: Path) -> None:
    """Deltas, not a snapshot: what was released while it was gone is among them."""

    async def scenario() -> None:
        async with running_hub() as hub, linked(hub.url, tmp_path) as link:
            admin, watcher = hub.open_store(), open_hub(link.url, options=FAST)
            await admin.claim(claim("a", 1))
            await admin.claim(claim("b", 2))
            events = watcher.watch()
            snapshot = await next_event(events, Snapshot)
            await link.cut()
            await next_event(events, Away)
            await admin.release("a")
            node = await admin.claim(claim("c", 3))
            await link.mend()
            await next_event(events, Back)
            delta = await next_event(events, Delta)
            assert set(delta.changes) == {Change("a", None), Change("c", node)}
            assert delta.revision == snapshot.revision + 2
            await admin.close()
            await watcher.close()

    run_scenario(scenario)


def test_a_watcher_that_missed_nothing_hears_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_hub() as hub, linked(hub.url, tmp_path) as link:
            admin, watcher = hub.open_store(), open_hub(link.url, options=FAST)
            events = watcher.watch()
            await next_event(events, Snapshot)
            await link.cut()
            await next_event(events, Away)
            await link.mend()
            await next_event(events, Back)
            node = await admin.claim(claim("a", 1))
            assert (await next_event(events, Delta)).changes == (Change("a", node),)
            await admin.close()
            await watcher.close()

    run_scenario(scenario)


def test_after_compaction_a_late_watcher_gets_a_snapshot(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_hub() as hub, linked(hub.url, tmp_path) as link:
            assert isinstance(hub.server.ledger, Ledger)
            hub.server.ledger._tombstones_max = 4
            admin, watcher = hub.open_store(), open_hub(link.url, options=FAST)
            await admin.claim(claim("a", 1))
            events = watcher.watch()
            assert len((await next_event(events, Snapshot)).nodes) == 1
            await link.cut()
            await next_event(events, Away)
            await admin.release("a")
            for number in range(5):
                await admin.claim(claim(f"n{number}", number))
                await admin.release(f"n{number}")
            await link.mend()
            await next_event(events, Back)
            assert (await next_event(events, Snapshot)).nodes == ()
            await admin.close()
            await watcher.close()

    run_scenario(scenario)


def test_another_store_under_the_same_address_is_read_from_the_start(tmp_path: Path) -> None:
    """Somebody wiped the hub's directory: its revisions mean something else now."""

    async def scenario() -> None:
        watcher = open_hub(f"unix:{tmp_path / 'hub.sock'}", options=FAST)
        async with running_hub(tmp_path) as hub:
            admin = hub.open_store()
            await admin.claim(claim("old", 1))
            await admin.close()
            events = watcher.watch()
            assert [node.name for node in (await next_event(events, Snapshot)).nodes] == ["old"]
        await next_event(events, Away)
        shutil.rmtree(tmp_path / "data")
        async with running_hub(tmp_path) as hub:
            admin = hub.open_store()
            await admin.claim(claim("new", 1))
            await admin.close()
            await next_event(events, Back)
            event = await anext(events)
            assert isinstance(event, Snapshot)
            assert "old" not in [node.name for node in event.nodes]
        await watcher.close()

    run_scenario(scenario)


def test_a_hub_that_was_killed_and_started_is_resumed() -> None:
    async def scenario() -> None:
        with HubProcess() as hub:
            admin, watcher = hub.open_store(), hub.open_store()
            await admin.claim(claim("a", 1))
            events = watcher.watch()
            snapshot = await next_event(events, Snapshot)
            hub.kill()
            await next_event(events, Away)
            await asyncio.to_thread(hub.start)
            await next_event(events, Back)
            node = await patiently(lambda: admin.claim(claim("b", 2)))
            delta = await next_event(events, Delta)
            assert delta == Delta(revision=snapshot.revision + 1, changes=(Change("b", node),))
            await admin.renew("a")
            await admin.close()
            await watcher.close()

    run_scenario(scenario)


def test_a_dead_connection_is_noticed_on_both_sides(tmp_path: Path) -> None:
    """No FIN, no RST: only the heartbeat can tell."""

    async def scenario() -> None:
        limits = Limits(heartbeat_s=0.2, linger_s=0.1)
        async with running_hub(limits=limits) as hub, linked(hub.url, tmp_path) as link:
            watcher = open_hub(link.url, options=FAST)
            events = watcher.watch()
            await next_event(events, Snapshot)
            link.freeze()
            away = await next_event(events, Away)
            assert "no sign of life" in away.reason
            await until(lambda: hub.server.drops["protocol"] > 0)
            link.thaw()
            await next_event(events, Back)
            await watcher.close()

    run_scenario(scenario)


def test_heartbeats_keep_a_quiet_connection_alive() -> None:
    async def scenario() -> None:
        async with running_hub(limits=Limits(heartbeat_s=0.4)) as hub:
            store = hub.open_store()
            events = store.watch()
            await next_event(events, Snapshot)
            await asyncio.sleep(2.0)  # five heartbeats; three missed would be death
            await store.claim(claim("a", 1))
            await next_event(events, Delta)
            assert not hub.server.drops
            await store.close()

    run_scenario(scenario)


def test_a_busy_agent_does_not_hold_up_the_hub() -> None:
    """What it has not taken yet is merged, and it is not dropped."""

    async def scenario() -> None:
        async with running_hub(limits=Limits(lag_bytes=1 << 16)) as hub:
            admin, agent = hub.open_store(), hub.open_store()
            events = agent.watch()
            await next_event(events, Snapshot)
            for number in range(2000):
                await admin.claim(claim("a", 1 + number % 2))
            last = await admin.claim(claim("z", 9))
            seen = {}
            while "z" not in seen:
                for change in (await next_event(events, Delta)).changes:
                    seen[change.name] = change.node
            assert seen["z"] == last
            assert not hub.server.drops
            await admin.close()
            await agent.close()

    run_scenario(scenario)
