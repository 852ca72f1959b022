"""A network that grows by a prefix and loses one, under nodes with pods; subnets that are lost."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.engines import closing, open_cluster
from agent.nodes import Node, new_kernel, run, running_node, until
from agent.staged_store import changed, peer, snapshot, staged_node
from hub.hub_process import running_hub
from podway.cni.errors import TRY_AGAIN_LATER
from podway.diff.operations import Verb
from podway.model.kernel import ROUTE_PROTOCOL, Address, NftTable, Route
from podway.store.protocol import AdminStore
from podway.store.refusals import ValueRefused

BACKEND = {"Backend": {"Type": "host-gw"}}
ONE = {"Network": "10.9.0.0/16", **BACKEND}
GROWN = {"Network": "10.9.0.0/16", "Networks": ["10.8.0.0/16"], **BACKEND}
DRAINING = {
    "Network": "10.8.0.0/16",
    "Networks": [{"Network": "10.9.0.0/16", "Drain": True}],
    **BACKEND,
}
OTHER = {"Network": "10.8.0.0/16", **BACKEND}


def routes(node: Node) -> dict[str, str]:
    """Return prefix to next hop of the routes to peers."""
    return {
        str(item.dst): str(item.via)
        for item in node.objects("route")
        if isinstance(item, Route) and item.protocol == ROUTE_PROTOCOL
    }


def gateway(node: Node) -> str:
    found = [item for item in node.objects("address") if isinstance(item, Address)]
    return next((str(item.address) for item in found if item.dev == "cni0"), "")


def rules(node: Node) -> str:
    (table,) = node.objects("nft")
    assert isinstance(table, NftTable)
    return table.body


async def put(store: AdminStore, network: dict[str, Any], *, force: bool = False) -> None:
    await store.put_network(json.dumps(network), force=force)


@asynccontextmanager
async def two_nodes(
    directory: Path, open_store: Callable[[], AdminStore]
) -> AsyncIterator[tuple[Node, Node]]:
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                running_node(
                    directory, open_store(), name, kernel=new_kernel(f"192.0.2.{number}/24")
                )
            )
            for number, name in enumerate("ab", 1)
        ]
        for node in (one, two):
            await node.ready()
        yield one, two


@pytest.fixture(params=["hub", "etcd"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_prefix_is_added_used_drained_and_removed(engine: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            open_cluster(engine, ONE) as open_store,
            two_nodes(tmp_path, open_store) as (one, two),
            closing(open_store()) as store,
        ):
            old_one, old_two = subnet(one), subnet(two)
            assert (await one.add("c1")).code == 0
            await put(store, GROWN)
            await until(lambda: "10.8.0.0/16" in rules(one))
            assert (subnet(one), subnet(two)) == (old_one, old_two)
            # Drained: the empty node moves at once, the other when its pod has ended.
            await put(store, DRAINING)
            await until(lambda: subnet(two).startswith("10.8."), two.reasons)
            await until(lambda: routes(one) == {subnet(two): "192.0.2.2"}, one.reasons)
            await until(lambda: gateway(two).startswith("10.8."))
            assert subnet(one) == old_one
            assert (await one.call("status"))["drained"] is True
            assert (await one.add("c2")).code == 0, "a node that has pods may have more"
            with pytest.raises(ValueRefused, match=old_one):
                await put(store, OTHER)
            assert (await one.delete("c1")).code == 0
            assert subnet(one) == old_one
            assert (await one.delete("c2")).code == 0
            await until(lambda: subnet(one).startswith("10.8."), one.reasons)
            await until(lambda: routes(two) == {subnet(one): "192.0.2.1"}, two.reasons)
            assert (await one.call("status"))["drained"] is False
            await put(store, OTHER)
            await until(lambda: "10.9." not in rules(one) + rules(two))
            added = await one.add("c3")
            assert added.code == 0
            assert added.addresses[0].startswith("10.8.")
            await one.calm()
            await two.calm()

    run(scenario)


def subnet(node: Node) -> str:
    assert node.agent.me is not None
    return str(node.agent.me.leases[0].subnet)


def test_a_restart_in_a_drained_prefix(tmp_path: Path) -> None:
    """With a pod the node has its subnet again, even if its lease was lost; without it moves."""
    kernel = new_kernel()

    async def scenario() -> None:
        async with running_hub(net_conf=ONE) as hub, closing(hub.open_store()) as store:
            async with running_node(tmp_path, hub.url, kernel=kernel) as node:
                await node.ready()
                old = subnet(node)
                assert (await node.add("c1")).code == 0
            await put(store, DRAINING)
            await store.release("a")
            async with running_node(tmp_path, hub.url, kernel=kernel) as node:
                await node.ready()
                assert subnet(node) == old
                assert (await node.call("status"))["stranded"] == []
                assert (await node.delete("c1")).code == 0
                await until(lambda: subnet(node).startswith("10.8."), node.reasons)

    run(scenario)


def test_no_pod_slips_in_while_the_node_moves(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with staged_node(tmp_path) as (_, node):
            node.agent.leases.leaving = True
            assert (await node.add("c1")).code == TRY_AGAIN_LATER
            node.agent.leases.leaving = False
            assert (await node.add("c1")).code == 0

    run(scenario)


def test_pods_of_a_lost_subnet_go_on_and_are_named(tmp_path: Path) -> None:
    """It is another node's by now: two must not announce it, and nobody ends the pods."""

    async def scenario() -> None:
        async with staged_node(tmp_path) as (store, node):
            assert (await node.add("c1", args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web")).code == 0
            links, done = node.pod_links(), len(node.kernel.log)
            # The store was away, the lease has ended, and another node has its subnet.
            store.subnet = "10.9.5.0/24"
            store.say(changed(peer("b", "10.9.1.0/24", "192.0.2.9")), snapshot_without_me())
            await until(lambda: subnet(node) == "10.9.5.0/24", node.reasons)
            await until(lambda: routes(node) == {"10.9.1.0/24": "192.0.2.9"}, node.reasons)
            assert node.pod_links() == links
            deleted = {
                operation.key.kind
                for operation in node.kernel.log[done:]
                if operation.verb is Verb.DELETE
            }
            assert "link" not in deleted
            (stranded,) = (await node.call("status"))["stranded"]
            assert stranded == {"pod": "shop/web", "addresses": ["10.9.1.2"]}
            # New pods are served from the new subnet; the old one can be taken away.
            added = await node.add("c2")
            assert added.addresses == ["10.9.5.2/24"]
            assert (await node.delete("c1")).code == 0
            assert (await node.call("status"))["stranded"] == []
            await node.calm()

    def snapshot_without_me() -> Any:
        return snapshot(peer("b", "10.9.1.0/24", "192.0.2.9"))

    run(scenario)


def test_the_network_is_taken_from_under_a_node_by_force(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            running_hub(net_conf=ONE) as hub,
            running_node(tmp_path, hub.url) as node,
            closing(hub.open_store()) as store,
        ):
            await node.ready()
            assert (await node.add("c1")).code == 0
            with pytest.raises(ValueRefused):
                await put(store, OTHER)
            await put(store, OTHER, force=True)
            await until(lambda: subnet(node).startswith("10.8."), node.reasons)
            assert len((await node.call("status"))["stranded"]) == 1

    run(scenario)
