"""The watch of an etcd ends when it is told to, whatever happens in the same instant."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from hub.clients import until
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
from podway.store.protocol import Snapshot, StoreAway


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

    async def check_current(self, _key: bytes) -> Header:
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


class LaggingClient:
    """Members of which the watched one is behind, and a majority at *majority*."""

    def __init__(self, majority: Header) -> None:
        self.counts = StoreCounts()
        self.rotations = 0
        self._majority = majority
        self._lists = [Header(cluster_id="1", revision=7, raft_term=3), majority]

    async def range(self, _request: RangeRequest) -> RangeResponse:
        return RangeResponse(header=self._lists.pop(0))

    @asynccontextmanager
    async def watch(
        self, _create: WatchCreate, _silence_s: float
    ) -> AsyncIterator[AsyncIterator[WatchResponse]]:
        yield self._created()

    async def _created(self) -> AsyncIterator[WatchResponse]:
        if self._lists[0] is self._majority and len(self._lists) == 1 and not self.rotations:
            behind = Header(cluster_id="1", revision=5, raft_term=2)
            yield WatchResponse(header=behind, created=True)
        await asyncio.Event().wait()

    async def check_current(self, _key: bytes) -> Header:
        return self._majority

    def rotate(self) -> None:
        self.rotations += 1


@pytest.mark.parametrize(
    ("majority", "lists", "rewound"),
    [
        pytest.param(Header(cluster_id="1", revision=7, raft_term=3), 1, False, id="it lags"),
        pytest.param(Header(cluster_id="1", revision=9, raft_term=4), 1, False, id="far behind"),
        pytest.param(Header(cluster_id="1", revision=6, raft_term=3), 2, True, id="put back"),
        pytest.param(Header(cluster_id="1", revision=9, raft_term=2), 2, True, id="older term"),
    ],
)
def test_a_member_that_is_behind(majority: Header, lists: int, *, rewound: bool) -> None:
    """Only what a majority says makes everything be read again."""

    async def scenario() -> None:
        client = LaggingClient(majority)
        options = EtcdOptions(backoff_min_s=0.0, backoff_max_s=0.0)
        watch = EtcdWatch(cast("EtcdClient", client), EtcdKeys("/x"), options)
        following = asyncio.create_task(watch.run())
        await until(lambda: client.counts.relists == 2 or client.rotations == 1)
        assert client.counts.relists == lists
        heard = await watch.mailbox.get()
        snapshot = heard if isinstance(heard, Snapshot) else await watch.mailbox.get()
        assert isinstance(snapshot, Snapshot)
        assert snapshot.rewound == rewound
        following.cancel()
        await asyncio.wait([following])

    asyncio.run(scenario())
