"""What an API server, and a gateway before it, may do to a watch; the agent must not feel it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kube_apiserver.faults import answer, fault_proxy, refuse
from kube_apiserver.server import Admin, KubeServer
from kube_apiserver.stores import claim, next_event, opened, run_scenario, until
from podway.model.nodes import Node
from podway.store.kube import KubeStore
from podway.store.kube_api import KubeApiOptions
from podway.store.protocol import Away, Back, Delta, Snapshot, StoreAway, StoreError, StoreEvent


class World:
    """What somebody who takes every event knows."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.events: list[StoreEvent] = []

    async def follow(self, store: KubeStore) -> None:
        async for event in store.watch():
            self.events.append(event)
            if isinstance(event, Snapshot):
                self.nodes = {node.name: node for node in event.nodes}
            elif isinstance(event, Delta):
                for change in event.changes:
                    self.nodes.pop(change.name, None)
                    if change.node is not None:
                        self.nodes[change.name] = change.node

    def count(self, kind: type[StoreEvent]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


@asynccontextmanager
async def followed(store: KubeStore) -> AsyncIterator[World]:
    """Follow *store* from its first snapshot on."""
    world = World()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.follow(store))
        await until(lambda: world.count(Snapshot) > 0)
        yield world
        task.cancel()


def add_peer(admin: Admin, number: int) -> None:
    """Make a Node as a flanneld leaves it."""
    admin.add_node(f"peer{number}", f"10.244.{100 + number}.0/24")
    admin.annotate(
        f"peer{number}",
        kube_subnet_manager="true",
        backend_type="vxlan",
        backend_data='{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}',
        public_ip=f"192.0.2.{100 + number}",
    )


