"""What every node of the cluster holds, so that one question about one subnet is cheap.

In: nodes and reservations, one at a time, as the store commits them. Out: answers: whose is this
subnet, this address; where is the next free block. `subnets` asks; the hub keeps one `Holdings`.
Held subnets of any length (the operator may cut the network anew) lie in one ordered list per
family: an overlap is one binary search, and the search for a free block leaps from held subnet to
held subnet.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct

from podway.model.addresses import Family, IPAddress, IPNetwork, family_of
from podway.model.nodes import Node

Subnets: TypeAlias = tuple[IPNetwork, ...]


class Held(Struct, frozen=True):
    """A subnet that is not free: whose it is, and why."""

    subnet: IPNetwork
    owner: str
    leased: bool = False
    reserved: bool = False


class SubnetTable:
    """The held subnets of one family, in order; no two overlap, whatever their lengths."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._held: dict[int, Held] = {}
        self.latest = -1

    def __iter__(self) -> Iterator[Held]:
        return (self._held[start] for start in self._starts)

    def overlap(self, first: int, last: int) -> Held | None:
        """Return the highest held subnet that has an address in *first* to *last*, or None."""
        at = bisect_right(self._starts, last) - 1
        if at < 0:
            return None
        held = self._held[self._starts[at]]
        return held if int(held.subnet.broadcast_address) >= first else None

    def within(self, first: int, last: int) -> Iterator[Held]:
        """Yield what begins in *first* to *last*, in order."""
        low, high = bisect_left(self._starts, first), bisect_right(self._starts, last)
        return (self._held[start] for start in self._starts[low:high])

    def next_free(self, first: int, last: int, size: int) -> int | None:
        """Return the first block of *size* at or after *first* that is free, none above *last*.

        *first*, *last* and the answer are the numbers of first addresses, multiples of *size*.
        """
        while first <= last:
            held = self.overlap(first, first + size - 1)
            if held is None:
                return first
            first = (int(held.subnet.broadcast_address) // size + 1) * size
        return None

    def put(self, held: Held) -> None:
        """Enter or replace *held*; it must overlap nothing but an entry for the same subnet."""
        start = int(held.subnet.network_address)
        other = self.overlap(start, int(held.subnet.broadcast_address))
        if other is None:
            self._starts.insert(bisect_left(self._starts, start), start)
            self.latest = start
        elif (other.subnet, other.owner) != (held.subnet, held.owner):
            raise AssertionError(
                f"{held.owner}'s {held.subnet} over {other.owner}'s {other.subnet}"
            )
        self._held[start] = held

    def drop(self, subnet: IPNetwork) -> None:
        """Take the entry for exactly *subnet* out."""
        start = int(subnet.network_address)
        del self._held[start]
        del self._starts[bisect_left(self._starts, start)]

    def get(self, subnet: IPNetwork) -> Held | None:
        """Return the entry for exactly *subnet*, or None."""
        held = self._held.get(int(subnet.network_address))
        return held if held is not None and held.subnet == subnet else None


class Holdings:
    """What every node of the cluster holds: leased and reserved subnets, public addresses.

    Changes only by `set_node` and `set_reservation`, each in time that hardly grows with the
    number of nodes.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.reservations: dict[str, Subnets] = {}
        self.tables: Mapping[Family, SubnetTable] = {f: SubnetTable() for f in Family}
        self._owners: dict[IPAddress, str] = {}

    def set_node(self, name: str, node: Node | None) -> None:
        """Let *name* hold what *node* leases, and nothing else, beside what is reserved for it."""
        old = self.nodes.pop(name, None)
        before = {lease.subnet for lease in old.leases} if old else set()
        after = {lease.subnet for lease in node.leases} if node else set()
        for lease in old.leases if old else ():
            self._owners.pop(lease.public_ip, None)
        self._mark(name, before - after, leased=False)
        self._mark(name, after - before, leased=True)
        if node is not None:
            self.nodes[name] = node
            self._owners.update((lease.public_ip, name) for lease in node.leases)

    def set_reservation(self, name: str, subnets: Subnets) -> None:
        """Keep *subnets*, and no others, for *name*."""
        before = set(self.reservations.pop(name, ()))
        self._mark(name, before - set(subnets), reserved=False)
        self._mark(name, set(subnets) - before, reserved=True)
        if subnets:
            self.reservations[name] = subnets

    def owner_of(self, address: IPAddress) -> str | None:
        """Return the node whose public address *address* is, or None."""
        return self._owners.get(address)

    def conflict(self, name: str, subnet: IPNetwork) -> Held | None:
        """Return what keeps *name* from holding *subnet*, or None; holding it already is fine."""
        table = self.tables[family_of(subnet)]
        held = table.overlap(int(subnet.network_address), int(subnet.broadcast_address))
        return None if held is None or (held.owner, held.subnet) == (name, subnet) else held

    def _mark(
        self,
        name: str,
        subnets: set[IPNetwork],
        *,
        leased: bool | None = None,
        reserved: bool | None = None,
    ) -> None:
        for subnet in sorted(subnets, key=lambda subnet: (subnet.version, subnet.network_address)):
            table = self.tables[family_of(subnet)]
            old = table.get(subnet) or Held(subnet, name)
            held = Held(
                subnet,
                name,
                leased=old.leased if leased is None else leased,
                reserved=old.reserved if reserved is None else reserved,
            )
            if held.leased or held.reserved:
                table.put(held)
            else:
                table.drop(subnet)
