"""The hub as a store: the client side of `podway hub` (being written; signatures stand)."""

from collections.abc import AsyncIterator, Sequence

from msgspec import Struct

from podway.model.addresses import IPNetwork
from podway.model.nodes import Claim, Node
from podway.store.address import HubAddress
from podway.store.protocol import StoreEvent
from podway.store.tls import TlsFiles


class HubOptions(Struct, frozen=True, kw_only=True):
    """Times of one client, in seconds."""

    request_s: float = 10.0
    connect_s: float = 5.0
    backoff_min_s: float = 0.1
    backoff_max_s: float = 5.0
    heartbeat_s: float = 10.0


class StoredNetwork(Struct, frozen=True):
    """The network configuration as stored: its text and the revision for compare-and-swap."""

    text: str
    revision: int


class NodeStatus(Struct, frozen=True, kw_only=True):
    """A node as the hub knows it; `expires_in_s` is None for a lease that never ends."""

    node: Node
    revision: int
    ttl_s: int
    expires_in_s: float | None


class Reservation(Struct, frozen=True):
    """Subnets that only the node called *name* may lease."""

    name: str
    subnets: tuple[IPNetwork, ...]


class HubStore:
    """One hub, seen from one client: the `Store` of an agent, and an administrator's calls."""

    def __init__(
        self,
        address: HubAddress,
        *,
        tls: TlsFiles | None = None,
        options: HubOptions | None = None,
    ) -> None:
        raise NotImplementedError

    def watch(self) -> AsyncIterator[StoreEvent]:
        raise NotImplementedError

    async def claim(self, claim: Claim) -> Node:
        raise NotImplementedError

    async def renew(self, name: str) -> None:
        raise NotImplementedError

    async def release(self, name: str) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def get_network(self) -> StoredNetwork | None:
        raise NotImplementedError

    async def put_network(
        self, text: str, *, expected_revision: int | None = None, force: bool = False
    ) -> int:
        raise NotImplementedError

    async def list_nodes(self) -> tuple[NodeStatus, ...]:
        raise NotImplementedError

    async def list_reservations(self) -> tuple[Reservation, ...]:
        raise NotImplementedError

    async def reserve(self, name: str, subnets: Sequence[IPNetwork]) -> None:
        raise NotImplementedError

    async def unreserve(self, name: str) -> None:
        raise NotImplementedError
