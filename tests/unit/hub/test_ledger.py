"""What the hub decides, and that memory, disk and what it publishes say the same."""

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
from podway.store.protocol import ClaimRefused, LeaseLost
from podway.store.refusals import Conflict, StorageFailed, ValueRefused
from podway.store.wire import Delete, Get, List, Put
from unit.hub.ledgers import HOST_GW, Bench, claim, network, release, renew, reserve


def put(value: bytes, expected: int | None = None, *, kind: str = "note", name: str = "n") -> Put:
    return Put(id=1, kind=kind, name=name, value=value, expected=expected)


# -- compare and swap


def test_compare_and_swap(bench: Bench) -> None:
    first = bench.do(put(b"1", expected=0)).revision
    with pytest.raises(Conflict):
        bench.do(put(b"2", expected=0))
    second = bench.do(put(b"2", expected=first)).revision
    assert second > first
    with pytest.raises(Conflict):
        bench.do(put(b"3", expected=first))
    with pytest.raises(Conflict):
        bench.do(Delete(id=1, kind="note", name="n", expected=first))
    bench.do(Delete(id=1, kind="note", name="n", expected=second))
    with pytest.raises(Conflict):
        bench.do(put(b"4", expected=second))
    assert bench.do(put(b"4", expected=0)).revision > second


def test_of_two_swaps_in_one_batch_one_wins(bench: Bench) -> None:
    revision = bench.do(put(b"old")).revision
    outcomes, records = bench.batch(put(b"a", revision), put(b"b", revision))
    assert isinstance(outcomes[0], Answered)
    assert isinstance(outcomes[1], Conflict)
    assert [record.value for record in records] == [b"a"]


def test_the_same_value_again_is_no_change(bench: Bench) -> None:
    revision = bench.do(put(b"same")).revision
    (outcome,), records = bench.batch(put(b"same"))
    assert isinstance(outcome, Answered)
    assert outcome.revision == revision
    assert records == ()


def test_what_is_not_there_reads_as_nothing(bench: Bench) -> None:
    answered = bench.do(Get(id=1, kind="note", name="none"))
    assert (answered.revision, answered.plan.value) == (0, None)
    assert bench.do(List(id=1, kind="note")).plan.items == ()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(put(b"", kind="node"), id="nodes claim"),
        pytest.param(put(b"", kind="reservation"), id="reservations are reserved"),
        pytest.param(put(b"", kind=""), id="no kind"),
        pytest.param(put(b"", kind="a/b"), id="slash in kind"),
        pytest.param(put(b"", name="../etc"), id="path as name"),
        pytest.param(put(b"{}", kind="config", name="other"), id="unknown configuration"),
        pytest.param(Delete(id=1, kind="config", name="network"), id="network removed"),
    ],
)
def test_values_that_are_refused(bench: Bench, request_: Put) -> None:
    before = bench.state.revision
    with pytest.raises(ValueRefused):
        bench.do(request_)
    assert bench.state.revision == before


# -- leases


def test_a_claim_repeated_is_no_event_but_renews(bench: Bench) -> None:
    first = bench.do(claim("a"))
    bench.tick(50)
    (again,), records = bench.batch(claim("a"))
    assert isinstance(again, Answered)
    assert (again.revision, again.plan.value) == (first.revision, first.plan.value)
    assert records == ()
    assert bench.tick(59) == ()
    assert [record.name for record in bench.tick(1)] == ["a"]


def test_a_renewal_is_no_event(bench: Bench) -> None:
    bench.do(claim("a"))
    before = bench.state.revision
    for _ in range(5):
        bench.tick(50)
        assert bench.batch(renew("a"))[1] == ()
    assert bench.state.revision == before
    (gone,) = bench.tick(60)
    assert (gone.name, gone.value) == ("a", None)
    with pytest.raises(LeaseLost):
        bench.do(renew("a"))


def test_what_ended_is_free_for_the_claim_that_comes_next(bench: Bench) -> None:
    bench.do(claim("old", "192.0.2.7"))
    bench.clock.now_s += 60
    outcomes, records = bench.batch(claim("new", "192.0.2.7"))
    assert isinstance(outcomes[0], Answered)
    assert [(r.name, r.value is None) for r in records] == [("old", True), ("new", False)]


def test_a_lease_without_end_never_ends(bench: Bench) -> None:
    bench.do(claim("a", ttl_s=0))
    assert bench.tick(1e9) == ()
    bench.restart()
    assert bench.tick(1e9) == ()
    bench.do(renew("a"))
    assert bench.do(release("a")).plan.writes
    assert bench.nodes() == {}


def test_releasing_what_is_not_there_is_fine(bench: Bench) -> None:
    assert bench.batch(release("nobody"))[1] == ()


