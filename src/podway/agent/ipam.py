"""Who has which address on this node: the pools in memory and the ledger on disk, kept as one.

An address is written down before it is handed out and handed out for one endpoint only; dual-stack
endpoints get all their addresses or none. The pools are pure and know no clock; this class gives
them the time, and remembers for the disk in Unix time what the pools count in monotonic time, so
that neither a restart nor a step of the clock shortens or stretches a cooldown by much.
"""

import time
from collections.abc import Iterable, Mapping

from podway.agent.ledger import Ledger
from podway.compute.addresses import AddressError, AddressPool
from podway.model.addresses import Family, IPAddress, IPNetwork, family_of
from podway.model.endpoints import Endpoint, EndpointKey


class Ipam:
    """The pod addresses of this node.

    Args:
        ledger: where they are written down.
        cooldown_s: seconds for which a released address rests.
    """

    def __init__(self, ledger: Ledger, cooldown_s: float) -> None:
        self._ledger = ledger
        self._cooldown_s = cooldown_s
        self.pools: dict[Family, AddressPool] = {}

    @property
    def subnets(self) -> dict[Family, IPNetwork]:
        """The subnet per family from which addresses are served."""
        return {family: pool.subnet for family, pool in self.pools.items()}

    def unused(self) -> frozenset[Family]:
        """Return the families in whose subnet nobody has an address, or is about to have one."""
        return frozenset(family for family, pool in self.pools.items() if not pool.used)

    def is_outside(self, addresses: Iterable[IPAddress]) -> bool:
        """Tell whether one of *addresses* lies in none of the subnets."""
        subnets = self.subnets
        return any(address not in subnets.get(family_of(address), ()) for address in addresses)

    def set_subnets(self, subnets: Mapping[Family, IPNetwork]) -> None:
        """Serve addresses from *subnets*, as the ledger remembers them."""
        if self.subnets == dict(subnets):
            return
        cursors = self._ledger.cursors()
        self.pools = {
            family: AddressPool(subnet, self._cooldown_s, cursors.get(str(subnet), 0))
            for family, subnet in subnets.items()
        }
        wall, now = time.time(), time.monotonic()
        for row in self._ledger.addresses():
            pool = self.pools.get(family_of(row.address))
            if pool is None or row.address not in pool.subnet:
                continue
            if row.released_at is None:
                pool.hold(row.address)
            else:
                age_s = min(max(wall - row.released_at, 0.0), self._cooldown_s)
                pool.cool(row.address, now - age_s)

    def take(self, requested: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
        """Return one address per family, *requested* ones where there are any; all or none.

        The addresses are held in memory only: `add` writes them down, `put_back` undoes this call.

        Raises:
            AddressError: a family has no address to give, or a requested one cannot be had.
        """
        by_family = _one_per_family(requested)
        missing = by_family.keys() - self.pools.keys()
        for family in missing:
            raise AddressError(
                f"address {by_family[family]} was asked for, but this node has no "
                f"{family.label} subnet"
            )
        taken: list[IPAddress] = []
        try:
            for family, pool in self.pools.items():
                wish = by_family.get(family)
                taken.append(pool.take(time.monotonic()) if wish is None else pool.take_this(wish))
        except AddressError:
            self.put_back(taken)
            raise
        return tuple(taken)

    def put_back(self, addresses: Iterable[IPAddress]) -> None:
        """Let go of *addresses* that never came into use, and so need no rest."""
        self._release(addresses, time.monotonic() - self._cooldown_s)

    def add(self, endpoint: Endpoint, netns_id: str) -> None:
        """Write *endpoint* and its addresses down. Raises `LedgerError`; then nothing is held."""
        cursors = {str(pool.subnet): pool.cursor for pool in self.pools.values()}
        try:
            self._ledger.add(endpoint, netns_id, cursors)
        except BaseException:
            self.put_back(endpoint.addresses)
            raise

    def remove(self, key: EndpointKey, addresses: Iterable[IPAddress]) -> None:
        """Write down that the endpoint with *key* is gone, and let its *addresses* rest."""
        self._ledger.remove(key, time.time())
        self._release(addresses, time.monotonic())

    def _release(self, addresses: Iterable[IPAddress], moment: float) -> None:
        for address in addresses:
            pool = self.pools.get(family_of(address))
            if pool is not None:
                pool.release(address, moment)


def _one_per_family(addresses: Iterable[IPAddress]) -> dict[Family, IPAddress]:
    chosen: dict[Family, IPAddress] = {}
    for address in addresses:
        family = family_of(address)
        if family in chosen:
            raise AddressError(
                f"addresses {chosen[family]} and {address} were asked for: "
                f"an interface has one {family.label} address"
            )
        chosen[family] = address
    return chosen
