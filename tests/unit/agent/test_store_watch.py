"""A store whose watch ends, which none should: the log says so, and it is watched anew."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from podway.agent.cluster import Cluster
from podway.agent.leases import LeaseKeeper
from podway.agent.ledger import Ledger
from podway.agent.memory import Memory
from podway.agent.store_watch import AGAIN_S, StoreWatch
from podway.kernel.logs import get_log
from podway.store.protocol import Snapshot, Store, StoreEvent
from unit.agent.values import network, node
from unit.agent.virtual_time import run_virtually

LOG = get_log("test")


class EndingStore:
    """Says of one node more each time that it is watched, and ends twice."""

    def __init__(self) -> None:
        self.watched_s: list[float] = []

    async def watch(self) -> AsyncIterator[StoreEvent]:
        self.watched_s.append(asyncio.get_running_loop().time())
        count = len(self.watched_s)
        nodes = tuple(node(f"n{number}") for number in range(count))
        yield Snapshot(network=network(), nodes=nodes, revision=count)
        if count == 3:
            await asyncio.Event().wait()


def test_a_watch_that_ends_is_told_and_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    states: list[tuple[str, int]] = []

    async def scenario() -> None:
        store, cluster, ledger = EndingStore(), Cluster(), Ledger(tmp_path / "ledger")
        known = cast("Store", store)  # only watched
        leases = LeaseKeeper(known, lambda: None, lambda _: None, 0, LOG)
        watch: StoreWatch

        def wake() -> None:
            states.append((watch.state, len(cluster.nodes)))

        watch = StoreWatch(
            *(known, cluster, Memory(ledger, LOG), leases, lambda: None, 60.0, wake, LOG)
        )
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(100 * AGAIN_S)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
        ledger.close()
        assert [round(at_s / AGAIN_S) for at_s in store.watched_s] == [0, 1, 2]

    run_virtually(scenario)
    assert states == [
        ("connected", 1),
        ("away", 1),
        ("connected", 2),
        ("away", 2),
        ("connected", 3),
    ]
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 2
