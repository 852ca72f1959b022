"""What every engine promises, whatever is behind it: the `Store` and `AdminStore` protocols."""

import asyncio
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network

import pytest

from hub.clients import claim, next_event
from hub.hub_process import run_scenario
from podway.model.addresses import Family, derive_mac
from podway.model.nodes import Claim, Node, VtepData, Wish
from podway.store.protocol import (
    AdminStore,
    Change,
    ClaimRefused,
    Delta,
    LeaseLost,
    Snapshot,
    StoreAway,
)
from podway.store.refusals import Conflict, ValueRefused
from store.backings import BACKINGS, NET, Backing
from store.streams import current

DUAL = (
    '{"Network": "10.9.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:9::/48",'
    ' "Backend": {"Type": "vxlan"}}'
)


@pytest.fixture(scope="module", params=list(BACKINGS))
def server(request: pytest.FixtureRequest) -> Iterator[Callable[[], Backing]]:
    with BACKINGS[request.param]() as backing:
        yield backing


@pytest.fixture
def backing(server: Callable[[], Backing]) -> Backing:
    return server()


def dual_claim(name: str, number: int, subnets: tuple[str, str] | None = None) -> Claim:
    def wish(family: Family, address: str, index: int) -> Wish:
        return Wish(
            family=family,
            public_ip=ip_address(address),
            data=VtepData(vni=1, mac=derive_mac(name, family.label)),
            subnet=ip_network(subnets[index]) if subnets else None,
        )

    return Claim(
        name=name,
        backend="vxlan",
        wishes=(
            wish(Family.IPV4, f"198.18.0.{number}", 0),
            wish(Family.IPV6, f"2001:db8::{number:x}", 1),
        ),
        ttl_s=3600,
    )


def test_a_node_joins_and_leaves(backing: Backing) -> None:
    async def scenario() -> None:
        admin, agent = backing.open(), backing.open()
        await admin.put_network(NET)
        events = agent.watch()
        snapshot = await next_event(events, Snapshot)
        assert snapshot.nodes == ()
        assert snapshot.network is not None
        assert snapshot.network.backend_name == "host-gw"
        node = await admin.claim(claim("a", 1))
        assert (node.name, node.backend) == ("a", "host-gw")
        assert node.leases[0].subnet.subnet_of(ip_network("10.9.0.0/16"))  # type: ignore[arg-type]
        assert str(node.leases[0].public_ip) == "198.18.0.1"
        await current(events, "a", node)
        await admin.release("a")
        await current(events, "a", None)
        await admin.release("a")
        with pytest.raises(LeaseLost):
            await admin.renew("a")
        await admin.close()
        await agent.close()

    run_scenario(scenario)


def test_an_own_claim_is_seen_by_the_own_watch(backing: Backing) -> None:
    async def scenario() -> None:
        store = backing.open()
        await store.put_network(NET)
        events = store.watch()
        await next_event(events, Snapshot)
        node = await store.claim(claim("a", 1))
        await current(events, "a", node)
        moved = await store.claim(claim("a", 2))
        assert moved.leases[0].subnet == node.leases[0].subnet
        assert str(moved.leases[0].public_ip) == "198.18.0.2"
        await current(events, "a", moved)
        await store.close()

    run_scenario(scenario)


def test_renewals_and_repeated_claims_are_no_events(backing: Backing) -> None:
    async def scenario() -> None:
        store = backing.open()
        await store.put_network(NET)
        first = await store.claim(claim("a", 1))
        events = store.watch()
        assert (await next_event(events, Snapshot)).nodes == (first,)
        await store.renew("a")
        assert await store.claim(claim("a", 1)) == first
        other = await store.claim(claim("b", 2))
        delta = await next_event(events, Delta)
        assert set(delta.changes) - {Change("b", other)} <= {
            Change(change.name, None) for change in delta.changes
        }
        assert "a" not in {change.name for change in delta.changes}
        await store.close()

    run_scenario(scenario)


