"""Waiting for what a store's stream says; what it says before is taken, and passed over."""

import asyncio
from collections.abc import AsyncIterator, Callable

from hub.clients import PATIENCE_S
from podway.model.nodes import Node
from podway.store.protocol import Away, Back, Change, Delta, Snapshot, StoreEvent


async def current(events: AsyncIterator[StoreEvent], name: str, node: Node | None) -> None:
    """Read *events* until the node called *name* is *node*."""

    def says_so(event: StoreEvent) -> bool:
        match event:
            case Snapshot(nodes=nodes):
                return {each.name: each for each in nodes}.get(name) == node
            case Delta(changes=changes):
                return Change(name, node) in changes
            case _:
                return False

    await _first(events, says_so)


async def told_of(events: AsyncIterator[StoreEvent], name: str) -> None:
    """Read *events* until there is news of the node called *name*."""

    def says_so(event: StoreEvent) -> bool:
        return isinstance(event, Delta) and name in {change.name for change in event.changes}

    await _first(events, says_so)


async def away(events: AsyncIterator[StoreEvent]) -> str:
    """Read *events* until the store is away; return the reason."""
    event = await _first(events, lambda event: isinstance(event, Away))
    assert isinstance(event, Away)
    return event.reason


async def back(events: AsyncIterator[StoreEvent]) -> None:
    """Read *events* until the store is there again."""
    await _first(events, lambda event: isinstance(event, Back))


async def _first(
    events: AsyncIterator[StoreEvent], matches: Callable[[StoreEvent], bool]
) -> StoreEvent:
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            if matches(event):
                return event
    raise AssertionError("the stream ended")
