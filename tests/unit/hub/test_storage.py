"""Restarts, time, full disks and old watchers: memory, disk and the feed say the same."""

import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.hub.database import FILE_NAME, Database
from podway.hub.ledger import AGE_WRITE_S, RETRY_S, Answered
from podway.hub.state import State
from podway.hub.terms import GRACE_S
from podway.store.frames import (
    Delete,
    List,
)
from podway.store.refusals import StorageFailed
from unit.hub.ledgers import HOST_GW, Bench, claim, network, put, release, renew, reserve

# -- restarts, time and the disk


def test_a_restart_changes_nothing(bench: Bench) -> None:
    bench.do(claim("a"))
    bench.do(claim("b", "192.0.2.2"))
    bench.do(release("a"))
    bench.do(put(b"value"))
    before = (bench.nodes(), bench.state.revision, bench.state.network, bench.ledger.store_id)
    changes = bench.state.since(0)
    for crash in (True, False):
        bench.restart(crash=crash)
        after = (bench.nodes(), bench.state.revision, bench.state.network, bench.ledger.store_id)
        assert after == before
        assert bench.state.since(0) == changes


def test_while_the_hub_is_down_no_time_passes(bench: Bench) -> None:
    bench.do(claim("a", ttl_s=3600))
    bench.tick(600)
    bench.restart()
    bench.clock.now_s += 1e9  # between the two, and the wall clock went mad as well
    bench.restart(crash=True)
    assert bench.tick(2999) == ()
    assert [record.name for record in bench.tick(2)] == ["a"]


def test_after_a_start_there_is_a_grace(bench: Bench) -> None:
    bench.do(claim("long", ttl_s=86400))
    bench.do(claim("short", "192.0.2.2", ttl_s=10))
    bench.tick(9)
    bench.restart()
    assert bench.tick(9) == ()
    assert [record.name for record in bench.tick(1)] == ["short"]
    bench.tick(86400 - 30)
    bench.restart()
    assert bench.tick(GRACE_S - 1) == ()
    bench.do(renew("long"))
    assert bench.tick(86399) == ()


def test_a_renewal_outlives_a_crash(bench: Bench) -> None:
    bench.do(claim("a", ttl_s=86400))
    bench.tick(80000)
    bench.do(renew("a"))
    bench.restart(crash=True)
    assert bench.tick(86399) == ()


