"""A pod's interface that somebody waits for: computed anew, there (or gone) after the next pass.

In: the key of an endpoint that has just become wanted, or unwanted. Out: what stands in its way in
the kernel, or `Unsettled` when nobody can tell. Called by CNI's verbs; the agent's passes answer.
"""

from collections.abc import Callable, Iterable

from podway.agent.desires import Desires
from podway.agent.endpoints import Endpoints
from podway.agent.waiters import Unsettled, Waiters
from podway.diff.tracker import Failure, Tracker
from podway.model.endpoints import EndpointKey, host_ifname
from podway.model.kernel import Key, link_key

NO_PLACE = "the node has no lease yet, or the agent has just started"


class Settling:
    """Waits for passes.

    Args:
        desires: computes what is wanted.
        endpoints: those that are known.
        tracker: knows what fails.
        wake: has a pass made soon.

    Attributes:
        waiters: whom a pass has to answer.
    """

    def __init__(
        self, desires: Desires, endpoints: Endpoints, tracker: Tracker, wake: Callable[[], None]
    ) -> None:
        self.waiters = Waiters()
        self._desires = desires
        self._endpoints = endpoints
        self._tracker = tracker
        self._wake = wake
        self._end: Unsettled | None = None

    def end(self, error: Unsettled) -> None:
        """Give *error* to all who wait, and to all who come: there is no further pass."""
        self._end = error
        self.waiters.refuse(error)

    async def endpoint(self, key: EndpointKey) -> list[Failure]:
        """Compute the endpoint with *key* anew and wait until the kernel has it (or has it not).

        Its host end counts whether it is wanted or not: while it cannot be deleted, the endpoint is
        not gone, however often that is asked for.

        Raises:
            Unsettled: nobody can tell whether the kernel has it.
        """
        before = self._desires.keys_of(key)
        self._desires.refresh_endpoints(self._endpoints)
        keys = before | self._desires.keys_of(key) | {link_key(host_ifname(key))}
        for failing in keys & self._tracker.failures.keys():
            self._tracker.observe(failing, self._tracker.observed(failing))
        return await self._pass(keys)

    async def _pass(self, keys: Iterable[Key]) -> list[Failure]:
        """Wait for the next whole pass; return the failures among *keys* that it left."""
        if self._end is not None:
            raise self._end
        if self._desires.place is None:
            raise Unsettled(NO_PLACE)
        done = self.waiters.add(keys)
        self._wake()
        return await done
