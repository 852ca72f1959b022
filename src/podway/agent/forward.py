"""Forwarded packets get through where iptables' FORWARD would drop them: kept so, and told if not.

In: where the node stands, and the lookout's mark that FORWARD may have changed. Out: calls of
`ForwardChain` in the kernel's thread, a line in the log when something was done or cannot be, and
`error` for the status. Passes call `keep`; one with nothing due costs nothing, so an idle agent
does nothing here: the kernel tells of each change of nftables. iptables-legacy tells nobody; its
rules are looked at with everything else (``--resync``).
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from podway.agent.kernel_thread import KernelThread
from podway.agent.lookout import Lookout
from podway.compute.node import Place
from podway.kernel.forward_chain import Kept
from podway.kernel.logs import Log
from podway.kernel.protocol import KernelError
from podway.model.addresses import IPNetwork

AGAIN_S = 1.0


class Chain(Protocol):
    """What `ForwardChain` does for an agent."""

    def keep(self, prefixes: Iterable[IPNetwork]) -> Kept:
        """Have packets from and to *prefixes* accepted where they would be dropped."""
        ...


class ForwardKeeper:
    """Keeps the network's packets accepted.

    Args:
        chain: that of this agent; None: nobody's FORWARD is this agent's business.
        thread: where the kernel is called.
        lookout: marks what may have changed, and wakes the agent.

    Attributes:
        error: why packets may be dropped all the same, for people.
    """

    def __init__(
        self, chain: Chain | None, thread: KernelThread, lookout: Lookout, log: Log
    ) -> None:
        self.error = ""
        self._chain = chain
        self._thread = thread
        self._lookout = lookout
        self._log = log
        self._kept: tuple[IPNetwork, ...] | None = None
        self._again: asyncio.TimerHandle | None = None

    @property
    def is_kept(self) -> bool:
        """The network's packets are accepted, as far as anybody here can tell."""
        return bool(self._kept) and not self.error

    def stop(self) -> None:
        """Try nothing again."""
        if self._again is not None:
            self._again.cancel()

    async def keep(self, place: Place) -> None:
        """Do what *place* wants, if that or FORWARD may have changed."""
        wanted = _prefixes(place)
        if self._chain is None or not (self._lookout.forward_due or wanted != self._kept):
            return
        self._lookout.forward_due = False
        try:
            kept = await self._thread.call(self._chain.keep, wanted)
        except KernelError as error:
            self._tell(str(error))
            self._try_again()
            return
        self._kept = wanted
        self._tell("; ".join(kept.dropping))
        if kept.written:
            self._log.info("chain in FORWARD written", families=",".join(kept.written))

    def _tell(self, error: str) -> None:
        if error and error != self.error:
            self._log.warning("forwarded packets may be dropped", reason=error)
        self.error = error

    def _try_again(self) -> None:
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(AGAIN_S, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self._lookout.look_at_forward()


def _prefixes(place: Place) -> tuple[IPNetwork, ...]:
    """Return what is to be accepted: nothing where the operator wants no such rules."""
    if not place.forward:
        return ()
    network = place.network
    return tuple(prefix for family in network.families for prefix in network.prefixes(family))
