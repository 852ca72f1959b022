"""Pools of addresses, and in which order a container is offered them.

In: ranges of one pool and the address that was last given. Out: addresses, as text. Pure; called by
`host_local_add` and `host_local_check`. The order is the reference plugin's: from the one after the
last on, around the whole pool, so that an address rests for as long as possible before it is
somebody else's.
"""

from podway.cni.addresses import parse_address, render_address
from podway.cni.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, TypeAlias

IPV4_BYTES: "Final" = 4


class Range(Value):
    """A range of addresses of one subnet.

    Attributes:
        size: of an address in bytes, 4 or 16.
        bits: prefix length of the subnet.
        network: first address of the subnet, which no container gets.
        first: first address of the range.
        last: last address of the range, inclusive.
        gateway: never given to a container; may lie outside the subnet.
    """

    size: int
    bits: int
    network: int
    first: int
    last: int
    gateway: int

    def holds(self, address: int, size: int) -> bool:
        """Tell whether *address* lies between first and last."""
        return size == self.size and self.first <= address <= self.last

    def is_usable(self, address: int) -> bool:
        """Tell whether a container may have *address*, which lies in the range."""
        if address in {self.gateway, self.network}:
            return False
        return self.size != IPV4_BYTES or address != self.network | (1 << 32 - self.bits) - 1

    def render(self, address: int) -> str:
        """Return *address* as text; the name of its reservation's file."""
        return render_address(address.to_bytes(self.size, "big"))


if TYPE_CHECKING:
    Pool: TypeAlias = tuple[Range, ...]


def iter_candidates(pool: "Pool", last: str) -> "Iterator[tuple[Range, str]]":
    """Yield each address that a container may have, once, with its range.

    Args:
        pool: at least one range.
        last: the address given last; the search starts behind it if the pool has it, else at the
            pool's beginning.
    """
    number, size = _number(last)
    here = next((n for n, each in enumerate(pool) if each.holds(number, size)), None)
    if here is None:
        for each in pool:
            yield from _usable(each, each.first, each.last)
        return
    yield from _usable(pool[here], number + 1, pool[here].last)
    for each in (*pool[here + 1 :], *pool[:here]):
        yield from _usable(each, each.first, each.last)
    yield from _usable(pool[here], pool[here].first, number)


def find_range(pool: "Pool", packed: bytes) -> Range | None:
    """Return the range of *pool* that an address is in, None if it is in none."""
    number = int.from_bytes(packed, "big")
    return next((each for each in pool if each.holds(number, len(packed))), None)


def _usable(each: Range, first: int, last: int) -> "Iterator[tuple[Range, str]]":
    number = first
    while number <= last:
        if each.is_usable(number):
            yield each, each.render(number)
        number += 1


def _number(text: str) -> tuple[int, int]:
    """Return an address as number and size in bytes; of size 0 what is none."""
    try:
        packed = parse_address(text)
    except ValueError:
        return 0, 0
    return int.from_bytes(packed, "big"), len(packed)


def render_exhausted(pool: "Pool") -> str:
    """Return that *pool* has no free address, and what to do."""
    ranges = ", ".join(f"{each.render(each.first)} to {each.render(each.last)}" for each in pool)
    return f"no address is free in {ranges}: end containers, or make the range larger"
