"""What the store says: taken in, kept for the next start, and weighed against the node's own lease.

In: the events of `Store.watch`. Out: the `Cluster` as last heard, a pass that is woken, and a lease
that is claimed again when the store holds another one (it was restored from a backup, or somebody
removed the node) or the network has changed.

A store that was put back to an earlier state does not know nodes that came since. They are kept for
as long as a store may be away, so that they can claim their leases again before anybody takes their
routes out.
"""

import asyncio
import time
from collections.abc import Callable

from podway.agent.cluster import Cluster
from podway.agent.leases import LeaseKeeper
from podway.agent.memory import Memory
from podway.kernel.logs import Log
from podway.model.nodes import Node
from podway.store.protocol import Away, Back, Delta, Snapshot, Store

# Before a store is watched anew whose watch has ended: it may be asked for everything each time.
AGAIN_S = 5.0


class StoreWatch:
    """Follows the store.

    Args:
        store: what is followed.
        cluster: takes in what is heard.
        memory: keeps it.
        leases: claims the node's lease again.
        mine: returns the node as it was granted last, None without a lease.
        grace_s: how long nodes are kept that a store which was put back does not know.
        wake: has a pass made soon.

    Attributes:
        state: "never", "connected" or "away".
        reason: why it is away, for people.
        since: when the state began, by the monotonic clock.
    """

    def __init__(  # noqa: PLR0917  (the parts of one agent)
        self,
        store: Store,
        cluster: Cluster,
        memory: Memory,
        leases: LeaseKeeper,
        mine: Callable[[], Node | None],
        grace_s: float,
        wake: Callable[[], None],
        log: Log,
    ) -> None:
        self.state = "never"
        self.reason = ""
        self.since = time.monotonic()
        self._store = store
        self._cluster = cluster
        self._memory = memory
        self._leases = leases
        self._mine = mine
        self._grace_s = grace_s
        self._wake = wake
        self._log = log
        self._grace: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Follow the store until cancelled."""
        try:
            while True:
                await self._follow()
                # Its stream is endless, by contract: a defect, or a second watch of the same store.
                self._log.error("the store's watch ended by itself", again_s=AGAIN_S)
                self._set_state("away", "its watch ended by itself")
                self._wake()
                await asyncio.sleep(AGAIN_S)
        finally:
            if self._grace is not None:
                self._grace.cancel()

    async def _follow(self) -> None:
        async for event in self._store.watch():
            match event:
                case Away(reason):
                    self._set_state("away", reason)
                case Back():
                    self._set_state("connected", "")
                case Snapshot() | Delta():
                    self._set_state("connected", "")
                    self._hear(event)
            self._wake()

    def _set_state(self, state: str, reason: str) -> None:
        if state != self.state:
            self._log.info("store", state=state, reason=reason)
            self.since = time.monotonic()
        self.state, self.reason = state, reason

    def _hear(self, event: Snapshot | Delta) -> None:
        network = self._cluster.network
        changed = self._cluster.hear(event)
        self._memory.keep(self._cluster, changed, network)
        if isinstance(event, Snapshot) and self._cluster.missing:
            missing = ",".join(sorted(self._cluster.missing))
            self._log.warning("store was put back", missing=missing)
            self._await_missing()
        me = self._mine()
        if me is not None and contradicts(event, me):
            self._log.warning("lease is another in the store", node=me.name)
            self._leases.lost()
        elif self._cluster.network != network:
            self._leases.lost()
        self._leases.look_again()

    def _await_missing(self) -> None:
        """Give nodes that a rewound store does not know the time to claim their leases again."""
        if self._grace is not None:
            self._grace.cancel()
        loop = asyncio.get_running_loop()
        self._grace = loop.call_later(self._grace_s, self._forget_missing)

    def _forget_missing(self) -> None:
        if not self._cluster.missing:
            return
        if self._cluster.network is None or self.state != "connected":
            self._await_missing()  # nobody can claim now
            return
        gone = self._cluster.forget_missing()
        self._memory.keep(self._cluster, gone, self._cluster.network)
        self._wake()


def contradicts(event: Snapshot | Delta, me: Node) -> bool:
    """Tell whether the store now holds the node *me* in another way than it was granted."""
    if isinstance(event, Snapshot):
        return me not in event.nodes
    return any(each.name == me.name and each.node != me for each in event.changes)
