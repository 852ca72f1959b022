"""Who uses which prefix of the network: for people who add one, drain one or remove one. Pure.

In: the `Network`, the nodes with their leases, the reservations. Out: one `PoolUse` for each pool
and, last, one without a pool for what has no place in the network at all (a change was forced, or
somebody else wrote to the store).
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from podway.model.addresses import IPNetwork
from podway.model.networks import Network, Pool
from podway.model.nodes import Node


class PoolUse(Struct, frozen=True, kw_only=True):
    """One prefix and who is in it.

    Attributes:
        pool: None for subnets that lie in none.
        leased: subnets by the names of their nodes.
        reserved: subnets that are reserved and not leased, likewise.
    """

    pool: Pool | None
    leased: tuple[tuple[str, IPNetwork], ...]
    reserved: tuple[tuple[str, IPNetwork], ...]

    @property
    def holders(self) -> tuple[str, ...]:
        """Names of the nodes that keep the prefix from being removed, each once."""
        return tuple(dict.fromkeys(name for name, _ in (*self.leased, *self.reserved)))


def compute_use(
    network: Network, nodes: Iterable[Node], reservations: Mapping[str, Sequence[IPNetwork]]
) -> tuple[PoolUse, ...]:
    """Return who is in each pool of *network*, and who is in none."""
    leased = [(node.name, lease.subnet) for node in nodes for lease in node.leases]
    kept = [(name, subnet) for name, subnets in reservations.items() for subnet in subnets]
    reserved = [item for item in kept if item not in leased]
    return tuple(
        PoolUse(
            pool=pool,
            leased=tuple(item for item in leased if network.pool_around(item[1]) is pool),
            reserved=tuple(item for item in reserved if network.pool_around(item[1]) is pool),
        )
        for pool in (*network.pools, None)
    )
