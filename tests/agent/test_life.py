"""Starts, restarts and a store that comes and goes."""

import asyncio
import errno
import json
from contextlib import AsyncExitStack
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.nodes import Node, new_kernel, run, running_node, until
from agent.staged_store import NETWORK, StagedStore, changed, peer, removed, snapshot
from hub.hub_process import HOST_GW, QUICK, HubProcess, running_hub
from podway.agent import lookout
from podway.cni.errors import TRY_AGAIN_LATER, UNAVAILABLE
from podway.diff.operations import Verb
from podway.model.instances import BRIDGE_NAME
from podway.model.kernel import ROUTE_PROTOCOL, Address, Link, Route, link_key
from podway.model.networks import parse_network
from podway.store.protocol import Away, Back, ClaimRefused, Delta, Snapshot

VXLAN = parse_network('{"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan"}}')


def routes(node: Node) -> dict[str, str]:
    """Return prefix to next hop of our routes."""
    return {
        str(item.dst): str(item.via)
        for item in node.objects("route")
        if isinstance(item, Route) and item.protocol == ROUTE_PROTOCOL
    }


# --- peers --------------------------------------------------------------------------------------


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
        store = StagedStore()
        peers = [peer(f"p{n}", f"10.9.{n}.0/24", f"192.0.2.{n}") for n in range(2, 240)]
        store.say(snapshot(*peers))
        async with running_node(tmp_path, store) as node:
            await node.ready()
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
        store = StagedStore()
        store.say(snapshot())
        async with running_node(tmp_path, store) as node:
            await node.ready()
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


def test_a_peer_that_cannot_be_reached_is_skipped_and_shown(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = StagedStore()
        store.say(
            snapshot(
                peer("far", "10.9.7.0/24", "198.51.100.7"), peer("near", "10.9.8.0/24", "192.0.2.8")
            )
        )
        async with running_node(tmp_path, store) as node:
            await node.ready()
            assert routes(node) == {"10.9.8.0/24": "192.0.2.8"}
            far, near = (await node.call("status"))["peers"]
            assert (far["state"], "host-gw needs" in far["reason"]) == ("skipped", True)
            assert near["state"] == "programmed"
            store.say(changed(peer("far", "10.9.7.0/24", "192.0.2.7")))
            await until(lambda: len(routes(node)) == 2)
            assert (await node.call("status"))["peers"][0]["state"] == "programmed"

    run(scenario)


# --- restarts -----------------------------------------------------------------------------------


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


def test_a_kernel_that_cannot_be_read_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "REREAD_S", 0.05)

    async def scenario() -> None:
        kernel = new_kernel()
        for _ in range(3):
            kernel.fail_read(errno.ENOBUFS)
        store = StagedStore()
        store.say(snapshot())
        async with running_node(tmp_path, store, kernel=kernel) as node:
            await until(lambda: node.agent.lookout.error)
            assert any("arranged" in reason for reason in node.reasons())
            answer = await node.add("c1")
            assert answer.code == TRY_AGAIN_LATER
            assert kernel.log == [], "what is there is not known, so nothing is written"
            await node.ready()
            assert await node.used() in (0, 1)
            assert (await node.delete("c1")).code == 0
            assert await node.used() == 0
            assert (await node.add("c1")).code == 0

    run(scenario)


def test_a_kernel_that_cannot_be_read_later_hurts_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = StagedStore()
        store.say(snapshot())
        async with running_node(tmp_path, store) as node:
            await node.ready()
            node.kernel.fail_read(errno.EIO)
            node.agent.resync()
            await until(lambda: node.agent.lookout.error)
            assert (await node.add("c1")).code == 0
            assert any("the kernel fails" in reason for reason in node.reasons())

    run(scenario)


# --- another network, another lease -------------------------------------------------------------


def test_pods_come_and_go_while_the_backend_is_changed(tmp_path: Path) -> None:
    """Between the network's change and the new lease the old place stays in force."""

    async def scenario() -> None:
        store = StagedStore()
        store.say(snapshot(peer("p", "10.9.7.0/24", "192.0.2.7")))
        async with running_node(tmp_path, store) as node:
            await node.ready()
            await node.add("c1")
            store.error = ClaimRefused("not now")
            store.say(Delta(revision=4, network=VXLAN))
            await until(lambda: any("not now" in reason for reason in node.reasons()))
            status = await node.call("status")
            assert (status["backend"], status["peers"][0]["state"]) == ("vxlan", "pending")
            assert set(routes(node)) == {"10.9.7.0/24"}
            assert (await node.add("c2")).code == 0
            assert len(node.pod_links()) == 2
            assert (await node.delete("c1")).code == 0
            assert len(node.pod_links()) == await node.used() == 1
            assert (await node.cni("STATUS")).code == UNAVAILABLE

            store.error = None
            store.say(changed(peer("p", "10.9.7.0/24", "192.0.2.7", VXLAN)))
            await node.ready()
            await until(lambda: isinstance(node.found(link_key("podway.1")), Link))
            await until(lambda: routes(node).get("10.9.7.0/24") == "10.9.7.0")
            assert (await node.delete("c2")).code == 0

    run(scenario)


