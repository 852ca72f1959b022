"""What the hub decides, and that memory, disk and what it publishes say the same."""

import sqlite3
from pathlib import Path

import pytest

from podway.hub.database import FILE_NAME
from podway.hub.ledger import Answered
from podway.store.frames import (
    Delete,
    Get,
    List,
    Put,
)
from podway.store.protocol import ClaimRefused, LeaseLost
from podway.store.refusals import Conflict, ValueRefused
from unit.hub.ledgers import HOST_GW, Bench, claim, network, put, release, renew, reserve

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
