"""The watch of an etcd ends when it is told to, whatever happens in the same instant."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from podway.store.counts import StoreCounts
from podway.store.etcd_client import EtcdClient
from podway.store.etcd_keys import EtcdKeys
from podway.store.etcd_messages import (
    Header,
    RangeRequest,
    RangeResponse,
    WatchCreate,
    WatchResponse,
)
from podway.store.etcd_watch import EtcdOptions, EtcdWatch
from podway.store.protocol import StoreAway


class FailingClient:
    """An etcd that lets everybody watch, and is away as soon as somebody looks."""

    def __init__(self) -> None:
        self.counts = StoreCounts()
        self.following: asyncio.Task[None] | None = None

    async def range(self, _request: RangeRequest) -> RangeResponse:
        return RangeResponse(header=Header(cluster_id="1", revision=1, raft_term=1))

    @asynccontextmanager
    async def watch(
        self, _create: WatchCreate, _silence_s: float
    ) -> AsyncIterator[AsyncIterator[WatchResponse]]:
        yield self._nothing()

    async def _nothing(self) -> AsyncIterator[WatchResponse]:
        await asyncio.Event().wait()
        yield WatchResponse(header=Header())

    async def check_current(self, _key: bytes) -> None:
        assert self.following is not None
        self.following.cancel()
        raise StoreAway("gone in the instant in which the watch is cancelled")

    def rotate(self) -> None:
        """There is one member."""


def test_a_cancellation_that_meets_a_failure() -> None:
    async def scenario() -> None:
        client = FailingClient()
        watch = EtcdWatch(cast("EtcdClient", client), EtcdKeys("/x"), EtcdOptions(heartbeat_s=0.01))
        client.following = asyncio.create_task(watch.run())
        ended, _ = await asyncio.wait([client.following], timeout=10)
        client.following.cancel()
        assert ended
        assert client.following.cancelled()

    asyncio.run(scenario())
