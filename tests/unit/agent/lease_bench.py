"""A keeper of a lease whose store says what a test wants said, in virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address, ip_network
from typing import cast

from podway.agent.leases import LeaseKeeper
from podway.kernel.logs import get_log
from podway.model.addresses import Family
from podway.model.nodes import Claim, Lease, Node, Wish
from podway.store.protocol import Store, StoreError


class ScriptedStore:
    """The two calls that the keeper makes; what they do is said by a test."""

    def __init__(self) -> None:
        self.claims: list[tuple[float, Claim]] = []
        self.renewals: list[float] = []
        self.on_claim: Callable[[Claim], Node] = granted
        self.on_renew: Callable[[], None] = lambda: None
        self.takes_s = 0.0

    async def claim(self, claim: Claim) -> Node:
        self.claims.append((asyncio.get_running_loop().time(), claim))
        await asyncio.sleep(self.takes_s)
        return self.on_claim(claim)

    async def renew(self, name: str) -> None:
        assert name == "a"
        self.renewals.append(asyncio.get_running_loop().time())
        self.on_renew()

    def times(self) -> list[float]:
        return [moment for moment, _ in self.claims]


class Bench:
    """A keeper, its store, what it is told to want, and for how long its machine slept."""

    def __init__(self, ttl_s: int) -> None:
        self.store = ScriptedStore()
        self.wanted: Claim | None = wish_for("192.0.2.1")
        self.granted: list[Node] = []
        self.suspended_s = 0.0
        self.keeper = LeaseKeeper(
            cast("Store", self.store),  # only these two calls are made
            lambda: self.wanted,
            self.granted.append,
            ttl_s,
            get_log("test"),
            clock=lambda: asyncio.get_running_loop().time() + self.suspended_s,
        )

    def want(self, claim: Claim | None) -> None:
        self.wanted = claim
        self.keeper.look_again()


def wish_for(
    public_ip: str, backend: str = "host-gw", subnet: str | None = None, *, leave: bool = False
) -> Claim:
    wanted, address = None if subnet is None else ip_network(subnet), ip_address(public_ip)
    wish = Wish(family=Family.IPV4, public_ip=address, subnet=wanted, leave=leave)
    return Claim(name="a", backend=backend, wishes=(wish,))


def granted(claim: Claim) -> Node:
    (wish,) = claim.wishes
    lease = Lease(subnet=wish.subnet or ip_network("10.244.1.0/24"), public_ip=wish.public_ip)
    return Node(name=claim.name, backend=claim.backend, leases=(lease,))


def raising(error: StoreError) -> Callable[..., Node]:
    def refuse(*_: object) -> Node:
        raise error

    return refuse


@contextlib.asynccontextmanager
async def keeping(ttl_s: int = 86400) -> AsyncIterator[Bench]:
    bench = Bench(ttl_s)
    task = asyncio.create_task(bench.keeper.run())
    try:
        yield bench
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
