"""What a node claims, when it claims and renews, and how it behaves when that fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address, ip_interface, ip_network
from itertools import pairwise
from typing import cast

import pytest

from podway.agent.leases import LeaseKeeper, make_claim
from podway.errors import ConfigError
from podway.kernel.logs import get_log
from podway.model.addresses import Family
from podway.model.networks import parse_network
from podway.model.nodes import Claim, Identity, Lease, Node, Uplink, VtepData, Wish
from podway.store.protocol import ClaimRefused, LeaseLost, Store, StoreAway, StoreError
from unit.agent.values import node
from unit.agent.virtual_time import run_virtually

HOUR_S = 3600.0
DUAL_STACK = (Family.IPV4, Family.IPV6)
ME = Identity(name="a")
UPLINK = Uplink(
    dev="eth0",
    mtu=1500,
    addresses=tuple(map(ip_interface, ("192.0.2.1/24", "fe80::1/64", "2001:db8::1/64"))),
)
DUAL = """{"Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00::/48",
           "Backend": {"Type": "%s", "VNI": 7}}"""


# --- what to claim ------------------------------------------------------------------------------


def test_a_claim_has_a_wish_for_each_family_of_the_network() -> None:
    network = parse_network(DUAL % "vxlan")
    claim = make_claim(ME, network, UPLINK, named=(), me=None, ttl_s=60)
    assert (claim.name, claim.backend, claim.ttl_s) == ("a", "vxlan", 60)
    assert [wish.family for wish in claim.wishes] == [Family.IPV4, Family.IPV6]
    assert [str(wish.public_ip) for wish in claim.wishes] == ["192.0.2.1", "2001:db8::1"]
    assert all(isinstance(wish.data, VtepData) and wish.data.vni == 7 for wish in claim.wishes)
    assert [wish.subnet for wish in claim.wishes] == [None, None]


def test_host_gw_publishes_nothing_and_a_named_address_wins() -> None:
    network = parse_network(DUAL % "host-gw")
    named = (ip_address("203.0.113.9"),)
    claim = make_claim(ME, network, UPLINK, named=named, me=None, ttl_s=60)
    assert [str(wish.public_ip) for wish in claim.wishes] == ["203.0.113.9", "2001:db8::1"]
    assert [wish.data for wish in claim.wishes] == [None, None]


def test_a_node_wishes_for_what_it_had() -> None:
    me = node("a", "10.244.7.0/24")
    claim = make_claim(ME, parse_network(DUAL % "host-gw"), UPLINK, named=(), me=me, ttl_s=60)
    assert [wish.subnet for wish in claim.wishes] == [ip_network("10.244.7.0/24"), None]


DRAINS = """{"Network": "10.8.0.0/16", "Networks": [{"Network": "10.244.0.0/16", "Drain": true}],
             "EnableIPv6": true, "IPv6Network": "fd00::/48", "Backend": {"Type": "host-gw"}}"""


@pytest.mark.parametrize(
    ("network", "subnet", "unused", "leaves"),
    [
        pytest.param(DRAINS, "10.244.7.0/24", DUAL_STACK, [True, False], id="empty and drained"),
        pytest.param(DRAINS, "10.244.7.0/24", (Family.IPV6,), [False, False], id="pods in it"),
        pytest.param(DRAINS, "10.8.7.0/24", DUAL_STACK, [False, False], id="does not drain"),
        pytest.param(DRAINS, None, DUAL_STACK, [False, False], id="no lease yet"),
        pytest.param(
            DUAL % "host-gw", "10.244.7.0/24", DUAL_STACK, [False, False], id="nothing drains"
        ),
    ],
)
def test_a_node_leaves_what_is_drained_when_no_pod_is_there(
    network: str, subnet: str | None, unused: tuple[Family, ...], leaves: list[bool]
) -> None:
    me = None if subnet is None else node("a", subnet)
    parsed = parse_network(network)
    claim = make_claim(ME, parsed, UPLINK, named=(), me=me, ttl_s=60, unused=unused)
    assert [wish.leave for wish in claim.wishes] == leaves
    assert [str(wish.subnet) for wish in claim.wishes] == [str(subnet), "None"]


def test_an_uplink_without_the_network_s_family() -> None:
    uplink = Uplink(dev="eth0", mtu=1500, addresses=UPLINK.addresses[:2])
    with pytest.raises(ConfigError, match="IPv6"):
        make_claim(ME, parse_network(DUAL % "vxlan"), uplink, named=(), me=None, ttl_s=60)


# --- keeping it ---------------------------------------------------------------------------------


class ScriptedStore:
    """The two calls that the keeper makes; what they do is said by a test."""

    def __init__(self) -> None:
        self.claims: list[tuple[float, Claim]] = []
        self.renewals: list[float] = []
        self.on_claim: Callable[[Claim], Node] = granted
        self.on_renew: Callable[[], None] = lambda: None
        self.takes_s = 0.0

    async def claim(self, claim: Claim) -> Node:
        self.claims.append((asyncio.get_running_loop().time(), claim))
        await asyncio.sleep(self.takes_s)
        return self.on_claim(claim)

    async def renew(self, name: str) -> None:
        assert name == "a"
        self.renewals.append(asyncio.get_running_loop().time())
        self.on_renew()

    def times(self) -> list[float]:
        return [moment for moment, _ in self.claims]


class Bench:
    """A keeper, its store, what it is told to want, and for how long its machine slept."""

    def __init__(self, ttl_s: int) -> None:
        self.store = ScriptedStore()
        self.wanted: Claim | None = wish_for("192.0.2.1")
        self.granted: list[Node] = []
        self.suspended_s = 0.0
        self.keeper = LeaseKeeper(
            cast("Store", self.store),  # only these two calls are made
            lambda: self.wanted,
            self.granted.append,
            ttl_s,
            get_log("test"),
            clock=lambda: asyncio.get_running_loop().time() + self.suspended_s,
        )

    def want(self, claim: Claim | None) -> None:
        self.wanted = claim
        self.keeper.look_again()


def wish_for(
    public_ip: str, backend: str = "host-gw", subnet: str | None = None, *, leave: bool = False
) -> Claim:
    wanted, address = None if subnet is None else ip_network(subnet), ip_address(public_ip)
    wish = Wish(family=Family.IPV4, public_ip=address, subnet=wanted, leave=leave)
    return Claim(name="a", backend=backend, wishes=(wish,))


def granted(claim: Claim) -> Node:
    (wish,) = claim.wishes
    lease = Lease(subnet=wish.subnet or ip_network("10.244.1.0/24"), public_ip=wish.public_ip)
    return Node(name=claim.name, backend=claim.backend, leases=(lease,))


def raising(error: StoreError) -> Callable[..., Node]:
    def refuse(*_: object) -> Node:
        raise error

    return refuse


@contextlib.asynccontextmanager
async def keeping(ttl_s: int = 86400) -> AsyncIterator[Bench]:
    bench = Bench(ttl_s)
    task = asyncio.create_task(bench.keeper.run())
    try:
        yield bench
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


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
