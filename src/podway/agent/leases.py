"""The node's own subnet: claims it, renews it, and claims it again when it was lost.

A pure function says what to claim from what is known now; the keeper claims whenever that answer
changes (another public address, another network, a subnet to be left), renews in time, and
otherwise sleeps. While the store is away the node lives on the lease that it has.

Renewals are due by a clock that goes on while the machine is suspended, as the store's does.

Three things can go wrong in silence, and each has its rule. News of the cluster wakes the keeper
all the time, so renewal has a due time instead of a pause that starts anew. A claim may be
overtaken by what makes it stale, so a loss that was noticed under way is remembered. And two
machines with one name take the lease from each other for ever, so the same claim is made again only
after a growing pause.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from podway.compute.backends import backend_of
from podway.compute.subnets import is_drained
from podway.compute.uplinks import public_addresses
from podway.kernel.logs import Log
from podway.model.addresses import Family, IPAddress
from podway.model.networks import Network
from podway.model.nodes import Claim, Identity, Node, Uplink, Wish
from podway.store.protocol import LeaseLost, Store, StoreAway, StoreError

_RETRY_FIRST_S = 0.1
_RETRY_MAX_S = 5.0
# A lease that was held for so long is not being fought over.
_CALM_S = 10.0
# Sleeps are by the event loop's clock, which stands still while the machine is suspended; after
# that a renewal that is overdue is noticed within this time.
_LOOK_S = 60.0


def make_claim(
    identity: Identity,
    network: Network,
    uplink: Uplink,
    *,
    named: tuple[IPAddress, ...],
    me: Node | None,
    ttl_s: int,
    unused: Collection[Family] = (),
) -> Claim:
    """Return what the node *identity* should claim, wishing for the subnets that it had as *me*.

    What the network wants drained it leaves as soon as no pod has an address there: in *unused*
    families none has.

    Raises:
        ConfigError: the uplink has no address in a family of the network.
    """
    backend = backend_of(network)
    wishes = []
    for family, address in public_addresses(network, uplink, named).items():
        lease = me.lease(family) if me is not None else None
        wishes.append(
            Wish(
                family=family,
                public_ip=address,
                data=backend.publish(network, identity, family),
                subnet=lease.subnet if lease is not None else None,
                leave=lease is not None and family in unused and is_drained(network, lease.subnet),
            )
        )
    return Claim(
        name=identity.name, backend=network.backend_name, wishes=tuple(wishes), ttl_s=ttl_s
    )


class LeaseKeeper:
    """Keeps the node's lease.

    Args:
        store: where leases are.
        wanted: returns what to claim now, or None while nobody can know.
        granted: called with the node as the store has it, after each successful claim.
        ttl_s: time to live of the lease.
        clock: in seconds; goes on while the machine is suspended.

    Attributes:
        refusal: why the last claim failed; "" after a successful one.
        leaving: the store is being asked for another subnet, and no pod may be given an address
            of the one that the node has.
    """

    def __init__(
        self,
        store: Store,
        wanted: Callable[[], Claim | None],
        granted: Callable[[Node], None],
        ttl_s: int,
        log: Log,
        *,
        clock: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._clock = clock
        self._store = store
        self._wanted = wanted
        self._granted = granted
        self._renew_s = ttl_s / 3 if ttl_s else math.inf
        self._log = log
        self._changed = asyncio.Event()
        self._claimed: Claim | None = None
        self._losses = 0
        self._renew_at = math.inf
        self._tried: Claim | None = None
        self._again_at = 0.0
        self._delay_s = _RETRY_FIRST_S
        self._granted_at = -math.inf
        self.refusal = ""
        self.leaving = False

    def look_again(self) -> None:
        """Something that a claim is made from may have changed."""
        self._changed.set()

    def lost(self) -> None:
        """The store no longer has the lease as it was granted: claim it again."""
        self._claimed = None
        self._losses += 1
        self._changed.set()

    async def run(self) -> None:
        """Claim and renew for ever."""
        while True:
            self._changed.clear()
            claim = self._wanted()
            if claim is None or _same(claim, self._claimed):
                self.refusal = ""
                await self._keep()
            elif _same(claim, self._tried) and _now() < self._again_at:
                await self._sleep_until(self._again_at)
            else:
                await self._try(claim)

    async def _keep(self) -> None:
        """Renew what is claimed if it is time, else sleep until it is."""
        left_s = self._renew_at - self._clock()
        if self._claimed is None or left_s == math.inf:
            await self._sleep_until(math.inf)
        elif left_s > 0:
            await self._sleep_until(_now() + min(left_s, _LOOK_S))
        else:
            await self._renew(self._claimed.name)

    async def _sleep_until(self, moment: float) -> None:
        """Return at *moment*, or earlier when something changed."""
        # Not wait_for: in Python 3.11 it loses a cancellation that comes with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout_at(None if moment == math.inf else moment):
                await self._changed.wait()

    async def _try(self, claim: Claim) -> None:
        self._tried = claim
        losses = self._losses
        self.leaving = any(wish.leave for wish in claim.wishes)
        try:
            node = await self._store.claim(claim)
        except StoreError as error:
            self._refuse(error)
            return
        finally:
            self.leaving = False
        self.refusal = ""
        self._back_off(calm=_now() - self._granted_at > _CALM_S)
        self._granted_at = _now()
        self._renew_at = self._clock() + self._renew_s
        self._claimed = claim if losses == self._losses else None
        self._granted(node)

    def _refuse(self, error: StoreError) -> None:
        text = f"the store is away: {error}" if isinstance(error, StoreAway) else str(error)
        if text != self.refusal:
            self._log.error("claim failed", reason=text)
        self.refusal = text
        self._back_off(calm=False)

    def _back_off(self, *, calm: bool) -> None:
        """Let the next claim of the same wait a little, with jitter, and longer each time."""
        self._delay_s = _RETRY_FIRST_S if calm else min(self._delay_s * 2, _RETRY_MAX_S)
        self._again_at = _now() + self._delay_s * random.uniform(0.5, 1.5)  # noqa: S311  (jitter)

    async def _renew(self, name: str) -> None:
        pause_s = self._renew_s
        try:
            await self._store.renew(name)
        except LeaseLost as error:
            self._log.warning("lease lost", reason=str(error))
            self.lost()
        except StoreError as error:
            self._log.warning("lease not renewed", reason=str(error))
            pause_s = min(self._renew_s, _RETRY_MAX_S)
        self._renew_at = self._clock() + pause_s


def _now() -> float:
    return asyncio.get_running_loop().time()


def _same(claim: Claim, claimed: Claim | None) -> bool:
    """Tell whether *claim* asks for nothing beyond *claimed*; a wish for a subnet is no news."""
    if claimed is None or len(claim.wishes) != len(claimed.wishes):
        return False
    pairs = zip(claim.wishes, claimed.wishes, strict=True)
    return claim.backend == claimed.backend and all(
        (new.family, new.public_ip, new.data) == (old.family, old.public_ip, old.data)
        and not _asks_to_leave(new, old)
        for new, old in pairs
    )


def _asks_to_leave(new: Wish, old: Wish) -> bool:
    """Tell whether *new* gives a subnet up that *old* did not; once is enough for each."""
    return new.leave and not (old.leave and old.subnet == new.subnet)
