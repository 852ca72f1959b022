"""A store that says what a test wants said: for what a real hub would never allow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from agent.nodes import Node as RunningNode
from agent.nodes import running_node
from podway.compute.backends import backend_of
from podway.model.addresses import Family
from podway.model.networks import Network, parse_network
from podway.model.nodes import Claim, Identity, Lease, Node
from podway.store.protocol import Change, Delta, Snapshot, StoreEvent

NETWORK = parse_network('{"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}}')
VXLAN = parse_network('{"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan"}}')


class StagedStore:
    """One node's store: events come when `say` is called, and every claim is granted.

    Attributes:
        claims: every claim so far.
        subnet: what the next claim gets.
        error: raised by the next claims while it is set.
    """

    def __init__(self, subnet: str = "10.9.1.0/24") -> None:
        self.claims: list[Claim] = []
        self.subnet = subnet
        self.error: Exception | None = None
        self._events: asyncio.Queue[StoreEvent] = asyncio.Queue()

    def say(self, *events: StoreEvent) -> None:
        """Let the agent hear *events*."""
        for event in events:
            self._events.put_nowait(event)

    async def watch(self) -> AsyncIterator[StoreEvent]:
        while True:
            yield await self._events.get()

    async def claim(self, claim: Claim) -> Node:
        self.claims.append(claim)
        if self.error is not None:
            raise self.error
        (wish,) = claim.wishes
        lease = Lease(subnet=ip_network(self.subnet), public_ip=wish.public_ip, data=wish.data)
        return Node(name=claim.name, backend=claim.backend, leases=(lease,))

    async def renew(self, name: str) -> None:
        """Renew nothing."""

    async def release(self, name: str) -> None:
        """Release nothing."""

    def recheck(self) -> None:
        """Have no connection."""

    async def close(self) -> None:
        """Close nothing."""


def peer(name: str, subnet: str, public_ip: str, network: Network = NETWORK) -> Node:
    """Return a node as the store would have it."""
    data = backend_of(network).publish(network, Identity(name=name), Family.IPV4)
    lease = Lease(subnet=ip_network(subnet), public_ip=ip_address(public_ip), data=data)
    return Node(name=name, backend=network.backend_name, leases=(lease,))


def snapshot(*nodes: Node, network: Network | None = NETWORK, **options: Any) -> Snapshot:
    return Snapshot(revision=1, network=network, nodes=nodes, **options)


def changed(*nodes: Node) -> Delta:
    return Delta(revision=2, changes=tuple(Change(node.name, node) for node in nodes))


def removed(*names: str) -> Delta:
    return Delta(revision=3, changes=tuple(Change(name, None) for name in names))


@asynccontextmanager
async def staged_node(
    directory: Path, *peers: Node, network: Network = NETWORK
) -> AsyncIterator[tuple[StagedStore, RunningNode]]:
    """Give a node that is ready, and its store, which has told it of *peers*."""
    store = StagedStore()
    store.say(snapshot(*peers, network=network))
    async with running_node(directory, store) as node:
        await node.ready()
        yield store, node
