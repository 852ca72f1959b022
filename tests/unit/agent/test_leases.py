"""When a node claims and renews, and how it behaves when that fails."""

import asyncio
from itertools import pairwise

import pytest

from podway.model.nodes import Claim, Node
from podway.store.protocol import ClaimRefused, LeaseLost, StoreAway
from unit.agent.lease_bench import Bench, granted, keeping, raising, wish_for
from unit.agent.values import node
from unit.agent.virtual_time import run_virtually

HOUR_S = 3600.0


def test_claimed_once_and_renewed_in_time_whatever_the_cluster_says() -> None:
    async def scenario() -> None:
        async with keeping(ttl_s=30) as bench:
            for _ in range(120):
                await asyncio.sleep(1)
                bench.keeper.look_again()  # news, every second
            assert len(bench.store.claims) == len(bench.granted) == 1
            renewals = bench.store.renewals
            pauses = [b - a for a, b in pairwise([0.0, *renewals])]
            assert len(pauses) >= 10
            assert max(pauses) <= 11, "a third of the time to live, give or take an event"

    run_virtually(scenario)


def test_a_lease_for_good_is_not_renewed() -> None:
    async def scenario() -> None:
        async with keeping(ttl_s=0) as bench:
            for _ in range(10):
                await asyncio.sleep(90 * HOUR_S)
                bench.keeper.look_again()
            assert (len(bench.store.claims), bench.store.renewals) == (1, [])

    run_virtually(scenario)


def test_a_renewal_that_failed_is_tried_again_soon() -> None:
    async def scenario() -> None:
        async with keeping() as bench:
            bench.store.on_renew = raising(StoreAway("down"))  # type: ignore[assignment]
            await asyncio.sleep(8 * HOUR_S + 60)
            assert len(bench.store.renewals) >= 10
            bench.store.on_renew = lambda: None
            await asyncio.sleep(60)
            count = len(bench.store.renewals)
            await asyncio.sleep(7 * HOUR_S)
            assert len(bench.store.renewals) == count
            assert len(bench.store.claims) == 1

    run_virtually(scenario)


def test_time_goes_on_while_the_machine_sleeps() -> None:
    """The store counts on: a renewal that became due meanwhile is made soon after."""

    async def scenario() -> None:
        async with keeping() as bench:
            await asyncio.sleep(HOUR_S)
            bench.suspended_s += 6 * HOUR_S
            await asyncio.sleep(120)
            assert bench.store.renewals == []
            bench.suspended_s += 2 * HOUR_S
            await asyncio.sleep(120)
            assert len(bench.store.renewals) == 1
            await asyncio.sleep(7 * HOUR_S)
            assert len(bench.store.renewals) == 1
            await asyncio.sleep(2 * HOUR_S)
            assert len(bench.store.renewals) == 2

    run_virtually(scenario)


OLD, OTHER = "10.244.1.0/24", "10.8.1.0/24"


def test_a_subnet_is_given_up_once_and_no_pod_is_let_in_meanwhile() -> None:
    async def scenario() -> None:
        async with keeping() as bench:
            await asyncio.sleep(1)
            bench.store.on_claim = lambda _: node("a", OTHER)
            bench.store.takes_s = 2.0
            bench.want(wish_for("192.0.2.1", subnet=OLD, leave=True))
            await asyncio.sleep(1)
            assert bench.keeper.leaving
            await asyncio.sleep(2)
            assert not bench.keeper.leaving
            bench.want(wish_for("192.0.2.1", subnet=OTHER))
            await asyncio.sleep(60)
            assert len(bench.store.claims) == 2
            # What it has now is drained in its turn.
            bench.want(wish_for("192.0.2.1", subnet=OTHER, leave=True))
            await asyncio.sleep(60)
            assert len(bench.store.claims) == 3

    run_virtually(scenario)


def test_a_store_without_room_elsewhere_is_asked_once() -> None:
    async def scenario() -> None:
        async with keeping() as bench:
            await asyncio.sleep(1)
            bench.want(wish_for("192.0.2.1", subnet=OLD, leave=True))
            for _ in range(60):
                await asyncio.sleep(1)
                bench.keeper.look_again()
            assert len(bench.store.claims) == 2
            bench.keeper.lost()  # another network
            await asyncio.sleep(60)
            assert len(bench.store.claims) == 3

    run_virtually(scenario)


def test_a_subnet_that_could_not_be_given_up_is_used_on() -> None:
    async def scenario() -> None:
        async with keeping() as bench:
            await asyncio.sleep(1)
            bench.store.on_claim = raising(StoreAway("down"))
            bench.want(wish_for("192.0.2.1", subnet=OLD, leave=True))
            await asyncio.sleep(1)
            assert not bench.keeper.leaving
            count = len(bench.store.claims)
            bench.want(wish_for("192.0.2.1", subnet=OLD))  # a pod has come
            await asyncio.sleep(60)
            assert (len(bench.store.claims), bench.keeper.refusal) == (count, "")

    run_virtually(scenario)


