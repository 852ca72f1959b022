"""What an agent needs of the cluster's store; every engine (hub, etcd, Kubernetes) is one.

Writes are few: a node claims its subnets, renews them, gives them back. Reads are one endless
stream: a complete `Snapshot` first, then `Delta`s; after a reconnect the stream goes on with
deltas where the engine can resume, and with a new snapshot where it cannot. `Away` and `Back` tell
about the connection itself, so that a node can say whether it lives on old knowledge.

Any engine may merge, repeat or reorder changes of different objects; the last state counts.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from podway.errors import PodwayError
from podway.model.addresses import IPNetwork
from podway.model.networks import Network
from podway.model.nodes import Claim, Node

# flannel's SubnetLeaseRenewMargin and etcd TTL: a node may be away for a day and keep its subnets.
DEFAULT_LEASE_TTL_S = 86400


class StoreError(PodwayError):
    """The store refused, or cannot be reached."""


class StoreAway(StoreError):  # noqa: N818  (a state, not an accident)
    """The store cannot be reached now; the same call may succeed later."""


class ClaimRefused(StoreError):  # noqa: N818
    """The claim breaks a rule (address in use, no subnet left, wrong backend): ask a person."""


class LeaseLost(StoreError):  # noqa: N818
    """The node's lease is gone or is another's; the node must claim anew."""


class Change(Struct, frozen=True):
    """The node called *name* is now *node*; None: it is gone."""

    name: str
    node: Node | None


class Snapshot(Struct, frozen=True, kw_only=True):
    """Everything the cluster holds at *revision*; what is not in it does not exist.

    `network` is None until an operator has configured one. `network_error` tells why a configured
    one cannot be used (text for people). `rewound`: the store is not what it was (a backup was put
    back, or it is another one): what is missing may only not have come back yet.
    """

    revision: int
    network: Network | None
    nodes: tuple[Node, ...]
    network_error: str = ""
    rewound: bool = False


class Delta(Struct, frozen=True, kw_only=True):
    """What changed up to *revision*. `network` is None when it did not change."""

    revision: int
    changes: tuple[Change, ...] = ()
    network: Network | None = None
    network_error: str = ""


class Away(Struct, frozen=True):
    """The connection was lost; the engine keeps trying. *reason* is for people."""

    reason: str


class Back(Struct, frozen=True):
    """The connection is there again, and what follows is current."""


StoreEvent: TypeAlias = Snapshot | Delta | Away | Back


class Store(Protocol):
    """One cluster store, seen from one node. All methods raise `StoreAway` while it is away."""

    def watch(self) -> AsyncIterator[StoreEvent]:
        """Yield a snapshot, then every change, for ever; reconnects by itself."""
        ...

    async def claim(self, claim: Claim) -> Node:
        """Lease one subnet per family, atomically; return the node as the others will see it.

        A node that holds a lease gets the same subnets again (with its new public address or
        backend data), as long as they still fit the network.

        Raises:
            ClaimRefused: no subnet is free, the public address is another node's, or the claim
                does not fit the network; the message names the other party.
        """
        ...

    async def renew(self, name: str) -> None:
        """Start the lease's time to live anew. Raises `LeaseLost` when there is none."""
        ...

    async def release(self, name: str) -> None:
        """Give the node's lease back; no error when there is none."""
        ...

    def recheck(self) -> None:
        """Give up connections from addresses that the node does not have any more.

        To be called when its addresses have changed; what was asked over them fails at once.
        """
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


class StoredNetwork(Struct, frozen=True):
    """The network configuration as stored: its text and its revision."""

    text: str
    revision: int


class NodeStatus(Struct, frozen=True, kw_only=True):
    """A node as the store knows it; `ttl_s` 0 and `expires_in_s` None: its lease never ends."""

    node: Node
    revision: int
    ttl_s: int
    expires_in_s: float | None


class Reservation(Struct, frozen=True):
    """Subnets that only the node called *name* may lease."""

    name: str
    subnets: tuple[IPNetwork, ...]


class AdminStore(Store, Protocol):
    """A store with the calls of an administrator, for commands.

    What an engine cannot do (Kubernetes decides on subnets itself) it refuses with `StoreError`.
    """

    async def get_network(self) -> StoredNetwork | None:
        """Return the network configuration, None where there is none yet."""
        ...

    async def put_network(
        self, text: str, *, expected_revision: int | None = None, force: bool = False
    ) -> int:
        """Configure the network; return its revision.

        *force* allows what breaks leased subnets: their nodes claim others.

        Raises:
            ValueRefused: the text breaks a rule, or leases would break; nothing was changed.
            Conflict: it is not at *expected_revision* (0: not there).
        """
        ...

    async def list_nodes(self) -> tuple[NodeStatus, ...]:
        """Return every node with the state of its lease, by name."""
        ...

    async def list_reservations(self) -> tuple[Reservation, ...]:
        """Return every reservation, by name of the node."""
        ...

    async def reserve(self, name: str, subnets: Sequence[IPNetwork]) -> None:
        """Keep *subnets*, at most one a family, for the node called *name*, present or to come.

        Raises:
            ClaimRefused: a subnet does not fit the network or is another node's.
        """
        ...

    async def unreserve(self, name: str) -> None:
        """Remove the reservation for *name*; no error when there is none."""
        ...
