"""Calls for one interface follow each other: whoever comes second waits for the first."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from podway.model.endpoints import EndpointKey


class Turns:
    """Lets calls for one interface follow each other; forgets one that nobody waits for."""

    def __init__(self) -> None:
        self._locks: dict[EndpointKey, asyncio.Lock] = {}
        self._users: Counter[EndpointKey] = Counter()

    @asynccontextmanager
    async def turn(self, key: EndpointKey) -> AsyncIterator[None]:
        """Wait for the turn of a call for *key*, and hold it."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]
