"""What an API server, and a gateway before it, may do to a watch; the agent must not feel it."""

import asyncio
import json
from pathlib import Path

import pytest

from kube_apiserver.faults import answer, fault_proxy, refuse
from kube_apiserver.followers import followed
from kube_apiserver.server import Admin, KubeServer
from kube_apiserver.stores import claim, next_event, opened, run_scenario, until
from podway.store.protocol import Away, Back, Snapshot, StoreAway, StoreError


def test_an_api_server_that_was_killed(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """It forgets what it had in memory; what happened meanwhile is heard all the same."""
    admin.add_peer(1)
    admin.add_peer(2)

    async def scenario() -> None:
        async with opened(server, tmp_path) as store, followed(store) as world:
            assert sorted(world.nodes) == ["peer1", "peer2"]
            await asyncio.to_thread(server.kill)
            await until(lambda: world.count(Away) > 0)
            with pytest.raises(StoreAway):
                await store.claim(claim("peer1"))
            await asyncio.to_thread(server.start)
            admin.remove_node("peer2")
            admin.add_peer(3)
            await until(lambda: sorted(world.nodes) == ["peer1", "peer3"])

    run_scenario(scenario)


@pytest.mark.parametrize("code", [401, 429, 500, 503, 504])
def test_an_api_server_that_says_later(
    server: KubeServer, admin: Admin, tmp_path: Path, code: int
) -> None:
    admin.add_peer(1)

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


def test_a_store_restored_from_a_backup(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """Its revisions lie in our past: a watch from ours would be silent for ever."""
    admin.add_peer(1)

    async def scenario() -> None:
        async with fault_proxy(server) as proxy, opened(server, tmp_path, url=proxy.url) as store:
            future = future_list(admin)
            proxy.answers.append(future)
            async with followed(store) as world:
                assert sorted(world.nodes) == ["ghost"]
                admin.add_peer(2)
                proxy.cut_all()
                await until(lambda: sorted(world.nodes) == ["peer1", "peer2"])

    run_scenario(scenario)


def future_list(admin: Admin) -> bytes:
    """Return the list of a cluster that has gone on after the backup was made."""
    admin.add_peer(7)
    item = admin.node("peer7")
    admin.remove_node("peer7")
    item["metadata"] |= {"name": "ghost", "resourceVersion": "9000000"}
    page = {"metadata": {"resourceVersion": "9000001"}, "items": [item]}
    return answer(200, json.dumps(page).encode())


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
