"""A cluster of three members, of which some fail: who is asked then, and for how long."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from hub.clients import claim, next_event, patiently
from hub.hub_process import run_scenario
from podway.store.access import StoreAccess
from podway.store.etcd_open import open_etcd
from podway.store.etcd_watch import EtcdOptions
from podway.store.protocol import Snapshot, StoreAway
from store.backings import NET
from store.etcd_process import CONFIG, QUICK, EtcdProcess, free_ports
from store.streams import away, current


@pytest.fixture
def cluster() -> Iterator[list[EtcdProcess]]:
    """Three members."""
    with ExitStack() as stack:
        ports = free_ports(6)
        initial = ",".join(f"m{n}=http://127.0.0.1:{ports[2 * n + 1]}" for n in range(3))
        members = [
            EtcdProcess(name=f"m{n}", ports=ports[2 * n : 2 * n + 2], cluster=initial)
            for n in range(3)
        ]
        for member in members:
            stack.callback(member.end)
            member.launch()
        for member in members:
            member.wait()
        members[0].put(CONFIG, NET)
        yield members


def test_members_fail_one_after_the_other(cluster: list[EtcdProcess]) -> None:
    """With one gone the next is taken; with most gone none has a leader and none tells old news."""
    url = "etcd:" + ",".join(member.endpoint for member in cluster)

    async def scenario() -> None:
        store = open_etcd(url, StoreAccess(), QUICK)
        events = store.watch()
        await next_event(events, Snapshot)
        node = await store.claim(claim("a", 1))
        await current(events, "a", node)
        cluster[0].kill()
        node = await patiently(lambda: store.claim(claim("b", 2)))
        await current(events, "b", node)
        await store.renew("a")
        assert store.counts.relists == 1
        cluster[1].kill()
        await away(events)
        with pytest.raises(StoreAway):
            await store.claim(claim("c", 3))
        cluster[0].start()
        node = await patiently(lambda: store.claim(claim("c", 3)))
        await current(events, "c", node)
        await store.close()

    run_scenario(scenario)


def test_a_member_that_hangs_takes_its_share_of_the_time(cluster: list[EtcdProcess]) -> None:
    """Who only asks, and watches nothing, gets an answer in the time of one call."""
    url = "etcd:" + ",".join(member.endpoint for member in cluster)

    async def scenario() -> None:
        store = open_etcd(url, StoreAccess(), EtcdOptions(request_s=4.5))
        cluster[0].freeze()
        try:
            assert await store.get_network() is not None
            # The next call begins where the last one was answered.
            before = store.counts.requests
            await store.get_network()
            assert store.counts.requests == before + 1
        finally:
            cluster[0].thaw()
        await store.close()

    run_scenario(scenario)
