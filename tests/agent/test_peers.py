"""Other nodes: that come, go, move, claim the same, or cannot be reached."""

from contextlib import AsyncExitStack
from ipaddress import ip_interface
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.nodes import new_kernel, routes, run, running_node, until
from agent.staged_store import NETWORK, changed, peer, removed, snapshot, staged_node
from hub.hub_process import running_hub
from podway.agent.gauges import watch_agent
from podway.cni.errors import TRY_AGAIN_LATER
from podway.model.kernel import Address


def test_three_nodes_know_each_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_hub() as hub, AsyncExitStack() as stack:
            nodes = [
                await stack.enter_async_context(
                    running_node(tmp_path, hub.url, name, kernel=new_kernel(f"192.0.2.{n}/24"))
                )
                for n, name in enumerate("abc", 1)
            ]
            for node in nodes:
                await until(lambda node=node: len(routes(node)) == 2)  # type: ignore[misc]
                status = await node.call("status")
                assert {item["state"] for item in status["peers"]} == {"programmed"}
            store = hub.open_store()
            await store.release("c")
            await store.close()
            # Its lease is gone, and it claims another one at once.
            await until(lambda: len(routes(nodes[0])) == 2)

    run(scenario)


def test_one_change_among_many_peers_costs_one_change(tmp_path: Path) -> None:
    async def scenario() -> None:
        peers = [peer(f"p{n}", f"10.9.{n}.0/24", f"192.0.2.{n}") for n in range(2, 240)]
        async with staged_node(tmp_path, *peers) as (store, node):
            assert len(routes(node)) == 238
            await until(lambda: not node.agent.tracker.pending)
            done = len(node.kernel.log)
            store.say(changed(peer("p7", "10.9.7.0/24", "192.0.2.250")))
            await until(lambda: routes(node)["10.9.7.0/24"] == "192.0.2.250")
            assert len(node.kernel.log) == done + 1
            store.say(removed("p7"))
            await until(lambda: "10.9.7.0/24" not in routes(node))
            assert len(node.kernel.log) == done + 2

    run(scenario)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["a first", "b first"])
def test_two_peers_with_one_subnet_have_one_winner_whoever_comes_first(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    claimants = (
        peer("alpha", "10.9.7.0/24", "192.0.2.7"),
        peer("beta", "10.9.7.0/24", "192.0.2.8"),
    )

    async def scenario() -> None:
        async with staged_node(tmp_path) as (store, node):
            for number in order:
                store.say(changed(claimants[number]))
                await until(lambda: len(routes(node)) == 1)
            await until(lambda: len(node.agent.tracker.conflicts()) == 1)
            await until(lambda: routes(node) == {"10.9.7.0/24": "192.0.2.7"})
            (conflict,) = (await node.call("status"))["conflicts"]
            assert conflict["claimants"] == ["peer/alpha", "peer/beta"]
            store.say(removed("alpha"))
            await until(lambda: routes(node) == {"10.9.7.0/24": "192.0.2.8"})
            assert (await node.call("status"))["conflicts"] == []

    run(scenario)


def test_two_nodes_with_one_public_address(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            running_hub() as hub,
            running_node(tmp_path, hub.url, "a", uplinks=("eth0",)) as first,
            running_node(tmp_path, hub.url, "b", uplinks=("eth0",)) as second,
        ):
            await until(lambda: not first.reasons() or not second.reasons())
            late, early = (first, second) if first.reasons() else (second, first)
            name = early.settings.node
            await until(lambda: any(f"node {name}" in reason for reason in late.reasons()))
            assert (await late.add("c1")).code == TRY_AGAIN_LATER
            own, other = (Address("eth0", ip_interface(f"192.0.2.{n}/24")) for n in (1, 2))
            await late.tamper(late.kernel.tamper_delete, own.key)
            await late.tamper(late.kernel.tamper_set, other)
            await late.ready()
            await until(lambda: len(routes(early)) == len(routes(late)) == 1)

    run(scenario)


def test_a_peer_that_cannot_be_reached_is_skipped_and_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        peers = (
            peer("far", "10.9.7.0/24", "198.51.100.7"),
            peer("near", "10.9.8.0/24", "192.0.2.8"),
        )
        async with staged_node(tmp_path, *peers) as (store, node):
            assert routes(node) == {"10.9.8.0/24": "192.0.2.8"}
            far, near = (await node.call("status"))["peers"]
            assert (far["state"], "host-gw needs" in far["reason"]) == ("skipped", True)
            assert near["state"] == "programmed"
            watch_agent(node.agent, node.metrics)
            assert b"podway_peers_skipped 1.0\n" in node.metrics.render()
            store.say(changed(peer("far", "10.9.7.0/24", "192.0.2.7")))
            await until(lambda: len(routes(node)) == 2)
            assert (await node.call("status"))["peers"][0]["state"] == "programmed"
            assert b"podway_peers_skipped 0.0\n" in node.metrics.render()

    run(scenario)
    told = [vars(record)["fields"] for record in caplog.records if record.msg == "peer skipped"]
    assert [each["node"] for each in told] == ["far"]
    assert "host-gw needs" in told[0]["reason"]


def test_of_many_peers_that_cannot_be_reached_some_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each once, whatever makes the node look at them again."""

    async def scenario() -> None:
        peers = [peer(f"p{n}", f"10.9.{n}.0/24", f"198.51.100.{n}") for n in range(2, 42)]
        other = replace(NETWORK, masquerade=False)
        async with staged_node(tmp_path, *peers) as (store, node):
            store.say(snapshot(*peers, network=other))
            desires = node.agent.desires
            await until(lambda: desires.place is not None and desires.place.network == other)
            assert len(desires.skipped) == len(peers)

    run(scenario)
    told = [record.msg for record in caplog.records]
    assert (told.count("peer skipped"), told.count("peers skipped, too")) == (10, 1)
