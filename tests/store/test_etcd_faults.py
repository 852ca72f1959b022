"""What happens to etcd, and what a node makes of it: outages, compaction, old backups, lost leases.

Every fault is a real one, of a real etcd: killed, frozen, compacted, put back to an older state.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path

import pytest

from hub.clients import claim, next_event, patiently
from hub.hub_process import run_scenario
from podway.model.nodes import Claim, Node
from podway.store.access import StoreAccess
from podway.store.etcd import EtcdStore
from podway.store.etcd_messages import TxnRequest, TxnResponse
from podway.store.etcd_open import open_etcd
from podway.store.etcd_watch import EtcdOptions
from podway.store.protocol import (
    Away,
    Back,
    Delta,
    LeaseLost,
    Snapshot,
    StoreAway,
    StoreError,
    StoreEvent,
)
from podway.store.refusals import NotAllowed
from store.etcd_process import QUICK, EtcdProcess, free_ports
from store.test_contract import NET, current

CONFIG = "/coreos.com/network/config"
SUBNETS = "/coreos.com/network/subnets/"
PEER = '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"host-gw"}'
# A member that hangs is found out within a second.
NERVOUS = EtcdOptions(
    backoff_min_s=0.01, backoff_max_s=0.1, heartbeat_s=0.1, request_s=0.5, connect_s=0.5
)


@pytest.fixture
def etcd() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        process.put(CONFIG, NET)
        yield process


async def away(events: AsyncIterator[StoreEvent]) -> str:
    """Read *events* until the store is away; return the reason."""
    async with asyncio.timeout(30):
        async for event in events:
            if isinstance(event, Away):
                return event.reason
    raise AssertionError("the stream ended")


async def back(events: AsyncIterator[StoreEvent]) -> None:
    """Read *events* until the store is there again."""
    async with asyncio.timeout(30):
        async for event in events:
            if isinstance(event, Back):
                return


def subnet_key(node: Node) -> str:
    return SUBNETS + str(node.leases[0].subnet).replace("/", "-")


def test_killed_and_restarted_the_watch_goes_on(etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        store = etcd.open_store()
        node = await store.claim(claim("a", 1))
        events = store.watch()
        await next_event(events, Snapshot)
        etcd.kill()
        assert etcd.endpoint.removeprefix("http://") in await away(events)
        with pytest.raises(StoreAway):
            await store.renew("a")
        with pytest.raises(StoreAway):
            await store.claim(claim("b", 2))
        etcd.start()
        await back(events)
        etcd.put(f"{SUBNETS}10.9.52.0-24", PEER)
        # Deltas go on where they stopped: nothing was read anew.
        delta = await next_event(events, Delta)
        assert [change.name for change in delta.changes] == ["10.9.52.0-24"]
        assert store.counts.relists == 1
        await store.renew("a")
        assert await store.claim(claim("a", 1)) == node
        await store.close()

    run_scenario(scenario)


def test_what_happens_meanwhile_is_told_afterwards(etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        slow = EtcdOptions(backoff_min_s=3600, backoff_max_s=3600)
        store, other = etcd.open_store(options=slow), etcd.open_store()
        node = await other.claim(claim("a", 1))
        events = store.watch()
        await next_event(events, Snapshot)
        etcd.kill()
        await away(events)
        etcd.start()
        await other.release("a")
        moved = await other.claim(claim("b", 2))
        events = store.watch()
        snapshot = await next_event(events, Snapshot)
        assert snapshot.nodes == (moved,)
        assert node not in snapshot.nodes
        await store.close()
        await other.close()

    run_scenario(scenario)


def test_changes_that_are_compacted_are_read_again(etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        store = etcd.open_store(options=EtcdOptions(backoff_min_s=1.0, backoff_max_s=1.0))
        events = store.watch()
        await next_event(events, Snapshot)
        etcd.kill()
        await away(events)
        etcd.start()
        for number in range(3):
            etcd.put(f"{SUBNETS}10.9.{50 + number}.0-24", PEER)
        etcd.ctl("del", f"{SUBNETS}10.9.50.0-24")
        etcd.compact()
        event: StoreEvent = await next_event(events, Back)
        while not isinstance(event, Snapshot):
            event = await anext(events)
        assert {node.name for node in event.nodes} == {"10.9.51.0-24", "10.9.52.0-24"}
        assert not event.rewound
        await store.close()

    run_scenario(scenario)


def test_put_back_to_an_older_backup(etcd: EtcdProcess, tmp_path: Path) -> None:
    """The snapshot tells what is there now, and a lost lease is claimed again as it was."""
    backup = tmp_path / "backup.db"

    async def scenario() -> None:
        store = etcd.open_store()
        old = await store.claim(claim("old", 1))
        etcd.ctl("snapshot", "save", str(backup))
        for number in range(5):  # so that revisions lie well behind
            etcd.put("/elsewhere", str(number))
        new = await store.claim(claim("new", 2))
        events = store.watch()
        snapshot = await next_event(events, Snapshot)
        assert set(snapshot.nodes) == {old, new}
        etcd.kill()
        await away(events)
        etcd.restore(backup)
        etcd.start()
        while not isinstance(event := await anext(events), Snapshot):
            pass
        assert event.nodes == (old,)
        assert event.rewound
        assert event.revision < snapshot.revision
        with pytest.raises(LeaseLost):
            await store.renew("new")
        wish = claim("new", 2).wishes[0]
        again = await store.claim(
            Claim(
                name="new",
                backend="host-gw",
                wishes=(
                    type(wish)(
                        family=wish.family, public_ip=wish.public_ip, subnet=new.leases[0].subnet
                    ),
                ),
                ttl_s=3600,
            )
        )
        assert again == new
        await current(events, "new", new)
        await store.close()

    run_scenario(scenario)


def test_a_member_that_hangs_is_found_out(etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        store = etcd.open_store(options=NERVOUS)
        events = store.watch()
        await next_event(events, Snapshot)
        etcd.freeze()
        try:
            await away(events)
            with pytest.raises(StoreAway):
                await store.claim(claim("a", 1))
        finally:
            etcd.thaw()
        await back(events)
        node = await patiently(lambda: store.claim(claim("a", 1)))
        await current(events, "a", node)
        await store.close()

    run_scenario(scenario)


def test_not_there_at_boot() -> None:
    (port,) = free_ports(1)
    ports = (port, free_ports(1)[0])

    async def scenario() -> None:
        store = open_etcd(f"etcd:http://127.0.0.1:{port}", StoreAccess(), QUICK)
        with pytest.raises(StoreAway):
            await store.claim(claim("a", 1))
        events = store.watch()
        assert f":{port}" in await away(events)
        with EtcdProcess(ports=ports) as etcd:
            etcd.put(CONFIG, NET)
            await back(events)
            node = await patiently(lambda: store.claim(claim("a", 1)))
            await current(events, "a", node)
        await store.close()

    run_scenario(scenario)


class _Failing:
    """Has the next transactions fail: before etcd sees them, or when it has carried them out."""

    def __init__(self, store: EtcdStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self._txn = store._client.txn
        self.before = self.after = 0
        self.error: StoreError | None = None
        monkeypatch.setattr(store._client, "txn", self.txn)

    async def txn(self, request: TxnRequest) -> TxnResponse:
        if self.error is not None:
            raise self.error
        if self.before:
            self.before -= 1
            raise StoreAway("cut off before")
        reply = await self._txn(request)
        if self.after:
            self.after -= 1
            raise StoreAway("cut off after")
        return reply


def test_cut_off_in_the_middle_of_a_join(
    etcd: EtcdProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever etcd had carried out, the claim repeated gives one lease, and says which."""

    async def scenario() -> None:
        store = etcd.open_store()
        failing = _Failing(store, monkeypatch)
        failing.before = 1
        with pytest.raises(StoreAway):
            await store.claim(claim("a", 1))
        assert etcd.keys(SUBNETS) == {}
        failing.after = 1
        with pytest.raises(StoreAway):
            await store.claim(claim("a", 1))
        (key,) = etcd.keys(SUBNETS)
        node = await store.claim(claim("a", 1))
        assert subnet_key(node) == key
        assert list(etcd.keys(SUBNETS)) == [key]
        await store.close()

    run_scenario(scenario)


