"""A node under another name, two under one, and clocks that jump."""

import time
from pathlib import Path
from typing import Any

import pytest

from agent.engines import closing, open_cluster
from agent.nodes import Node, new_kernel, run, running_node, until
from podway.model.kernel import ROUTE_PROTOCOL, Route
from podway.store.protocol import AdminStore

ONE = {"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}}


@pytest.fixture(params=["hub", "etcd"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def subnet(node: Node) -> str:
    assert node.agent.me is not None
    return str(node.agent.me.leases[0].subnet)


def routes(node: Node) -> list[str]:
    found = node.objects("route")
    ours = [i for i in found if isinstance(i, Route) and i.protocol == ROUTE_PROTOCOL]
    return sorted(str(item.dst) for item in ours)


def test_a_node_gets_another_name(engine: str, tmp_path: Path) -> None:
    """It is told apart from a stranger with its address by nobody but an operator."""
    kernel, state = new_kernel(), tmp_path / "state"
    state.mkdir()

    async def scenario() -> None:
        async with open_cluster(engine, ONE) as open_store, closing(open_store()) as store:
            kept: dict[str, Any] = {"kernel": kernel, "state_dir": state}
            async with running_node(tmp_path, open_store(), "old", **kept) as node:
                await node.ready()
                before = subnet(node)
                assert (await node.add("c1")).code == 0
            async with running_node(tmp_path, open_store(), "new", **kept) as node:
                await until(lambda: any("old" in reason for reason in node.reasons()), node.reasons)
                assert "node remove old" in " ".join(node.reasons())
                assert len(node.pod_links()) == 1, "its pods are left alone"
                await store.release("old")
                await node.ready()
                assert subnet(node) == before
                assert (await node.call("status"))["stranded"] == []
                assert [status.node.name for status in await store.list_nodes()] == ["new"]
                await node.calm()
                assert routes(node) == []
            # It remembers one name, the last.
            async with running_node(tmp_path, open_store(), "new", **kept) as node:
                await node.ready()
                assert subnet(node) == before

    run(scenario)


def test_two_machines_with_one_name(
    engine: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They take the lease from each other, ever more slowly, and say so."""

    async def scenario() -> None:
        async with open_cluster(engine, ONE) as open_store:
            first, second = (tmp_path / name for name in ("one", "two"))
            first.mkdir()
            second.mkdir()
            async with (
                running_node(first, open_store(), "n", kernel=new_kernel("192.0.2.1/24")) as one,
                running_node(second, open_store(), "n", kernel=new_kernel("192.0.2.2/24")) as two,
            ):
                await until(lambda: one.agent.me is not None and two.agent.me is not None)
                await until(lambda: "lease is another in the store" in caplog.text)
                assert subnet(one) == subnet(two)
                assert routes(one) == routes(two) == []

    run(scenario)


@pytest.mark.parametrize("jump_s", [-400 * 86400.0, 400 * 86400.0], ids=["back", "ahead"])
def test_the_clock_is_set(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """By more than a year, on a node with pods whose lease lives for seconds: nobody notices."""
    real, kernel = time.time, new_kernel()

    async def scenario() -> None:
        async with open_cluster(engine, ONE) as open_store, closing(open_store()) as store:
            own = open_store()
            renewals = count_renewals(own, monkeypatch)
            short: dict[str, Any] = {"kernel": kernel, "lease_ttl_s": 2, "cooldown_s": 0.3}
            async with running_node(tmp_path, own, **short) as node:
                await node.ready()
                before = subnet(node)
                (held,) = (await node.add("c1")).addresses
                assert (await node.add("c2")).code == 0
                assert (await node.delete("c2")).code == 0
                monkeypatch.setattr(time, "time", lambda: real() + jump_s)
                # Longer than the lease lives: it was kept by renewals alone.
                await until(lambda: len(renewals) > 3, node.reasons)
                assert [status.node.name for status in await store.list_nodes()] == ["a"]
                assert subnet(node) == before
                await until(lambda: free(node) == 252, node.reasons)
            async with running_node(tmp_path, open_store(), **short) as node:
                await node.ready()
                assert subnet(node) == before
                rows = (await node.call("ipam.show"))["addresses"]
                used = [row["address"] for row in rows if row["state"] == "held"]
                assert used == [held.partition("/")[0]]
                await until(lambda: free(node) == 252, node.reasons)

    run(scenario)


def count_renewals(store: AdminStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets an entry for every renewal that *store* has made."""
    renew, made = store.renew, list[str]()

    async def counted(name: str) -> None:
        await renew(name)
        made.append(name)

    monkeypatch.setattr(store, "renew", counted)
    return made


def free(node: Node) -> int:
    """Return how many addresses of the node's subnet are free and at rest no more."""
    (pool,) = node.agent.ipam.pools.values()
    return pool.size - pool.used - pool.cooling(time.monotonic())
