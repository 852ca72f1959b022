"""What an agent needs of the cluster's store; every engine (hub, later etcd, Kubernetes) is one.

Writes are few: a node claims its subnets, renews them, gives them back. Reads are one endless
stream: a complete `Snapshot` first, then `Delta`s; after a reconnect the stream goes on with
deltas where the engine can resume, and with a new snapshot where it cannot. `Away` and `Back` tell
about the connection itself, so that a node can say whether it lives on old knowledge.

Any engine may merge, repeat or reorder changes of different objects; the last state counts.
"""

from collections.abc import AsyncIterator
from typing import Protocol, TypeAlias

from msgspec import Struct

from podway.errors import PodwayError
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
    one cannot be used (text for people).
    """

    revision: int
    network: Network | None
    nodes: tuple[Node, ...]
    network_error: str = ""


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

    async def close(self) -> None:
        """Close the connection."""
        ...