def test_a_lost_lease_is_claimed_again() -> None:
    async def scenario() -> None:
        async with keeping() as bench:
            bench.store.on_renew = raising(LeaseLost("expired"))  # type: ignore[assignment]
            await asyncio.sleep(8 * HOUR_S + 60)
            assert (len(bench.store.claims), len(bench.store.renewals)) == (2, 1)
            bench.keeper.lost()
            await asyncio.sleep(1)
            assert len(bench.store.claims) == 3

    run_virtually(scenario)


def test_a_loss_during_a_claim_is_not_forgotten() -> None:
    async def scenario() -> None:
        async with keeping() as bench:
            bench.store.takes_s = 3.0
            await asyncio.sleep(1)
            bench.keeper.lost()  # the network was changed while the claim was under way
            await asyncio.sleep(60)
            assert len(bench.store.claims) == 2

    run_virtually(scenario)


@pytest.mark.parametrize(
    ("changed", "claims"),
    [
        pytest.param(wish_for("192.0.2.77"), 2, id="another address"),
        pytest.param(wish_for("192.0.2.1", backend="vxlan"), 2, id="another backend"),
        pytest.param(wish_for("192.0.2.1", subnet="10.244.1.0/24"), 1, id="the subnet it has"),
        pytest.param(None, 1, id="nobody can know"),
    ],
)
def test_another_claim_is_made_at_once_and_the_same_one_never(
    changed: Claim | None, claims: int
) -> None:
    async def scenario() -> None:
        async with keeping() as bench:
            await asyncio.sleep(0.5)
            bench.want(changed)
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            assert len(bench.store.claims) == claims

    run_virtually(scenario)


def test_while_the_store_is_away_claims_back_off() -> None:
    async def scenario() -> None:
        async with keeping() as bench:
            bench.store.on_claim = raising(StoreAway("connection refused"))
            for _ in range(600):
                await asyncio.sleep(0.1)
                bench.keeper.look_again()
            times = bench.store.times()
            assert 8 <= len(times) <= 30
            assert times[2] < 2
            assert max(b - a for a, b in pairwise(times)) <= 7.6
            assert "away" in bench.keeper.refusal
            bench.store.on_claim = granted
            await asyncio.sleep(8)
            assert (bench.keeper.refusal, len(bench.granted)) == ("", 1)

    run_virtually(scenario)


def test_a_refusal_is_repeated_slowly_and_another_claim_at_once() -> None:
    async def scenario() -> None:
        async with keeping() as bench:
            bench.store.on_claim = raising(ClaimRefused("192.0.2.1 is node b's"))
            for _ in range(3000):
                await asyncio.sleep(0.01)
                bench.keeper.look_again()  # a cluster in which a lot happens
            assert len(bench.store.claims) <= 16
            assert bench.keeper.refusal == "192.0.2.1 is node b's"
            bench.store.on_claim = granted
            bench.want(wish_for("192.0.2.9"))
            await asyncio.sleep(0.001)
            assert (bench.keeper.refusal, len(bench.granted)) == ("", 1)

    run_virtually(scenario)


def test_a_refusal_ends_when_what_was_refused_is_no_longer_wanted() -> None:
    async def scenario() -> None:
        async with keeping() as bench:
            await asyncio.sleep(1)
            bench.store.on_claim = raising(ClaimRefused("192.0.2.9 is node b's"))
            bench.want(wish_for("192.0.2.9"))
            await asyncio.sleep(1)
            assert bench.keeper.refusal
            bench.want(wish_for("192.0.2.1"))
            await asyncio.sleep(60)
            assert bench.keeper.refusal == ""

    run_virtually(scenario)


def test_two_machines_with_one_name_do_not_storm_the_store() -> None:
    async def scenario() -> None:
        async with keeping() as one, keeping() as other:
            one.store.on_claim = lambda claim: _take_from(other, claim)
            other.store.on_claim = lambda claim: _take_from(one, claim)
            await asyncio.sleep(60)
            assert 4 <= len(one.store.claims) <= 40
            # Once the other one is gone the next loss is made good at once.
            one.store.on_claim = granted
            await asyncio.sleep(60)
            count = len(one.store.claims)
            one.keeper.lost()
            await asyncio.sleep(0.001)
            assert len(one.store.claims) == count + 1

    def _take_from(loser: Bench, claim: Claim) -> Node:
        loser.keeper.lost()
        return granted(claim)

    run_virtually(scenario)
