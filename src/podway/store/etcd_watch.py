"""Following one network in etcd: everything once, then every change, for ever, whatever happens.

In: a client. Out: store events into a `Mailbox`, and the view behind them, from which claims are
decided. Hard is to know when changes are missing. A watch goes on where the last one ended, unless
that is compacted, or the store is not the one that it was: another cluster, or one that was put
back to an older state (its revision or its term went backwards). Then everything is read again.

What may be silent for ever must be asked: a member that hangs, or is cut off from the others, ends
a watch by no word at all. So every heartbeat asks that member for something that a majority must
confirm; without an answer the next member is watched.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterable

from msgspec import Struct

from podway.store.etcd_client import EtcdClient
from podway.store.etcd_keys import EtcdKeys
from podway.store.etcd_messages import (
    Event,
    Header,
    RangeResponse,
    WatchCreate,
    WatchResponse,
    prefix_end,
)
from podway.store.etcd_steps import whole_range
from podway.store.etcd_view import EtcdView
from podway.store.mailbox import Mailbox
from podway.store.protocol import Away, Back, Change, Delta, Snapshot, StoreAway, StoreError

_log = logging.getLogger("podway.store.etcd")


class EtcdOptions(Struct, frozen=True, kw_only=True):
    """Times of one client, in seconds.

    Attributes:
        request_s: for one call, whatever members it takes.
        connect_s: for a connection, with TLS.
        heartbeat_s: between two questions to the member that is watched.
        backoff_min_s: pause after the first failure; doubles with each further one.
        backoff_max_s: longest pause; each is between half of this and all of it, at random.
        stable_s: a watch that lasted so long makes the pauses short again.
        silence_s: a watch without a word for so long is dead (etcd says every 10 minutes that there
            is nothing new).
    """

    request_s: float = 10.0
    connect_s: float = 3.0
    heartbeat_s: float = 15.0
    backoff_min_s: float = 0.1
    backoff_max_s: float = 5.0
    stable_s: float = 5.0
    silence_s: float = 1500.0


class _Gap(Exception):  # noqa: N818  (a state, not an accident)
    """Changes are missing between what is known and what a watch would tell."""


class _Rewound(_Gap):
    """The store is not what it was."""


class _Behind(_Gap):
    """The member that is watched, or the store, is not as far as what is known."""


class EtcdWatch:
    """Follows one network.

    Attributes:
        mailbox: where events go.
        live: what is known is current, but for what is under way.
        view: all that is known.
    """

    def __init__(self, client: EtcdClient, keys: EtcdKeys, options: EtcdOptions) -> None:
        self._client = client
        self._keys = keys
        self._options = options
        self._header = Header()
        self._before = Header()
        self._rewound = False
        self._told: dict[bytes, str] = {}
        self.mailbox = Mailbox()
        self.live = False
        self.view = EtcdView(keys)

    async def run(self) -> None:
        """Follow for ever."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began_s = loop.time()
            try:
                reason = await self._follow_until_lost()
            finally:
                self.live = False
            if loop.time() - began_s >= self._options.stable_s:
                failures = 0
            self.mailbox.put(Away(reason))
            self._client.rotate()
            await asyncio.sleep(self._pause_s(failures))
            failures += 1

    def learn(self, events: Iterable[Event], revision: int) -> None:
        """Take in *events*, which this client has made at *revision*, before the watch tells them.

        If the watch has been there already, it may know more: that the key was deleted since.
        """
        if self.live and revision > self._header.revision:
            self._apply(events)

    # -- inside

    def _pause_s(self, failures: int) -> float:
        options = self._options
        longest_s = min(options.backoff_max_s, options.backoff_min_s * 2.0 ** min(failures, 16))
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311  (spreads load, hides nothing)

    async def _follow_until_lost(self) -> str:
        """Read all where that is needed, watch; return why it ended."""
        while True:
            try:
                if not self._header.revision:
                    self._begin(await self._client.range(whole_range(self._keys)))
                await self._follow_who_is_current()
            except _Gap as gap:
                _log.info("everything is read again", extra={"fields": {"reason": str(gap)}})
                self._rewound |= isinstance(gap, _Rewound)
                self._before, self._header = self._header, Header()
            except StoreError as error:
                return str(error)

    def _begin(self, everything: RangeResponse) -> None:
        header = everything.header
        self._client.counts.relists += 1
        # Only what a majority has confirmed tells a store put back from a member that lags.
        self._rewound |= header.revision < self._before.revision
        self._header = header
        self.view = EtcdView(self._keys, everything.kvs, header.revision)
        self._tell_errors()
        self.live = True
        self.mailbox.put(Back())
        self._put_snapshot()
        self._rewound = False

    def _put_snapshot(self) -> None:
        view = self.view
        self.mailbox.put(
            Snapshot(
                revision=self._header.revision,
                network=view.network,
                nodes=tuple(view.nodes().values()),
                network_error=view.network_error,
                rewound=self._rewound,
            )
        )

    async def _follow_who_is_current(self) -> None:
        """Watch until that ends. Raises StoreError or _Gap."""
        try:
            await self._follow()
        except _Behind as behind:
            # A majority knows whether that is the store, or this member alone.
            header = await self._client.check_current(self._keys.config)
            if header.raft_term < self._header.raft_term:
                raise _Rewound(str(behind)) from behind
            if header.revision < self._header.revision:
                raise
            raise StoreAway(f"this member lags: {behind}") from behind

    async def _follow(self) -> None:
        """Watch from where we are until that ends. Raises StoreError or _Gap."""
        create = WatchCreate(
            key=self._keys.root,
            range_end=prefix_end(self._keys.root),
            start_revision=self._header.revision + 1,
        )
        failure: Exception = StoreAway("the watch ended")
        try:
            async with (
                self._client.watch(create, self._options.silence_s) as responses,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(self._beat())
                await self._read(responses)
        except* (StoreError, _Gap) as group:
            failure = group.exceptions[0]
        finally:
            self.live = False
        if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # this is a task
            # A task group of Python 3.11 loses a cancellation that meets a failure of its own.
            raise asyncio.CancelledError
        raise failure

    async def _read(self, responses: AsyncIterator[WatchResponse]) -> None:
        async for response in responses:
            self._take(response)

    async def _beat(self) -> None:
        """Ask the watched member from time to time. Raises StoreAway when it does not answer."""
        while True:
            await asyncio.sleep(self._options.heartbeat_s)
            await self._client.check_current(self._keys.config)

    def _take(self, response: WatchResponse) -> None:
        if response.compact_revision:
            raise _Gap(f"changes before revision {response.compact_revision} are compacted")
        if response.canceled:
            raise StoreAway(f"the watch was cancelled: {response.cancel_reason or 'no reason'}")
        if response.created:
            self._check_same_store(response.header)
            self.live = True
            self.mailbox.put(Back())
        elif response.events:
            self._advance(response.events[-1].kv.mod_revision, response.header)
            self._apply(response.events)
        else:  # nothing new up to there
            self._advance(response.header.revision, response.header)

    def _check_same_store(self, header: Header) -> None:
        known = self._header
        if header.cluster_id != known.cluster_id:
            raise _Rewound("this is another cluster")
        if header.raft_term < known.raft_term:
            raise _Behind(f"its term {header.raft_term} is before {known.raft_term}")
        if header.revision < known.revision:
            raise _Behind(f"its revision {header.revision} is before {known.revision}")

    def _advance(self, revision: int, header: Header) -> None:
        self._header = Header(
            cluster_id=self._header.cluster_id, revision=revision, raft_term=header.raft_term
        )
        self.view.revision = revision

    def _apply(self, events: Iterable[Event]) -> None:
        """Take *events* in, and tell what they change."""
        view = self.view
        changes = [view.apply(event) for event in events]
        names = frozenset[str]().union(*(change.names for change in changes))
        is_new = any(change.network for change in changes)
        self._tell_errors()
        if is_new and view.config is None:
            self._put_snapshot()  # a delta has no word for a network that is gone
        elif names or is_new:
            self.mailbox.put(
                Delta(
                    revision=self._header.revision,
                    changes=tuple(Change(name, view.node(name)) for name in sorted(names)),
                    network=view.network if is_new else None,
                    network_error=view.network_error if is_new else "",
                )
            )

    def _tell_errors(self) -> None:
        """Log each key that cannot be read once, and count it."""
        counts, errors = self._client.counts, self.view.errors
        for key, error in errors.items():
            if self._told.get(key) != error:
                counts.passed_over += 1
                fields = {"key": key.decode(errors="replace"), "reason": error}
                _log.warning("entry passed over", extra={"fields": fields})
        self._told = dict(errors)
        counts.malformed = len(errors)
