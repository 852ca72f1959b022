"""Pod addresses of one subnet: who may have which, and when a used one may be used again.

A pool gives each address once, oldest first: fresh ones in order, then (or once thousands were
released) released ones in the order of their release, and none before its cooldown is over, because
somebody's connection table, neighbour cache or load balancer still knows the old pod by it. All
operations take O(1), whatever the size of the subnet. The pool holds no clock and does no I/O:
`now` is an argument, and the ledger that outlives the process restores it with `hold`, `cool` and
`cursor`. The cursor only saves a search: an address that is neither held nor resting is given in
the end, wherever the cursor is.
"""

from collections import OrderedDict

from podway.compute.gateways import pod_range
from podway.errors import PodwayError
from podway.model.addresses import IPAddress, IPNetwork

# From this many on, released addresses are given again before fresh ones.
RELEASED_MAX = 4096


class AddressError(PodwayError):
    """No address can be given; the message says which rule stands in the way."""


class PoolExhausted(AddressError):  # noqa: N818
    """Every address of the subnet is in use."""


class PoolCooling(AddressError):  # noqa: N818
    """Free addresses are left, but all of them were in use a moment ago.

    Attributes:
        wait_s: seconds until the first of them may be given.
    """

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class AddressPool:
    """The pod addresses of *subnet*.

    Args:
        subnet: this node's subnet in one family.
        cooldown_s: seconds for which a released address rests.
        cursor: number of the next address that was never given; 0 starts at the beginning.
    """

    def __init__(self, subnet: IPNetwork, cooldown_s: float, cursor: int = 0) -> None:
        self.subnet = subnet
        self._cooldown_s = cooldown_s
        self._first, self._last = pod_range(subnet)
        self.cursor = max(cursor, self._first)
        self._used: set[int] = set()
        self._cooling: OrderedDict[int, float] = OrderedDict()

    @property
    def used(self) -> int:
        """How many addresses are held."""
        return len(self._used)

    @property
    def size(self) -> int:
        """How many pods the subnet has room for."""
        return max(0, self._last - self._first + 1)

    def cooling(self, now: float) -> int:
        """Return how many released addresses still rest at *now*."""
        return sum(1 for released in self._cooling.values() if now < released + self._cooldown_s)

    def hold(self, address: IPAddress) -> None:
        """Mark *address* as held, as the ledger remembers it; any but a pod's is ignored."""
        if self._contains(int(address)):
            self._cooling.pop(int(address), None)
            self._used.add(int(address))

    def cool(self, address: IPAddress, released: float) -> None:
        """Mark *address* as released at *released*, unless held; call in order of release."""
        if self._contains(int(address)) and int(address) not in self._used:
            self._cooling[int(address)] = released

    def take(self, now: float) -> IPAddress:
        """Return an address that nobody holds, and hold it.

        Raises:
            PoolExhausted: every address is held.
            PoolCooling: the rest were released less than the cooldown ago.
        """
        number = self._well_rested(now)
        if number is None:
            number = self._fresh()
        if number is None and self._lost():
            self.cursor = self._first
            number = self._fresh()
        if number is None:
            number = self._rested(now)
        self._cooling.pop(number, None)
        self._used.add(number)
        return self._address(number)

    def take_this(self, address: IPAddress) -> IPAddress:
        """Hold *address*, which somebody asked for by name; a cooldown does not stand in the way.

        Raises:
            AddressError: it is outside the subnet, reserved, or held.
        """
        number = int(address)
        if address not in self.subnet:
            raise AddressError(f"address {address} is not in this node's subnet {self.subnet}")
        if not self._contains(number):
            raise AddressError(
                f"address {address} is reserved: pods of {self.subnet} have "
                f"{self._address(self._first)} to {self._address(self._last)}"
            )
        if number in self._used:
            raise AddressError(f"address {address} is in use by another pod")
        self._cooling.pop(number, None)
        self._used.add(number)
        return self._address(number)

    def release(self, address: IPAddress, now: float) -> None:
        """Give *address* back at *now*; it rests, then waits for its turn."""
        if int(address) in self._used:
            self._used.remove(int(address))
            self.cool(address, now)

    def _contains(self, number: int) -> bool:
        return self._first <= number <= self._last

    def _address(self, number: int) -> IPAddress:
        return self.subnet.network_address + (number - int(self.subnet.network_address))

    def _fresh(self) -> int | None:
        """Return the next address that was never given; asked-for ones are stepped over once."""
        while self.cursor <= self._last:
            number = self.cursor
            self.cursor += 1
            if number not in self._used and number not in self._cooling:
                return number
        return None

    def _lost(self) -> bool:
        """Tell whether some address is behind the cursor but was never released to the ledger."""
        return len(self._used) + len(self._cooling) < self.size

    def _well_rested(self, now: float) -> int | None:
        """Return the longest released address where very many are, so that they do not grow.

        The fresh addresses of an IPv6 subnet never come to an end; without this every address ever
        given would be remembered for ever.
        """
        if len(self._cooling) < RELEASED_MAX:
            return None
        number, released = next(iter(self._cooling.items()))
        return number if now >= released + self._cooldown_s else None

    def _rested(self, now: float) -> int:
        if not self._cooling:
            raise PoolExhausted(
                f"all {self.size} pod addresses of {self.subnet} are in use: remove pods from "
                "this node or give nodes larger subnets (SubnetLen)"
            )
        number, released = next(iter(self._cooling.items()))
        wait_s = released + self._cooldown_s - now
        if wait_s > 0:
            raise PoolCooling(
                f"the {len(self._cooling)} free addresses of {self.subnet} were in use a moment "
                f"ago; the first may be used again in {wait_s:.0f} s",
                wait_s,
            )
        return number
