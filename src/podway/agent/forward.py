"""Forwarded packets get through where iptables' FORWARD would drop them: kept so, and told if not.

In: where the node stands, and the lookout's mark that FORWARD may have changed. Out: calls of
`ForwardChain` in the kernel's thread, a line in the log when something was done or cannot be, and
`error` for the status. Passes call `keep`; one with nothing due costs nothing, so an idle agent
does nothing here: the kernel tells of each change of nftables. iptables-legacy tells nobody; its
rules are looked at with everything else (``--resync``), beside the passes.
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

    def find_legacy_drops(self, prefixes: Iterable[IPNetwork]) -> list[str]:
        """Return in words what iptables-legacy would drop of *prefixes*; may take seconds."""
        ...


class ForwardKeeper:
    """Keeps the network's packets accepted.

    Args:
        chain: that of this agent; None: nobody's FORWARD is this agent's business.
        thread: where the kernel is called.
        lookout: marks what may have changed, and wakes the agent.
    """

    def __init__(
        self, chain: Chain | None, thread: KernelThread, lookout: Lookout, log: Log
    ) -> None:
        self._chain = chain
        self._thread = thread
        self._lookout = lookout
        self._log = log
        self._error = self._legacy_error = ""
        self._wanted: tuple[IPNetwork, ...] | None = None
        self._legacy_due = asyncio.Event()
        self._again: asyncio.TimerHandle | None = None

    @property
    def error(self) -> str:
        """Why packets may be dropped all the same, for people."""
        return "; ".join(text for text in (self._error, self._legacy_error) if text)

    @property
    def is_kept(self) -> bool:
        """The network's packets are accepted by what can be written here."""
        return bool(self._wanted) and not self._error

    def stop(self) -> None:
        """Try nothing again."""
        if self._again is not None:
            self._again.cancel()

    async def keep(self, place: Place) -> None:
        """Do what *place* wants, if that or FORWARD may have changed."""
        wanted = _prefixes(place)
        if self._chain is None or not (self._lookout.forward_due or wanted != self._wanted):
            return
        self._lookout.forward_due = False
        self._wanted = wanted
        self._legacy_due.set()
        try:
            kept = await self._thread.call(self._chain.keep, wanted)
        except KernelError as error:
            self._error = self._tell(self._error, str(error))
            self._try_again()
            return
        self._error = self._tell(self._error, "; ".join(kept.dropping))
        if kept.written:
            self._log.info("chain in FORWARD written", families=",".join(kept.written))

    async def look_at_legacy(self) -> None:
        """Look for ever, whenever it is due, at what iptables-legacy drops.

        Its program may wait for others that write rules, so no pass waits for it.
        """
        while True:
            await self._legacy_due.wait()
            self._legacy_due.clear()
            if self._chain is None or self._wanted is None:
                continue
            look = self._chain.find_legacy_drops
            try:
                found = "; ".join(await asyncio.to_thread(look, self._wanted))
            except KernelError as error:
                found = str(error)
            self._legacy_error = self._tell(self._legacy_error, found)

    def _tell(self, before: str, error: str) -> str:
        """Return *error*, and say it if it is another one than *before*."""
        if error and error != before:
            self._log.warning("forwarded packets may be dropped", reason=error)
        return error

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
