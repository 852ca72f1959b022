"""What happens to etcd, and what a node makes of it: outages, compaction, old backups, lost leases.

Every fault is a real one, of a real etcd: killed, frozen, compacted, put back to an older state.
"""

from pathlib import Path

import pytest

from hub.clients import claim, next_event, patiently
from hub.hub_process import run_scenario
from podway.store.access import StoreAccess
from podway.store.etcd_open import open_etcd
from podway.store.etcd_watch import EtcdOptions
from podway.store.protocol import (
    Back,
    Delta,
    LeaseLost,
    Snapshot,
    StoreAway,
    StoreEvent,
)
from store.backings import NET
from store.etcd_process import CONFIG, QUICK, SUBNETS, EtcdProcess, free_ports
from store.flannel_nodes import PEER
from store.streams import away, back, current

# A member that hangs is found out within a second.
NERVOUS = EtcdOptions(
    backoff_min_s=0.01, backoff_max_s=0.1, heartbeat_s=0.1, request_s=0.5, connect_s=0.5
)


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
        again = await store.claim(claim("new", 2, subnet=new.leases[0].subnet))
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
