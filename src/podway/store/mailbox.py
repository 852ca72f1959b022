"""Between the connection that delivers events and the agent that takes them, at its own pace.

In: events as they come. Out: the same state of the world in as few events as possible: what the
agent has not taken yet is merged, so the box holds at most one snapshot, one delta and one word on
the connection, however long the agent is busy. The hub never waits for a busy agent.
"""

import asyncio

from msgspec.structs import replace

from podway.model.networks import Network
from podway.store.protocol import Away, Back, Change, Delta, Snapshot, StoreEvent


class Mailbox:
    """Events on their way to one taker."""

    def __init__(self) -> None:
        self._filled = asyncio.Event()
        self._link: Away | Back | None = None
        self._away: Away | None = None
        self._closed = False
        self._snapshot: Snapshot | None = None
        self._changes: dict[str, Change] = {}
        self._revision: int | None = None
        self._network: Network | None = None
        self._network_error = ""

    def put(self, event: StoreEvent) -> None:
        """Add *event* to what waits."""
        match event:
            case Snapshot():
                self._snapshot = _following(self._snapshot, event)
                self._clear_delta()
            case Delta():
                self._merge(event)
            case Away():
                # Away for the same reason as before is no news.
                self._link = None if event == self._away else event
            case Back():
                # Away and back before anybody looked: nothing happened.
                self._link = event if self._away else None
        self._filled.set()

    def close(self) -> None:
        """Let `get` return None once the rest is taken."""
        self._closed = True
        self._filled.set()

    async def get(self) -> StoreEvent | None:
        """Return the next event, when there is one; None: there will be no more."""
        while True:
            await self._filled.wait()
            event = self._take()
            if event is not None or self._closed:
                return event
            self._filled.clear()

    def _take(self) -> StoreEvent | None:
        """Take out the next event: news of a connection that is back, then state, then its loss."""
        if isinstance(self._link, Back):
            back, self._link, self._away = self._link, None, None
            return back
        if self._snapshot is not None:
            snapshot, self._snapshot = self._snapshot, None
            return snapshot
        if self._revision is not None:
            return self._take_delta(self._revision)
        away, self._link = self._link, None
        self._away = away or self._away
        return away

    def _take_delta(self, revision: int) -> Delta:
        delta = Delta(
            revision=revision,
            changes=tuple(self._changes.values()),
            network=self._network,
            network_error=self._network_error,
        )
        self._clear_delta()
        return delta

    def _merge(self, delta: Delta) -> None:
        self._revision = delta.revision
        for change in delta.changes:
            self._changes[change.name] = change
        if delta.network is not None or delta.network_error:
            self._network, self._network_error = delta.network, delta.network_error

    def _clear_delta(self) -> None:
        self._changes = {}
        self._revision = None
        self._network, self._network_error = None, ""


def _following(untaken: Snapshot | None, snapshot: Snapshot) -> Snapshot:
    """Return *snapshot*; that the store was rewound holds on until somebody has heard it."""
    return replace(snapshot, rewound=True) if untaken and untaken.rewound else snapshot