def test_nobody_gets_what_another_has(backing: Backing) -> None:
    async def scenario() -> None:
        stores = [backing.open() for _ in range(4)]
        await stores[0].put_network('{"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}}')
        nodes = await asyncio.gather(*(stores[n % 4].claim(claim(f"n{n}", n)) for n in range(60)))
        assert len({lease.subnet for node in nodes for lease in node.leases}) == 60
        assert {status.node for status in await stores[0].list_nodes()} == set(nodes)
        for store in stores:
            await store.close()

    run_scenario(scenario)


def test_the_last_subnets_go_to_whoever_is_first(backing: Backing) -> None:
    async def scenario() -> None:
        store = backing.open()
        await store.put_network('{"Network": "10.9.0.0/21", "Backend": {"Type": "host-gw"}}')
        results = await asyncio.gather(
            *(store.claim(claim(f"n{n}", n)) for n in range(12)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, ClaimRefused)]
        nodes = [result for result in results if isinstance(result, Node)]
        assert (len(refused), len(nodes)) == (12 - 7, 7)
        assert len({lease.subnet for node in nodes for lease in node.leases}) == 7
        await store.close()

    run_scenario(scenario)


def test_both_families_or_none(backing: Backing) -> None:
    async def scenario() -> None:
        stores = [backing.open(), backing.open()]
        await stores[0].put_network(DUAL)
        nodes = await asyncio.gather(
            *(stores[n % 2].claim(dual_claim(f"n{n}", n)) for n in range(1, 20))
        )
        for family in Family:
            subnets = [lease.subnet for node in nodes if (lease := node.lease(family))]
            assert len(set(subnets)) == len(nodes)
        assert {status.node for status in await stores[0].list_nodes()} == set(nodes)
        with pytest.raises(ClaimRefused):
            await stores[0].claim(claim("one-family", 99))
        for store in stores:
            await store.close()

    run_scenario(scenario)


def test_a_family_alone_is_not_given_twice(backing: Backing) -> None:
    """Two nodes that wish for different IPv4 and the same IPv6 subnets at the same time."""

    async def scenario() -> None:
        stores = [backing.open(), backing.open()]
        await stores[0].put_network(DUAL)
        one, two = await asyncio.gather(
            stores[0].claim(dual_claim("a", 1, ("10.9.1.0/24", "fd00:9:0:7::/64"))),
            stores[1].claim(dual_claim("b", 2, ("10.9.2.0/24", "fd00:9:0:7::/64"))),
        )
        assert one.leases[1].subnet != two.leases[1].subnet
        for store in stores:
            await store.close()

    run_scenario(scenario)


def test_a_wish_is_granted_while_it_is_free(backing: Backing) -> None:
    async def scenario() -> None:
        store = backing.open()
        await store.put_network(DUAL)
        wish = ("10.9.77.0/24", "fd00:9:0:77::/64")
        node = await store.claim(dual_claim("a", 1, wish))
        assert tuple(str(lease.subnet) for lease in node.leases) == wish
        other = await store.claim(dual_claim("b", 2, wish))
        assert not {lease.subnet for lease in node.leases} & {each.subnet for each in other.leases}
        again = await store.claim(dual_claim("a", 1))
        assert again == node
        await store.close()

    run_scenario(scenario)


def test_public_addresses_are_their_nodes(backing: Backing) -> None:
    async def scenario() -> None:
        store = backing.open()
        await store.put_network(NET)
        await store.claim(claim("a", 1))
        with pytest.raises(ClaimRefused):
            await store.claim(claim("b", 1))
        with pytest.raises(ClaimRefused):
            await store.claim(Claim(name="b", backend="vxlan", wishes=claim("b", 2).wishes))
        await store.close()

    run_scenario(scenario)


def test_no_network_no_lease(backing: Backing) -> None:
    async def scenario() -> None:
        store = backing.open()
        assert await store.get_network() is None
        with pytest.raises(ClaimRefused):
            await store.claim(claim("a", 1))
        snapshot = await next_event(store.watch(), Snapshot)
        assert (snapshot.network, snapshot.nodes) == (None, ())
        await store.close()

    run_scenario(scenario)