def test_a_network_that_is_gone_takes_nothing_along(tmp_path: Path) -> None:
    """A hub that lost its disk must not cut the pods of the whole cluster off."""

    async def scenario() -> None:
        store = StagedStore()
        store.say(snapshot(peer("p", "10.9.7.0/24", "192.0.2.7")))
        async with running_node(tmp_path, store) as node:
            await node.ready()
            await node.add("c1")
            store.say(Snapshot(revision=1, network=None, nodes=()))
            await until(lambda: any("no network is configured" in r for r in node.reasons()))
            assert (await node.add("c2")).code == 0
            assert (await node.delete("c1")).code == 0
            assert (set(routes(node)), len(node.pod_links())) == ({"10.9.7.0/24"}, 1)
            store.say(snapshot())
            await node.ready()
            await until(lambda: routes(node) == {})
            assert len(node.pod_links()) == 1

    run(scenario)


def test_a_network_that_cannot_be_used_changes_nothing_but_readiness(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = StagedStore()
        store.say(snapshot())
        async with running_node(tmp_path, store) as node:
            await node.ready()
            store.say(Delta(revision=5, network_error="Backend.VNI = 0: must be 1 to 16777215"))
            await until(lambda: any("VNI" in reason for reason in node.reasons()))
            assert (await node.add("c1")).code == 0
            store.say(Delta(revision=6, network=NETWORK))
            await node.ready()

    run(scenario)


def test_other_subnets_than_before(tmp_path: Path) -> None:
    """New pods get addresses of the new subnet; old ones are kept until DEL, and shown."""

    async def scenario() -> None:
        store = StagedStore("10.9.1.0/24")
        store.say(snapshot())
        async with running_node(tmp_path, store) as node:
            await node.ready()
            first = await node.add("c1")
            store.subnet = "10.9.5.0/24"
            assert node.agent.me is not None
            store.say(removed(node.agent.me.name))  # the lease was lost
            await until(lambda: len(store.claims) == 2)
            assert str(store.claims[1].wishes[0].subnet) == "10.9.1.0/24"
            await until(
                lambda: node.agent.ipam.pools and "10.9.5.0/24" in str(node.agent.desires.place)
            )
            await node.ready()
            assert (await node.add("c2")).addresses == ["10.9.5.2/24"]
            problems = (await node.call("ipam.check"))["problems"]
            assert [item["address"] for item in problems] == ["10.9.1.2"]
            again = await node.add("c1")
            assert again.code == 0
            assert again.addresses not in (first.addresses, ["10.9.5.2/24"])
            assert len(node.pod_links()) == await node.used() == 2
            for name in ("c1", "c2"):
                assert (await node.delete(name)).code == 0
            assert (node.pod_links(), await node.used()) == ([], 0)

    run(scenario)


def test_another_prefix_by_force(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_hub(net_conf=HOST_GW) as hub, running_node(tmp_path, hub.url) as node:
            await node.ready()
            await node.add("c1")
            admin = hub.open_store(QUICK)
            await admin.put_network(json.dumps({**HOST_GW, "Network": "10.77.0.0/16"}), force=True)
            await until(lambda: "10.77." in str(node.agent.me))
            await node.ready()
            assert (await node.add("c2")).addresses[0].startswith("10.77.")
            assert (await node.delete("c1")).code == 0
            assert await node.used() == 1
            await admin.close()

    run(scenario)


def test_a_failing_operation_makes_the_node_not_ready_until_it_is_done(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = StagedStore()
        store.say(snapshot())
        async with running_node(tmp_path, store) as node:
            await node.ready()
            node.kernel.fail_next(Verb.CREATE, "route", errno.ENETUNREACH, times=2)
            store.say(changed(peer("p", "10.9.7.0/24", "192.0.2.7")))
            await until(lambda: any("operations fail" in reason for reason in node.reasons()))
            assert (await node.call("status"))["peers"][0]["state"] == "pending"
            assert (await node.cni("STATUS")).code == 51
            await node.ready()
            assert routes(node) == {"10.9.7.0/24": "192.0.2.7"}

    run(scenario)


def test_what_fails_for_long_is_told_once_and_of_much_some(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        store = StagedStore()
        store.say(snapshot())
        async with running_node(tmp_path, store) as node:
            await node.ready()
            node.kernel.fail_next(Verb.CREATE, "route", errno.ENETUNREACH, times=1000)
            peers = [peer(f"p{n}", f"10.9.{n}.0/24", f"192.0.2.{n}") for n in range(2, 42)]
            store.say(changed(*peers))
            failures = node.agent.tracker.failures
            await until(lambda: [each.attempts for each in failures.values()] == [3] * 40)
            await node.agent.passed()

    run(scenario)
    told = [record.getMessage() for record in caplog.records]
    assert (told.count("operation failed"), told.count("operations failed, too")) == (10, 1)
