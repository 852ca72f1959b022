"""Clusters for tests that hold whatever the store is: a real hub, a real etcd."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from hub.hub_process import running_hub
from podway.store.protocol import AdminStore
from store.etcd_process import EtcdProcess


@asynccontextmanager
async def closing(store: AdminStore) -> AsyncIterator[AdminStore]:
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def open_cluster(
    engine: str, network: dict[str, Any]
) -> AsyncIterator[Callable[[], AdminStore]]:
    """Give what opens a store that holds *network*; *engine* is "hub" or "etcd"."""
    async with AsyncExitStack() as stack:
        if engine == "hub":
            hub = await stack.enter_async_context(running_hub(net_conf=network))
            yield hub.open_store
        else:
            etcd = stack.enter_context(EtcdProcess())
            etcd.put("/coreos.com/network/config", json.dumps(network))
            yield etcd.open_store
