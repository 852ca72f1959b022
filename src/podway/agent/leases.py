"""The node's own subnet: claims it, renews it, and claims it again when it was lost.

A pure function says what to claim from what is known now; the keeper claims whenever that answer
changes (another public address, another network), renews in time, and otherwise sleeps. While the
store is away the node lives on the lease that it has.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

from podway.compute.backends import backend_of
from podway.compute.uplinks import public_addresses
from podway.kernel.logs import Log
from podway.model.addresses import IPAddress
from podway.model.networks import Network
from podway.model.nodes import Claim, Node, Uplink, Wish
from podway.store.protocol import ClaimRefused, LeaseLost, Store, StoreAway, StoreError

_RETRY_FIRST_S = 0.1
_RETRY_MAX_S = 5.0


def make_claim(
    name: str,
    network: Network,
    uplink: Uplink,
    *,
    named: tuple[IPAddress, ...],
    me: Node | None,
    ttl_s: int,
) -> Claim:
    """Return what node *name* should claim, wishing for the subnets that it had as *me*.

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
                data=backend.publish(network, name, family),
                subnet=lease.subnet if lease is not None else None,
            )
        )
    return Claim(name=name, backend=network.backend_name, wishes=tuple(wishes), ttl_s=ttl_s)


class LeaseKeeper:
    """Keeps the node's lease.

    Args:
        store: where leases are.
        wanted: returns what to claim now, or None while nobody can know.
        granted: called with the node as the store has it, after each successful claim.
        ttl_s: time to live of the lease.

    Attributes:
        refusal: why the last claim failed; "" after a successful one.
    """

    def __init__(
        self,
        store: Store,
        wanted: Callable[[], Claim | None],
        granted: Callable[[Node], None],
        ttl_s: int,
        log: Log,
    ) -> None:
        self._store = store
        self._wanted = wanted
        self._granted = granted
        self._renew_s = ttl_s / 3 if ttl_s else None
        self._log = log
        self._changed = asyncio.Event()
        self._claimed: Claim | None = None
        self.refusal = ""

    def look_again(self) -> None:
        """Something that a claim is made from may have changed."""
        self._changed.set()

    def lost(self) -> None:
        """The store no longer has the lease as it was granted: claim it again."""
        self._claimed = None
        self._changed.set()

    async def run(self) -> None:
        """Claim and renew for ever."""
        delay_s = _RETRY_FIRST_S
        while True:
            self._changed.clear()
            claim = self._wanted()
            if claim is None or _same(claim, self._claimed):
                await self._sleep(self._renew_s if self._claimed else None)
                if not self._changed.is_set():
                    await self._renew()
                continue
            if await self._try(claim):
                delay_s = _RETRY_FIRST_S
                continue
            await self._sleep(delay_s * random.uniform(0.5, 1.5))  # noqa: S311  (jitter)
            delay_s = min(delay_s * 2, _RETRY_MAX_S)

    async def _sleep(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    async def _try(self, claim: Claim) -> bool:
        try:
            node = await self._store.claim(claim)
        except StoreAway as error:
            self.refusal = f"the store is away: {error}"
            return False
        except (ClaimRefused, StoreError) as error:
            if self.refusal != str(error):
                self._log.error("claim refused", reason=str(error))
            self.refusal = str(error)
            return False
        self.refusal = ""
        self._claimed = claim
        self._granted(node)
        return True

    async def _renew(self) -> None:
        try:
            await self._store.renew(self._claimed.name if self._claimed else "")
        except LeaseLost as error:
            self._log.warning("lease lost", reason=str(error))
            self._claimed = None
        except StoreError as error:
            self._log.warning("lease not renewed", reason=str(error))


def _same(claim: Claim, claimed: Claim | None) -> bool:
    """Tell whether *claim* asks for nothing beyond *claimed*; a wish for a subnet is no news."""
    if claimed is None or len(claim.wishes) != len(claimed.wishes):
        return False
    pairs = zip(claim.wishes, claimed.wishes, strict=True)
    return claim.backend == claimed.backend and all(
        (new.family, new.public_ip, new.data) == (old.family, old.public_ip, old.data)
        for new, old in pairs
    )
