"""Watches that end, break off, fall silent or come too late: nothing is missed, nor told twice."""

import asyncio
import json
from pathlib import Path

import pytest

from kube_apiserver.faults import answer, fault_proxy, refuse
from kube_apiserver.followers import followed, followed_through_proxy
from kube_apiserver.server import Admin, KubeServer
from kube_apiserver.stores import opened, run_scenario, until
from podway.store.kube_api import KubeApiOptions
from podway.store.protocol import Away, Back, Snapshot, StoreAway


def test_a_watch_that_ends_goes_on(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """Nothing is listed again, nothing is missed, and nobody is told."""

    async def scenario() -> None:
        api = KubeApiOptions(watch_s=1.0)
        async with followed_through_proxy(server, tmp_path, api=api) as (proxy, _, world):
            for number in range(3):
                seen = proxy.watches()
                await until(lambda seen=seen: proxy.watches() > seen)  # type: ignore[misc]
                admin.add_peer(number)
            await until(lambda: len(world.nodes) == 3)
            assert world.count(Snapshot) == 1
            assert world.count(Away) == 0

    run_scenario(scenario)


def test_a_broken_connection_resumes(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with followed_through_proxy(server, tmp_path) as (proxy, store, world):
            proxy.dead = True
            proxy.cut_all()
            await until(lambda: world.count(Away) > 0)
            admin.add_peer(1)
            with pytest.raises(StoreAway):
                await store.renew("peer1")
            proxy.dead = False
            await until(lambda: "peer1" in world.nodes)
            assert world.count(Snapshot) == 1
            assert world.count(Back) > 0

    run_scenario(scenario)


def test_history_that_was_compacted(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """Away while peers come and go and etcd forgets: the difference is heard, once."""
    admin.add_peer(1)
    admin.add_peer(2)

    async def scenario() -> None:
        async with followed_through_proxy(server, tmp_path) as (proxy, _, world):
            proxy.dead = True
            proxy.cut_all()
            await until(lambda: world.count(Away) > 0)
            admin.remove_node("peer1")
            admin.add_peer(3)
            server.compact()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            proxy.dead = False
            await until(lambda: sorted(world.nodes) == ["peer2", "peer3"])
            assert world.count(Snapshot) == 2
            assert any("resourceVersionMatch=NotOlderThan" in each for each in proxy.requests)

    run_scenario(scenario)


@pytest.mark.parametrize("where", ["status", "event"])
def test_410_lists_anew(server: KubeServer, admin: Admin, tmp_path: Path, where: str) -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
    gone = refuse(410) if where == "status" else answer(200, line)

    async def scenario() -> None:
        async with followed_through_proxy(server, tmp_path) as (proxy, _, world):
            await until(lambda: proxy.watches() == 1)
            proxy.lines = lambda _: []  # what happens now is not heard ...
            admin.add_peer(1)
            proxy.lines = lambda line: [line]
            proxy.answers += [answer(200, b'{"metadata":{"resourceVersion":"999999"}}'), gone]
            proxy.cut_all()  # ... until the watch is gone, and with it its revision
            await until(lambda: "peer1" in world.nodes)
            assert not proxy.answers

    run_scenario(scenario)


def test_a_list_that_grows_too_old_between_its_pages(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    """It is begun anew; no page of the old one is left in the new one."""
    for number in range(3):
        admin.add_peer(number)

    async def scenario() -> None:
        async with fault_proxy(server) as proxy:
            api = KubeApiOptions(page=1)
            async with opened(server, tmp_path, url=proxy.url, api=api) as store:
                first = admin.get("/api/v1/nodes?limit=1")
                proxy.answers += [answer(200, json.dumps(first).encode()), refuse(410)]
                admin.remove_node("peer0")
                async with followed(store) as world:
                    assert sorted(world.nodes) == ["peer1", "peer2"]
                    assert world.count(Away) == 1

    run_scenario(scenario)


def test_a_watch_goes_on_from_its_last_bookmark(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    """So that a cluster in which no Node ever changes does not make its revision too old."""

    async def scenario() -> None:
        async with followed_through_proxy(server, tmp_path) as (proxy, store, world):
            await until(lambda: proxy.watches() == 1)
            assert "allowWatchBookmarks=true" in proxy.requests[-1]
            admin.add_peer(1)
            await until(lambda: "peer1" in world.nodes)
            admin.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "other"}})
            admin.delete("/api/v1/namespaces/default/configmaps/other")
            later = admin.get("/api/v1/nodes")["metadata"]["resourceVersion"]
            word = {"kind": "Node", "apiVersion": "v1", "metadata": {"resourceVersion": later}}
            bookmark = json.dumps({"type": "BOOKMARK", "object": word}).encode() + b"\n"
            proxy.lines = lambda _: [bookmark]  # in place of what is told next
            admin.annotate("peer1", public_ip="192.0.2.77")
            await until(lambda: store._view.cache.revision == int(later))
            proxy.lines = lambda line: [line]
            proxy.cut_all()
            await until(lambda: str(world.nodes["peer1"].leases[0].public_ip) == "192.0.2.77")
            assert f"resourceVersion={later}&" in proxy.requests[-1]
            assert world.count(Snapshot) == 1

    run_scenario(scenario)


def test_a_silent_watch_is_dead(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with fault_proxy(server) as proxy:
            api = KubeApiOptions(silence_s=0.3)
            async with opened(server, tmp_path, url=proxy.url, api=api) as store:
                proxy.lines = lambda _: []
                async with followed(store) as world:
                    admin.add_peer(1)
                    await until(lambda: world.count(Away) > 0)
                    proxy.lines = lambda line: [line]
                    await until(lambda: "peer1" in world.nodes)

    run_scenario(scenario)