def test_hub_time_goes_on_in_a_quiet_hub(bench: Bench) -> None:
    """A hub that crashes every hour must not keep a dead node for ever."""
    bench.do(claim("dead", ttl_s=2 * 3600))
    for _ in range(30):
        for _ in range(int(3600 // AGE_WRITE_S)):
            if bench.tick(AGE_WRITE_S):
                return
        bench.restart(crash=True)
    raise AssertionError("the lease never ended")


def test_a_commit_waits_for_the_disk(bench: Bench) -> None:
    connection = bench.database._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_one_batch_is_one_transaction(bench: Bench) -> None:
    before = bench.ledger.commits
    requests = [claim(f"n{number}", f"192.0.2.{number}") for number in range(1, 101)]
    outcomes, records = bench.batch(*requests)
    assert all(isinstance(outcome, Answered) for outcome in outcomes)
    assert len(records) == 100
    assert bench.ledger.commits == before + 1


def fill(bench: Bench) -> None:
    """Let the file grow no further, as on a full disk."""
    connection = bench.database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


def empty(bench: Bench) -> None:
    bench.database._connection.execute("PRAGMA max_page_count = 1000000")


BIG = b"x" * 65536


def test_a_full_disk_refuses_and_loses_nothing(bench: Bench) -> None:
    bench.do(claim("a"))
    before = (bench.nodes(), bench.state.revision, bench.state.since(0))
    fill(bench)
    outcomes, records = bench.batch(put(BIG), claim("b", "192.0.2.2"), List(id=1, kind="node"))
    assert isinstance(outcomes[0], StorageFailed)
    assert isinstance(outcomes[1], StorageFailed)
    assert isinstance(outcomes[2], Answered)
    assert [item.name for item in outcomes[2].plan.items or ()] == ["a"]
    assert records == ()
    assert (bench.nodes(), bench.state.revision, bench.state.since(0)) == before
    assert bench.ledger.failure is not None


def test_when_there_is_space_again_it_goes_on(bench: Bench) -> None:
    bench.do(claim("a"))
    fill(bench)
    with pytest.raises(StorageFailed):
        bench.do(put(BIG))
    empty(bench)
    with pytest.raises(StorageFailed):
        bench.do(put(BIG))  # refused unseen for a moment
    bench.tick(RETRY_S)
    bench.do(put(BIG))
    assert bench.ledger.failure is None
    before = bench.state.since(0)
    bench.restart(crash=True)
    assert bench.state.since(0) == before


def test_a_full_disk_ends_no_lease(bench: Bench) -> None:
    """Nodes could not renew, so they get time to do so when the disk works again."""
    bench.do(claim("a", ttl_s=100))
    fill(bench)
    for _ in range(30):
        bench.tick(10)
        with pytest.raises(StorageFailed):
            bench.do(put(BIG))
    empty(bench)
    assert bench.tick(99) == ()
    bench.do(renew("a"))
    assert bench.tick(99) == ()


def test_the_second_hub_on_a_directory_is_refused(bench: Bench) -> None:
    with pytest.raises(StorageFailed, match="locked"):
        Database(bench.directory)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 1000)
    with pytest.raises(StorageFailed, match="not a database"):
        Database(tmp_path)


def test_a_file_of_a_newer_version(bench: Bench) -> None:
    bench.database.close()
    with sqlite3.connect(bench.directory / FILE_NAME) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(StorageFailed, match="version 99"):
        Database(bench.directory)


# -- memory and disk

NAMES = st.sampled_from("abcd")
REQUESTS = st.one_of(
    st.builds(
        lambda name, host, ttl_s: claim(name, f"192.0.2.{host}", ttl_s=ttl_s),
        NAMES,
        st.integers(1, 5),
        st.sampled_from([0, 5, 50]),
    ),
    st.builds(release, NAMES),
    st.builds(renew, NAMES),
    st.builds(lambda name, n: reserve(name, [f"10.9.{n}.0/24"]), NAMES, st.integers(1, 6)),
    st.builds(lambda name: Delete(id=1, kind="reservation", name=name), NAMES),
    st.builds(lambda name, value: put(value, name=name), NAMES, st.sampled_from([b"", b"v", BIG])),
    st.builds(lambda name: Delete(id=1, kind="note", name=name), NAMES),
    st.builds(
        lambda length: network(HOST_GW | {"Network": "10.9.0.0/21", "SubnetLen": length}),
        st.sampled_from([24, 25]),
    ),
    st.just(List(id=1, kind="node")),
)
ACTIONS = st.one_of(
    st.lists(REQUESTS, min_size=1, max_size=5),
    st.sampled_from(["restart", "crash", "disk is full", "space again"]),
    st.integers(1, 30),
)


@given(st.lists(ACTIONS, max_size=15))
def test_memory_is_always_what_is_on_the_disk(actions: list[object]) -> None:
    """Whatever is asked, ends, fails and is killed: nothing is known that a crash would take."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), tombstones_max=4)
        bench.do(network())
        try:
            for action in actions:
                act(bench, action)
                on_disk = bench.database.load()
                state = bench.state
                fresh = State(on_disk.records, on_disk.terms, on_disk.compacted)
                assert state.since(0) == fresh.since(0)
                assert (state.revision, state.compacted) == (fresh.revision, fresh.compacted)
                assert state.tombstones == fresh.tombstones
                assert state.network == fresh.network
                assert state.holdings.nodes == fresh.holdings.nodes
                assert state.holdings.reservations == fresh.holdings.reservations
                assert {term.name for term in on_disk.terms} == set(state.holdings.nodes)
        finally:
            bench.database.close()


def act(bench: Bench, action: object) -> None:
    match action:
        case "restart":
            bench.restart()
        case "crash":
            bench.restart(crash=True)
        case "disk is full":
            fill(bench)
        case "space again":
            empty(bench)
        case int():
            bench.tick(action)
        case list():
            before = bench.state.revision
            outcomes, records = bench.batch(*action)
            assert len(outcomes) == len(action)
            assert [r.revision for r in records] == sorted(r.revision for r in records)
            assert all(before < r.revision <= bench.state.revision for r in records)
        case other:
            raise AssertionError(other)


# -- what watchers may resume


def test_old_removals_are_forgotten_and_known_to_be(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tombstones_max=10)
    bench.do(network())
    for number in range(11):
        bench.do(claim(f"n{number}"))
        bench.do(release(f"n{number}"))
    state = bench.state
    assert state.compacted > 0
    assert not state.can_resume(state.compacted - 1)
    assert state.can_resume(state.compacted)
    assert not state.can_resume(state.revision + 1)
    kept = state.since(state.compacted)
    assert sum(record.value is None for record in kept) == state.tombstones == 5
    bench.restart()
    assert bench.state.compacted == state.compacted
    assert bench.state.since(state.compacted) == kept
    bench.database.close()


def test_since_tells_the_last_state_of_each_object_once(bench: Bench) -> None:
    mark = bench.state.revision
    for value in (b"1", b"2", b"3"):
        bench.do(put(value))
    bench.do(claim("a"))
    bench.do(release("a"))
    assert [(r.kind, r.name, r.value) for r in bench.state.since(mark)] == [
        ("note", "n", b"3"),
        ("node", "a", None),
    ]
    assert bench.state.since(bench.state.revision) == ()