def test_two_nodes_with_one_public_address(bench: Bench) -> None:
    bench.do(claim("a", "192.0.2.1"))
    with pytest.raises(ClaimRefused, match=r"192\.0\.2\.1 is node a's"):
        bench.do(claim("b", "192.0.2.1"))
    bench.do(release("a"))
    bench.do(claim("b", "192.0.2.1"))


def test_a_node_may_change_its_address(bench: Bench) -> None:
    bench.do(claim("a", "192.0.2.1"))
    subnet = bench.nodes()["a"].leases[0].subnet
    bench.do(claim("a", "192.0.2.2"))
    assert bench.nodes()["a"].leases[0].subnet == subnet
    bench.do(claim("b", "192.0.2.1"))


def test_without_a_network_nobody_can_claim(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(ClaimRefused, match="no network is configured"):
        bench.do(claim("a"))
    bench.database.close()


def test_an_exhausted_pool_says_so(bench: Bench) -> None:
    bench.do(network({"Network": "10.9.0.0/22", "SubnetLen": 24, "Backend": {"Type": "host-gw"}}))
    for number in (1, 2, 3):
        bench.do(claim(f"n{number}", f"192.0.2.{number}"))
    with pytest.raises(ClaimRefused, match="3 leased and 0 reserved of the 3 /24"):
        bench.do(claim("n4", "192.0.2.4"))


def test_a_reservation_waits_for_its_node(bench: Bench) -> None:
    bench.do(reserve("late", ["10.9.1.0/24"]))
    bench.do(claim("early", subnet="10.9.1.0/24"))
    assert str(bench.nodes()["early"].leases[0].subnet) == "10.9.2.0/24"
    with pytest.raises(ClaimRefused):
        bench.do(reserve("other", ["10.9.1.0/24"]))
    bench.restart()
    bench.do(claim("late", "192.0.2.2"))
    assert str(bench.nodes()["late"].leases[0].subnet) == "10.9.1.0/24"
    bench.do(Delete(id=1, kind="reservation", name="late"))
    bench.do(release("late"))
    assert [held for table in bench.state.holdings.tables.values() for held in table] == [
        bench.state.holdings.conflict("x", bench.nodes()["early"].leases[0].subnet)
    ]


@pytest.mark.parametrize(
    "subnets",
    [
        pytest.param([], id="none"),
        pytest.param(["10.9.1.1/24"], id="host bits"),
        pytest.param(["nonsense"], id="no prefix"),
    ],
)
def test_reservations_that_are_none(bench: Bench, subnets: list[str]) -> None:
    with pytest.raises(ValueRefused):
        bench.do(reserve("a", subnets))


# -- the network's configuration


def test_a_network_that_breaks_a_rule_is_refused_whole(bench: Bench) -> None:
    with pytest.raises(ValueRefused, match="SubnetLen"):
        bench.do(network(HOST_GW | {"SubnetLen": 8}))
    assert bench.state.network is not None
    assert bench.state.network.pools[0].subnet_len == 24


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"Network": "10.8.0.0/16"}, id="other prefix"),
        pytest.param({"SubnetLen": 25}, id="other length"),
        pytest.param({"SubnetMin": "10.9.9.0"}, id="minimum above a lease"),
        pytest.param(
            {"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": "fd00::/48"},
            id="family gone",
        ),
    ],
)
def test_a_network_that_breaks_leases_needs_force(
    bench: Bench, document: dict[str, object]
) -> None:
    bench.do(claim("a"))
    with pytest.raises(ValueRefused, match=r"10\.9\.1\.0/24 of node a"):
        bench.do(network(HOST_GW | document))
    bench.do(network(HOST_GW | document, force=True))
    assert "a" in bench.nodes()


def test_a_network_that_leaves_leases_alone_needs_none(bench: Bench) -> None:
    bench.do(claim("a"))
    bench.do(network(HOST_GW | {"SubnetMax": "10.9.200.0"}))
    bench.do(network(HOST_GW | {"EnableIPv6": True, "IPv6Network": "fd00::/48"}))


def test_after_force_a_node_claims_what_fits(bench: Bench) -> None:
    bench.do(claim("a"))
    bench.do(network(HOST_GW | {"SubnetLen": 25}, force=True))
    bench.do(claim("b", "192.0.2.2"))
    bench.do(claim("a"))
    subnets = [lease.subnet for node in bench.nodes().values() for lease in node.leases]
    assert [subnet.prefixlen for subnet in subnets] == [25, 25]
    assert not subnets[0].overlaps(subnets[1])


def test_a_stored_network_that_this_hub_cannot_use(bench: Bench) -> None:
    """As after a step back to an older hub."""
    bench.database.close()
    with sqlite3.connect(bench.directory / FILE_NAME) as file:
        file.execute("UPDATE objects SET value = ? WHERE kind = 'config'", (b'{"Network": 1}',))
    file.close()
    bench.ledger = bench._open()
    with pytest.raises(ClaimRefused, match="cannot use the network"):
        bench.do(claim("a"))


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
