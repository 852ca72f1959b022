"""A hub before Kubernetes: agents have their Nodes' subnets and ask the API server nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from hub.clients import next_event
from hub.hub_process import QUICK
from kube_apiserver.server import Admin, KubeServer
from kube_apiserver.stores import claim, open_kube_store, run_scenario, until
from podway.hub.listeners import listen
from podway.hub.upstream import UpstreamServer
from podway.model.nodes import Node
from podway.store.address import UnixAddress
from podway.store.engines import open_hub
from podway.store.hub import HubStore
from podway.store.kube import KubeStore
from podway.store.protocol import ClaimRefused, Delta, Snapshot, StoreError


@asynccontextmanager
async def front(store: KubeStore, path: Path) -> AsyncIterator[HubStore]:
    """Serve *store* on a Unix socket; give one of its agents."""
    async with AsyncExitStack() as undo:
        server = UpstreamServer(store)
        undo.push_async_callback(server.stop, "the test is over")
        address = UnixAddress(path)
        listener = await listen(server, address, None)
        undo.callback(path.unlink, missing_ok=True)
        undo.callback(listener.close)
        server.addresses.append(address)
        agent = open_hub(str(address), options=QUICK)
        undo.push_async_callback(agent.close)
        yield agent


def test_agents_have_what_their_nodes_have(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    names = [f"n{number}" for number in range(1, 9)]
    for number, name in enumerate(names, 1):
        admin.add_node(name, f"10.244.{number}.0/24")

    async def scenario() -> None:
        store = open_kube_store(server, tmp_path)
        async with front(store, tmp_path / "hub.sock") as agent:
            events = agent.watch()
            assert (await next_event(events, Snapshot)).network is not None
            claims = [claim(name, f"192.0.2.{10 + i}") for i, name in enumerate(names)]
            nodes = await asyncio.gather(*map(agent.claim, claims))
            assert [str(node.leases[0].subnet) for node in nodes] == [
                f"10.244.{number}.0/24" for number in range(1, 9)
            ]
            heard: set[Node | None] = set()
            while len(heard) < len(names):
                changes = (await next_event(events, Delta)).changes
                heard |= {change.node for change in changes}
            assert heard == set(nodes)
            listed = await agent.list_nodes()
            assert {status.node for status in listed} == set(nodes)
            for name in names:
                await agent.renew(name)
            # A list, a watch; a get and a patch for each claim; a list; a get for each renewal.
            assert store.counts.requests == 2 + 2 * 8 + 1 + 8

    run_scenario(scenario)


def test_refusals_reach_who_asked(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    admin.add_node("n1")

    async def scenario() -> None:
        async with front(open_kube_store(server, tmp_path), tmp_path / "hub.sock") as agent:
            with pytest.raises(ClaimRefused, match=r"spec\.podCIDRs"):
                await agent.claim(claim("n1"))
            with pytest.raises(ClaimRefused, match="no Node 'n9'"):
                await agent.claim(claim("n9"))
            with pytest.raises(StoreError, match="ConfigMap"):
                await agent.put_network("{}")

    run_scenario(scenario)


def test_an_operators_address_reaches_the_agent(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with front(open_kube_store(server, tmp_path), tmp_path / "hub.sock") as agent:
            node = await agent.claim(claim("n1"))
            events = agent.watch()
            assert (await next_event(events, Snapshot)).nodes == (node,)
            admin.annotate("n1", public_ip_overwrite="203.0.113.7")
            heard = (await next_event(events, Delta)).changes[0].node
            assert await agent.claim(claim("n1")) == heard
            text = "flannel.alpha.coreos.com/public-ip"
            await until(lambda: admin.annotations("n1")[text] == "203.0.113.7")

    run_scenario(scenario)
