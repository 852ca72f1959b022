"""Claims and leases in an etcd in which things go wrong between a question and its answer."""

import time
from ipaddress import ip_network

import pytest

from hub.clients import claim, next_event
from hub.hub_process import run_scenario
from podway.model.nodes import Node
from podway.store.etcd import EtcdStore
from podway.store.etcd_messages import TxnRequest, TxnResponse
from podway.store.protocol import LeaseLost, Snapshot, StoreAway, StoreError
from podway.store.refusals import NotAllowed
from store.etcd_process import SUBNETS, EtcdProcess
from store.flannel_nodes import PEER
from store.streams import current


def subnet_key(node: Node) -> str:
    return SUBNETS + str(node.leases[0].subnet).replace("/", "-")


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
        taken = await other.claim(claim("b", 2, subnet=node.leases[0].subnet))
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