def test_a_watch_that_ends_goes_on(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """Nothing is listed again, nothing is missed, and nobody is told."""

    async def scenario() -> None:
        async with (
            fault_proxy(server) as proxy,
            opened(server, tmp_path, url=proxy.url, api=KubeApiOptions(watch_s=1.0)) as store,
            followed(store) as world,
        ):
            for number in range(3):
                seen = proxy.watches()
                await until(lambda seen=seen: proxy.watches() > seen)  # type: ignore[misc]
                add_peer(admin, number)
            await until(lambda: len(world.nodes) == 3)
            assert world.count(Snapshot) == 1
            assert world.count(Away) == 0

    run_scenario(scenario)


def test_a_broken_connection_resumes(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            fault_proxy(server) as proxy,
            opened(server, tmp_path, url=proxy.url) as store,
            followed(store) as world,
        ):
            proxy.dead = True
            proxy.cut_all()
            await until(lambda: world.count(Away) > 0)
            add_peer(admin, 1)
            with pytest.raises(StoreAway):
                await store.renew("peer1")
            proxy.dead = False
            await until(lambda: "peer1" in world.nodes)
            assert world.count(Snapshot) == 1
            assert world.count(Back) > 0

    run_scenario(scenario)


def test_an_api_server_that_was_killed(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """It forgets what it had in memory; what happened meanwhile is heard all the same."""
    add_peer(admin, 1)
    add_peer(admin, 2)

    async def scenario() -> None:
        async with opened(server, tmp_path) as store, followed(store) as world:
            assert sorted(world.nodes) == ["peer1", "peer2"]
            await asyncio.to_thread(server.kill)
            await until(lambda: world.count(Away) > 0)
            with pytest.raises(StoreAway):
                await store.claim(claim("peer1"))
            await asyncio.to_thread(server.start)
            admin.remove_node("peer2")
            add_peer(admin, 3)
            await until(lambda: sorted(world.nodes) == ["peer1", "peer3"])

    run_scenario(scenario)


def test_history_that_was_compacted(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """Away while peers come and go and etcd forgets: the difference is heard, once."""
    add_peer(admin, 1)
    add_peer(admin, 2)

    async def scenario() -> None:
        async with (
            fault_proxy(server) as proxy,
            opened(server, tmp_path, url=proxy.url) as store,
            followed(store) as world,
        ):
            proxy.dead = True
            proxy.cut_all()
            await until(lambda: world.count(Away) > 0)
            admin.remove_node("peer1")
            add_peer(admin, 3)
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
        async with (
            fault_proxy(server) as proxy,
            opened(server, tmp_path, url=proxy.url) as store,
            followed(store) as world,
        ):
            await until(lambda: proxy.watches() == 1)
            proxy.lines = lambda _: []  # what happens now is not heard ...
            add_peer(admin, 1)
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
        add_peer(admin, number)

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
        async with (
            fault_proxy(server) as proxy,
            opened(server, tmp_path, url=proxy.url) as store,
            followed(store) as world,
        ):
            await until(lambda: proxy.watches() == 1)
            assert "allowWatchBookmarks=true" in proxy.requests[-1]
            add_peer(admin, 1)
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


@pytest.mark.parametrize("code", [401, 429, 500, 503, 504])
def test_an_api_server_that_says_later(
    server: KubeServer, admin: Admin, tmp_path: Path, code: int
) -> None:
    add_peer(admin, 1)

    async def scenario() -> None:
        async with fault_proxy(server) as proxy, opened(server, tmp_path, url=proxy.url) as store:
            proxy.answers += [refuse(code, message="not now")] * 3
            async with followed(store) as world:
                assert "peer1" in world.nodes
                away = next(event for event in world.events if isinstance(event, Away))
                assert f"{code} not now" in away.reason

    run_scenario(scenario)


def test_retry_after_holds_for_every_request(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with fault_proxy(server) as proxy, opened(server, tmp_path, url=proxy.url) as store:
            proxy.answers.append(refuse(429, {"Retry-After": "1"}))
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            with pytest.raises(StoreAway, match="429"):
                await store.claim(claim("n1"))
            with pytest.raises(StoreAway, match="wants no requests"):
                await store.claim(claim("n1"))
            events = store.watch()
            await next_event(events, Away)
            assert len(proxy.requests) == 1
            await next_event(events, Back)
            assert loop.time() - began_s >= 1.0

    run_scenario(scenario)


def test_a_refusal_for_good_names_its_reason(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with fault_proxy(server) as proxy, opened(server, tmp_path, url=proxy.url) as store:
            proxy.answers.append(refuse(403, message="nodes is forbidden"))
            with pytest.raises(StoreError, match="nodes is forbidden"):
                await store.claim(claim("n1"))

    run_scenario(scenario)


@pytest.mark.parametrize("cut_after", [1, 30, 200, 1000])
def test_half_a_json(server: KubeServer, admin: Admin, tmp_path: Path, cut_after: int) -> None:
    """Lists, answers and events that end anywhere: never half a state, and it goes on after."""
    add_peer(admin, 1)

    async def scenario() -> None:
        async with fault_proxy(server) as proxy, opened(server, tmp_path, url=proxy.url) as store:
            proxy.cut_after = cut_after
            events = store.watch()
            await next_event(events, Away)
            with pytest.raises(StoreAway):
                await store.claim(claim("peer1"))
            proxy.cut_after = None
            await next_event(events, Back)
            snapshot = await next_event(events, Snapshot)
            assert [node.name for node in snapshot.nodes] == ["peer1"]
            proxy.cut_after = cut_after
            add_peer(admin, 2)
            await next_event(events, Away)
            proxy.cut_after = None
            await next_event(events, Back)
            assert (await next_event(events, Delta)).changes[0].name == "peer2"

    run_scenario(scenario)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"\n", id="empty"),
        pytest.param(b'{"type":"INVENTED","object":{"new":1}}\n', id="unknown kind"),
    ],
)
def test_lines_that_mean_nothing(
    server: KubeServer, admin: Admin, tmp_path: Path, line: bytes
) -> None:
    async def scenario() -> None:
        async with fault_proxy(server) as proxy, opened(server, tmp_path, url=proxy.url) as store:
            proxy.lines = lambda each: [line, each, line]
            async with followed(store) as world:
                add_peer(admin, 1)
                await until(lambda: "peer1" in world.nodes)
                assert world.count(Away) == 0

    run_scenario(scenario)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"nonsense\n", id="no JSON"),
        pytest.param(b'{"type":"ADDED","object":{"metadata":{}}}\n', id="no name"),
        pytest.param(
            b'{"type":"ADDED","object":{"metadata":{"name":"x","resourceVersion":"?"}}}\n',
            id="no revision",
        ),
        pytest.param(b"[" * 100000 + b"\n", id="deep"),
    ],
)
def test_lines_that_break_a_watch(
    server: KubeServer, admin: Admin, tmp_path: Path, line: bytes
) -> None:
    async def scenario() -> None:
        async with (
            fault_proxy(server) as proxy,
            opened(server, tmp_path, url=proxy.url) as store,
            followed(store) as world,
        ):
            await until(lambda: proxy.watches() == 1)
            proxy.lines = lambda _: [line]
            add_peer(admin, 1)
            await until(lambda: world.count(Away) > 0)
            proxy.lines = lambda each: [each]
            await until(lambda: "peer1" in world.nodes)
            assert world.count(Snapshot) == 1

    run_scenario(scenario)


