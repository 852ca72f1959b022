"""A thousand nodes that lose their store in one instant do not come back in one instant."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Self, cast

import pytest

from podway.store.address import UnixAddress
from podway.store.counts import StoreCounts
from podway.store.etcd_client import EtcdClient
from podway.store.etcd_keys import EtcdKeys
from podway.store.etcd_watch import EtcdOptions, EtcdWatch
from podway.store.hub import HubOptions, HubStore
from podway.store.kube_api import KubeApi
from podway.store.kube_view import ClusterView
from podway.store.kube_watch import Follower, Pauses
from podway.store.mailbox import Mailbox

NODES = 1000


class Crowded:
    """An API server that wants to be left alone for a while."""

    def __init__(self, quiet_s: float) -> None:
        self.quiet_s = quiet_s
        self.counts = StoreCounts()


def follower(quiet_s: float) -> Follower:
    api = cast("KubeApi", Crowded(quiet_s))
    return Follower(api, ClusterView(), Pauses(first_s=0.2, longest_s=5.0), lambda _: None)


def kubernetes(failures: int) -> float:
    return follower(0.0)._pause_s(failures)


def kubernetes_told_to_wait(failures: int) -> float:
    return follower(1.0)._pause_s(failures) - 1.0


def etcd(failures: int) -> float:
    options = EtcdOptions(backoff_min_s=0.2, backoff_max_s=5.0)
    return EtcdWatch(cast("EtcdClient", None), EtcdKeys("/x"), options)._pause_s(failures)


def hub(failures: int) -> float:
    options = HubOptions(backoff_min_s=0.2, backoff_max_s=5.0)
    return HubStore(UnixAddress(Path("/none")), options=options)._pause_s(failures)


@pytest.mark.parametrize("pause_s", [kubernetes, kubernetes_told_to_wait, etcd, hub])
def test_pauses_grow_and_are_spread(pause_s: Callable[[int], float]) -> None:
    for failures, longest_s in [(0, 0.2), (1, 0.4), (4, 3.2), (5, 5.0), (100000, 5.0)]:
        pauses = sorted(pause_s(failures) for _ in range(NODES))
        assert longest_s / 2 <= pauses[0]
        assert pauses[-1] <= longest_s
        # In no twentieth of the time comes more than a fifth of them.
        window_s = (longest_s / 2) / 20
        most = max(sum(at <= other < at + window_s for other in pauses) for at in pauses)
        assert most < NODES / 5


class EndingApi:
    """An API server that ends each watch in order as soon as it is there."""

    def __init__(self) -> None:
        self.quiet_s = 0.0
        self.counts = StoreCounts()
        self.asked = 0

    async def list_nodes(self, *, not_older_than: int) -> tuple[list[object], int]:
        del not_older_than
        return [], 1

    def watch_nodes(self, _revision: int) -> Self:
        self.asked += 1
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing was opened."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> object:
        raise StopAsyncIteration


def test_a_watch_that_ended_in_order_is_not_resumed_at_once() -> None:
    """However long it lasted before: all of them end when the server is stopped."""

    async def scenario() -> None:
        api = EndingApi()
        pauses = Pauses(first_s=3600.0, longest_s=3600.0, stable_s=0.0)
        following = asyncio.create_task(
            Follower(cast("KubeApi", api), ClusterView(), pauses, lambda _: None).run(Mailbox())
        )
        for _ in range(100):
            await asyncio.sleep(0)
        assert api.asked == 1
        following.cancel()
        await asyncio.wait([following])

    asyncio.run(scenario())