def test_claims_that_fail_leave_no_etcd_leases_behind(
    etcd: EtcdProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would live for a day; an outage has thousands of attempts."""

    def leases() -> int:
        return len(etcd.ctl("lease", "list").splitlines()) - 1  # the first line counts them

    async def scenario() -> None:
        store = etcd.open_store()
        failing = _Failing(store, monkeypatch)
        failing.before = 5
        for _ in range(5):
            with pytest.raises(StoreAway):
                await store.claim(claim("a", 1))
        assert leases() == 1
        await store.claim(claim("a", 1))
        assert leases() == 1
        failing.error = NotAllowed("no role")
        with pytest.raises(NotAllowed):
            await store.claim(claim("b", 2))
        assert leases() == 1
        await store.close()

    run_scenario(scenario)


def test_a_lease_taken_away_before_the_answer_comes(
    etcd: EtcdProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The late answer does not bring it back, and who claimed does not believe to have it."""

    async def scenario() -> None:
        store = etcd.open_store()
        txn, events = store._client.txn, store.watch()

        async def overtaken(request: TxnRequest) -> TxnResponse:
            reply = await txn(request)
            monkeypatch.undo()
            etcd.ctl("del", "--prefix", SUBNETS)
            await current(events, "a", None)
            return reply

        await next_event(events, Snapshot)
        monkeypatch.setattr(store._client, "txn", overtaken)
        with pytest.raises(StoreAway):
            await store.claim(claim("a", 1))
        with pytest.raises(LeaseLost):
            await store.renew("a")
        node = await store.claim(claim("a", 1))
        await current(events, "a", node)
        await store.close()

    run_scenario(scenario)


def test_a_lease_lost_and_its_subnet_given_to_another(etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        store, other = etcd.open_store(), etcd.open_store()
        events = store.watch()
        await next_event(events, Snapshot)
        node = await store.claim(claim("a", 1))
        lease = etcd.keys(subnet_key(node))[subnet_key(node)][1]
        etcd.ctl("lease", "revoke", f"{lease:x}")
        await current(events, "a", None)
        wish = claim("b", 2).wishes[0]
        taken = await other.claim(
            Claim(
                name="b",
                backend="host-gw",
                wishes=(
                    type(wish)(
                        family=wish.family, public_ip=wish.public_ip, subnet=node.leases[0].subnet
                    ),
                ),
                ttl_s=3600,
            )
        )
        assert taken.leases[0].subnet == node.leases[0].subnet
        with pytest.raises(LeaseLost):
            await store.renew("a")
        again = await store.claim(claim("a", 1))
        assert again.leases[0].subnet != node.leases[0].subnet
        await current(events, "a", again)
        await store.close()
        await other.close()

    run_scenario(scenario)


def test_a_lease_that_ended_unseen(etcd: EtcdProcess) -> None:
    """Nobody watches: renewal asks etcd, and it has neither key nor lease."""

    async def scenario() -> None:
        store = etcd.open_store()
        node = await store.claim(claim("a", 1))
        lease = etcd.keys(subnet_key(node))[subnet_key(node)][1]
        await store.renew("a")
        etcd.ctl("lease", "revoke", f"{lease:x}")
        with pytest.raises(LeaseLost):
            await store.renew("a")
        await store.close()

    run_scenario(scenario)


def test_wall_clocks_do_not_matter(etcd: EtcdProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither side's: leases end by etcd's monotonic clock, pauses by ours."""

    async def scenario() -> None:
        store = etcd.open_store()
        events = store.watch()
        await next_event(events, Snapshot)
        node = await store.claim(claim("a", 1))
        for jump_s in (400 * 86400.0, -400 * 86400.0):
            now_s = time.time()
            monkeypatch.setattr(time, "time", lambda at=now_s + jump_s: at)
            await store.renew("a")
            assert await store.claim(claim("a", 1)) == node
            monkeypatch.undo()
        assert [status.node for status in await store.list_nodes()] == [node]
        await store.close()

    run_scenario(scenario)


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


def test_requests_do_not_grow_with_the_cluster(etcd: EtcdProcess) -> None:
    """A join: everything once, a watch, an etcd lease, a transaction. And no more for a restart."""

    async def scenario() -> None:
        for nodes in (0, 100):
            for number in range(nodes):
                address = f"198.19.{number // 250}.{number % 250}"
                value = PEER.replace("192.168.64.3", address)
                await put(filler, f"{SUBNETS}10.9.{number}.0-24", value)
            store = etcd.open_store()
            events = store.watch()
            snapshot = await next_event(events, Snapshot)
            assert len(snapshot.nodes) == nodes + bool(nodes)
            node = await store.claim(claim(f"n{nodes}", nodes))
            await current(events, node.name, node)
            assert store.counts.requests == 4
            assert ip_network("10.9.0.0/16").supernet_of(node.leases[0].subnet)  # type: ignore[arg-type]
            await store.close()

    async def put(store: EtcdStore, key: str, value: str) -> None:
        from podway.store.etcd_messages import PutRequest, RequestOp  # noqa: PLC0415

        step = RequestOp(request_put=PutRequest(key=key.encode(), value=value.encode()))
        await store._client.txn(TxnRequest(success=[step]))

    filler = etcd.open_store()
    run_scenario(scenario)