def test_the_network_is_compared_and_swapped(backing: Backing) -> None:
    async def scenario() -> None:
        store = backing.open()
        revision = await store.put_network(NET, expected_revision=0)
        with pytest.raises(Conflict):
            await store.put_network(DUAL, expected_revision=0)
        stored = await store.get_network()
        assert stored is not None
        assert (stored.text, stored.revision) == (NET, revision)
        assert await store.put_network(NET, expected_revision=revision) == revision
        with pytest.raises(ValueRefused):
            await store.put_network('{"Network": "10.9.0.0/16", "SubnetLen": 99}')
        await store.claim(claim("a", 1))
        other = '{"Network": "10.8.0.0/16", "Backend": {"Type": "host-gw"}}'
        with pytest.raises(ValueRefused):
            await store.put_network(other)
        events = store.watch()
        await next_event(events, Snapshot)
        await store.put_network(other, force=True)
        delta = await next_event(events, Delta)
        assert delta.network is not None
        assert str(delta.network.pools[0].prefix) == "10.8.0.0/16"
        node = await store.claim(claim("a", 1))
        assert node.leases[0].subnet.subnet_of(ip_network("10.8.0.0/16"))  # type: ignore[arg-type]
        await current(events, "a", node)
        assert [status.node for status in await store.list_nodes()] == [node]
        await store.close()

    run_scenario(scenario)


def test_a_reservation_is_kept_for_its_node(backing: Backing) -> None:
    async def scenario() -> None:
        store = backing.open()
        await store.put_network('{"Network": "10.9.0.0/21", "Backend": {"Type": "host-gw"}}')
        subnet = ip_network("10.9.3.0/24")
        await store.reserve("late", [subnet])
        (reservation,) = await store.list_reservations()
        assert (reservation.name, reservation.subnets) == ("late", (subnet,))
        with pytest.raises(ClaimRefused):
            await store.reserve("other", [subnet])
        with pytest.raises(ClaimRefused):
            await store.reserve("other", [ip_network("10.77.0.0/24")])
        for number in range(6):
            node = await store.claim(claim(f"n{number}", number))
            assert node.leases[0].subnet != subnet
        with pytest.raises(ClaimRefused):
            await store.claim(claim("too-many", 98))
        assert (await store.claim(claim("late", 99))).leases[0].subnet == subnet
        await store.unreserve("late")
        await store.unreserve("late")
        assert await store.list_reservations() == ()
        assert (await store.claim(claim("late", 99))).leases[0].subnet == subnet
        await store.close()

    run_scenario(scenario)


def test_a_lease_ends_and_its_node_hears_of_it(backing: Backing) -> None:
    async def scenario() -> None:
        store = backing.open()
        await store.put_network(NET)
        events = store.watch()
        await next_event(events, Snapshot)
        node = await store.claim(claim("short", 1, ttl_s=1))
        (status,) = await store.list_nodes()
        assert status.ttl_s == 1
        assert status.expires_in_s is not None
        await current(events, "short", node)
        await current(events, "short", None)
        with pytest.raises(LeaseLost):
            await store.renew("short")
        assert await store.list_nodes() == ()
        await store.close()

    run_scenario(scenario)


def test_a_lease_for_good_never_ends(backing: Backing) -> None:
    async def scenario() -> None:
        store = backing.open()
        await store.put_network(NET)
        node = await store.claim(claim("a", 1, ttl_s=0))
        (status,) = await store.list_nodes()
        assert (status.node, status.ttl_s, status.expires_in_s) == (node, 0, None)
        await store.renew("a")
        await store.close()

    run_scenario(scenario)


def test_a_second_watch_ends_the_first(backing: Backing) -> None:
    """Nobody waits for a stream that nothing fills any more."""

    async def scenario() -> None:
        store = backing.open()
        await store.put_network(NET)
        node = await store.claim(claim("a", 1))
        first, second = store.watch(), store.watch()
        await next_event(first, Snapshot)
        await current(second, "a", node)
        assert [event async for event in first] == []
        await store.close()

    run_scenario(scenario)


def test_what_is_closed_stays_closed(backing: Backing) -> None:
    async def scenario() -> None:
        store: AdminStore = backing.open()
        events = store.watch()
        await next_event(events, Snapshot)
        await store.close()
        assert [event async for event in events] == []
        with pytest.raises(StoreAway):
            await store.claim(claim("a", 1))

    run_scenario(scenario)
