"""What comes in a watch: half of it, noise, what nobody knows yet, and everything twice."""

from pathlib import Path

import pytest

from kube_apiserver.faults import fault_proxy
from kube_apiserver.followers import followed, followed_through_proxy
from kube_apiserver.server import Admin, KubeServer
from kube_apiserver.stores import claim, next_event, opened, run_scenario, until
from podway.store.protocol import Away, Back, Delta, Snapshot, StoreAway


@pytest.mark.parametrize("cut_after", [1, 30, 200, 1000])
def test_half_a_json(server: KubeServer, admin: Admin, tmp_path: Path, cut_after: int) -> None:
    """Lists, answers and events that end anywhere: never half a state, and it goes on after."""
    admin.add_peer(1)

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
            admin.add_peer(2)
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
                admin.add_peer(1)
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
        async with followed_through_proxy(server, tmp_path) as (proxy, _, world):
            await until(lambda: proxy.watches() == 1)
            proxy.lines = lambda _: [line]
            admin.add_peer(1)
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
                    admin.add_peer(number)
                admin.remove_node("peer0")
                admin.annotate("peer1", public_ip="203.0.113.1")
                admin.remove_node("peer2")
                admin.add_peer(2)
                await until(lambda: {"peer1", "peer2", "peer3"} == world.nodes.keys())
                public_ip = world.nodes["peer1"].leases[0].public_ip
                assert str(public_ip) == "203.0.113.1"
                admin.add_peer(9)
                await until(lambda: "peer9" in world.nodes)
                assert world.nodes.keys() == {"peer1", "peer2", "peer3", "peer9"}
                assert world.count(Away) == 0

    run_scenario(scenario)
