"""The condition NetworkUnavailable of our Nodes, held at False against who says otherwise.

In: Nodes of ours as they are heard. Out: writes, by a function of the store's. Clouds' controllers
begin a Node with True, and as long as that stands nothing is scheduled there. Who insists on it is
answered at a slow pace.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from podway.store.kube_objects import NodeRecord
from podway.store.protocol import StoreError

_log = logging.getLogger("podway.store.kubernetes")


class Availability:
    """Says again that the network of our Nodes is there whenever somebody says that it is not.

    Args:
        names: of our Nodes, now.
        say: writes it on the Node of that name, where it is known. Raises StoreError.
        pause_s: between two rounds.
    """

    def __init__(
        self, names: Iterable[str], say: Callable[[str], Awaitable[None]], pause_s: float
    ) -> None:
        self._names = names
        self._say = say
        self._pause_s = pause_s
        self._contradicted = asyncio.Event()

    def hear(self, record: NodeRecord) -> None:
        """Look at what one of our Nodes says now."""
        if record.network_unavailable != "False":
            self._contradicted.set()

    async def hold(self) -> None:
        """Answer who says otherwise, for ever."""
        while True:
            await self._contradicted.wait()
            self._contradicted.clear()
            for name in self._names:
                await self._try(name)
            await asyncio.sleep(self._pause_s)

    async def _try(self, name: str) -> None:
        try:
            await self._say(name)
        except StoreError as error:
            fields = {"node": name, "reason": str(error)}
            _log.warning("NetworkUnavailable not cleared", extra={"fields": fields})
            self._contradicted.set()
