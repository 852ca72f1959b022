"""Keeps a view of the cluster current, whatever the API server does: list, watch, resume, for ever.

In: an API server. Out: events in a mailbox. One list, then one watch from its revision, resumed
when the server ends it. What can happen, and what is done:

=========================  =======================================================================
the watch ends in order     it goes on from the last revision, after a short pause
it breaks, or 401 429 5xx   `Away`, a pause that grows (after the server's Retry-After), resume
410: too old a revision     list anew; the server may answer from memory, as long as that is not
                            older than what was seen; the agent hears the difference
the server's own revision   its etcd was restored from a backup: list anew, trust no revision
lies in our past            (a watch from the future would just be silent); the agent keeps for a
                            while who is not there, or not yet again
=========================  =======================================================================
"""

import asyncio
import logging
import random
from collections.abc import Callable

from msgspec import Struct

from podway.store.kube_api import Gone, KubeApi
from podway.store.kube_objects import NodeRecord
from podway.store.kube_view import ClusterView
from podway.store.mailbox import Mailbox
from podway.store.protocol import Away, Back, StoreError

_log = logging.getLogger("podway.store.kubernetes")


class Pauses(Struct, frozen=True, kw_only=True):
    """How long to wait after failures, in seconds.

    Attributes:
        first_s: after the first; doubles with each further one.
        longest_s: never longer; each is between half of this and all of it, at random.
        stable_s: a watch that lasted so long makes them short again.
    """

    first_s: float = 0.2
    longest_s: float = 5.0
    stable_s: float = 5.0


class Follower:
    """Follows the Nodes of one cluster.

    Args:
        api: whom to ask.
        view: what is kept current.
        pauses: after failures.
        heard: called with each Node that an event was about, news or not.
    """

    def __init__(
        self,
        api: KubeApi,
        view: ClusterView,
        pauses: Pauses,
        heard: Callable[[NodeRecord], None],
    ) -> None:
        self._api = api
        self._view = view
        self._pauses = pauses
        self._heard = heard
        self._current = False
        self._interrupted = False
        self._trusted = False
        self._rewound = False

    async def run(self, mailbox: Mailbox) -> None:
        """Follow for ever; events go to *mailbox*."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began_s = loop.time()
            reason = await self._follow(mailbox)
            if reason:
                self._interrupted = True
                mailbox.put(Away(reason))
            if loop.time() - began_s >= self._pauses.stable_s:
                failures = 0
            # After an end in order, too: a server that is stopped ends all its watches at once.
            await asyncio.sleep(self._pause_s(failures))
            failures += 1

    async def _follow(self, mailbox: Mailbox) -> str:
        """List where that is due, then watch to the end; return why it failed, "" if it did not."""
        listing = True
        try:
            if self._interrupted and self._current:
                await self._check_history()
            listing = not self._current
            if listing:
                await self._list(mailbox)
            self._interrupted = False
            await self._watch(mailbox)
        except Gone as error:
            self._current = False
            # That a revision grew too old is no failure; that the one just listed did, is.
            return str(error) if listing else ""
        except StoreError as error:
            return str(error)
        return ""

    async def _check_history(self) -> None:
        """Find out whether the revisions that we know still mean something."""
        seen, current = self._view.cache.revision, await self._api.current_revision()
        if current < seen:
            _log.warning(
                "the cluster went back in time", extra={"fields": {"was": seen, "is": current}}
            )
            self._current = self._trusted = False
            self._rewound = True

    async def _list(self, mailbox: Mailbox) -> None:
        # A server that is behind what was seen says so; then the next list is the newest.
        seen = self._view.cache.revision if self._trusted else 0
        self._trusted = False
        records, revision = await self._api.list_nodes(not_older_than=seen)
        self._current = self._trusted = True
        self._api.counts.relists += 1
        rewound = self._rewound or revision < self._view.cache.revision
        self._rewound = False
        mailbox.put(Back())
        mailbox.put(self._view.replace(records, revision, rewound=rewound))
        for record in records:
            self._heard(record)

    async def _watch(self, mailbox: Mailbox) -> None:
        async with self._api.watch_nodes(self._view.cache.revision) as events:
            mailbox.put(Back())
            async for event in events:
                delta = self._view.take(event)
                if delta is not None:
                    mailbox.put(delta)
                if event.record is not None:
                    self._heard(event.record)

    def _pause_s(self, failures: int) -> float:
        pauses = self._pauses
        longest_s = min(pauses.longest_s, pauses.first_s * 2.0 ** min(failures, 16))
        pause_s = longest_s * random.uniform(0.5, 1.0)  # noqa: S311  (spreads load, hides nothing)
        # Whoever is told to come again in a second is told so with all the others.
        return self._api.quiet_s + pause_s