def test_events_twice_and_in_any_order(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """Each line comes again later, old ones after younger ones; the dead do not come back."""

    async def scenario() -> None:
        async with fault_proxy(server) as proxy, opened(server, tmp_path, url=proxy.url) as store:
            past: list[bytes] = []

            def repeat(line: bytes) -> list[bytes]:
                past.append(line)
                return [line, *reversed(past)]

            proxy.lines = repeat
            async with followed(store) as world:
                for number in range(4):
                    add_peer(admin, number)
                admin.remove_node("peer0")
                admin.annotate("peer1", public_ip="203.0.113.1")
                admin.remove_node("peer2")
                add_peer(admin, 2)
                await until(lambda: {"peer1", "peer2", "peer3"} == world.nodes.keys())
                public_ip = world.nodes["peer1"].leases[0].public_ip
                assert str(public_ip) == "203.0.113.1"
                add_peer(admin, 9)
                await until(lambda: "peer9" in world.nodes)
                assert world.nodes.keys() == {"peer1", "peer2", "peer3", "peer9"}
                assert world.count(Away) == 0

    run_scenario(scenario)


def test_a_store_restored_from_a_backup(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """Its revisions lie in our past: a watch from ours would be silent for ever."""
    add_peer(admin, 1)

    async def scenario() -> None:
        async with fault_proxy(server) as proxy, opened(server, tmp_path, url=proxy.url) as store:
            future = future_list(admin)
            proxy.answers.append(future)
            async with followed(store) as world:
                assert sorted(world.nodes) == ["ghost"]
                add_peer(admin, 2)
                proxy.cut_all()
                await until(lambda: sorted(world.nodes) == ["peer1", "peer2"])

    run_scenario(scenario)


def future_list(admin: Admin) -> bytes:
    """Return the list of a cluster that has gone on after the backup was made."""
    add_peer(admin, 7)
    item = admin.node("peer7")
    admin.remove_node("peer7")
    item["metadata"] |= {"name": "ghost", "resourceVersion": "9000000"}
    page = {"metadata": {"resourceVersion": "9000001"}, "items": [item]}
    return answer(200, json.dumps(page).encode())


def test_a_silent_watch_is_dead(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with fault_proxy(server) as proxy:
            api = KubeApiOptions(silence_s=0.3)
            async with opened(server, tmp_path, url=proxy.url, api=api) as store:
                proxy.lines = lambda _: []
                async with followed(store) as world:
                    add_peer(admin, 1)
                    await until(lambda: world.count(Away) > 0)
                    proxy.lines = lambda line: [line]
                    await until(lambda: "peer1" in world.nodes)

    run_scenario(scenario)


def test_an_old_token_is_replaced_by_the_files_new_one(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    """The file is read for every request, as the kubelet replaces it; nothing is restarted."""
    admin.add_node("n1", "10.244.1.0/24")
    token_file = tmp_path / "token"
    token_file.write_text("expired\n")

    async def scenario() -> None:
        async with (
            fault_proxy(server) as proxy,
            opened(server, tmp_path, url=proxy.url, token_file=token_file) as store,
        ):
            with pytest.raises(StoreAway, match="does not take our token"):
                await store.claim(claim("n1"))
            events = store.watch()
            assert "401" in (await next_event(events, Away)).reason
            token_file.write_text("admin-token\n")
            await next_event(events, Back)
            await next_event(events, Snapshot)
            await store.claim(claim("n1"))
            assert proxy.tokens[0] == "expired"
            assert proxy.tokens[-1] == "admin-token"
            token_file.unlink()
            with pytest.raises(StoreAway, match="token"):
                await store.renew("n1")

    run_scenario(scenario)


def secrets_in(texts: list[str]) -> list[str]:
    return [text for text in texts if "admin-token" in text]


def test_no_secret_in_logs_or_reasons(
    server: KubeServer, admin: Admin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with fault_proxy(server) as proxy, opened(server, tmp_path, url=proxy.url) as store:
            proxy.dead = True
            with pytest.raises(StoreAway) as caught:
                await store.claim(claim("n1"))
            assert not secrets_in([str(caught.value), repr(store.api), repr(vars(store.api))])

    run_scenario(scenario)
    assert not secrets_in([repr(vars(record)) for record in caplog.records])
