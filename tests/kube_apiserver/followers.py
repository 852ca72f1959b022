"""Somebody who takes every event of a store, and knows what it says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kube_apiserver.faults import FaultProxy, fault_proxy
from kube_apiserver.server import KubeServer
from kube_apiserver.stores import opened, until
from podway.model.nodes import Node
from podway.store.kube import KubeStore
from podway.store.protocol import Delta, Snapshot, StoreEvent


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


@asynccontextmanager
async def followed_through_proxy(
    server: KubeServer, directory: Path, **options: Any
) -> AsyncIterator[tuple[FaultProxy, KubeStore, World]]:
    """Follow a store, opened with *options*, whose way to *server* leads through a proxy."""
    async with (
        fault_proxy(server) as proxy,
        opened(server, directory, url=proxy.url, **options) as store,
        followed(store) as world,
    ):
        yield proxy, store, world
