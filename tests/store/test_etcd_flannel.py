"""Flannel's keys in a real etcd: what a flanneld wrote is read, taken over, and written the same.

The values are the golden files of ``tests/unit/store``; etcdctl puts and reads them.
"""

import asyncio
import logging
from ipaddress import ip_address, ip_network

import pytest

from hub.clients import next_event
from hub.hub_process import run_scenario
from podway.model.addresses import Family
from podway.model.nodes import Claim, Node, VtepData, Wish
from podway.store.etcd import EtcdStore
from podway.store.protocol import ClaimRefused, Delta, Snapshot
from store.etcd_process import EtcdProcess
from store.flannel_nodes import MAC, claim, golden, subnets
from store.streams import current


def grant(shared: EtcdProcess, ttl_s: int) -> str:
    """Make an etcd lease as flanneld does; return its number as etcdctl writes it."""
    return shared.ctl("lease", "grant", str(ttl_s)).split()[1]


def leases(shared: EtcdProcess) -> set[str]:
    return set(shared.ctl("lease", "list").split()) - {"found", "leases"}


def test_nodes_of_flannel_are_peers(shared: EtcdProcess, prefix: str) -> None:
    for name in ("vxlan", "host-gw"):
        key, value = golden(name)
        shared.put(f"{prefix}/subnets/{key}", value)

    async def scenario() -> None:
        store = shared.open_store(prefix)
        events = store.watch()
        snapshot = await next_event(events, Snapshot)
        assert {node.name: node.backend for node in snapshot.nodes} == {
            "10.5.52.0-24": "vxlan",
            "10.5.53.0-24": "host-gw",
        }
        shared.ctl("del", f"{prefix}/subnets/10.5.53.0-24")
        await current(events, "10.5.53.0-24", None)
        await store.close()

    run_scenario(scenario)


def test_what_podway_writes_is_what_flannel_writes(shared: EtcdProcess, prefix: str) -> None:
    key, value = golden("vxlan")

    async def scenario() -> None:
        store = shared.open_store(prefix)
        wish = Wish(
            family=Family.IPV4,
            public_ip=ip_address("192.168.64.3"),
            data=VtepData(vni=1, mac=MAC),
            subnet=ip_network("10.5.52.0/24"),
        )
        await store.claim(Claim(name="n1", backend="vxlan", wishes=(wish,)))
        await store.close()

    run_scenario(scenario)
    found = shared.keys(f"{prefix}/subnets")
    assert {name: text for name, (text, _) in found.items()} == {f"{prefix}/subnets/{key}": value}
    assert shared.keys(f"{prefix}/podway") == {
        f"{prefix}/podway/nodes/n1": (
            '{"Key":"10.5.52.0-24","PublicIP":"192.168.64.3"}',
            found[f"{prefix}/subnets/{key}"][1],
        )
    }
    lease = f"{found[f'{prefix}/subnets/{key}'][1]:016x}"
    assert "granted with TTL(86400s)" in shared.ctl("lease", "timetolive", lease)


def test_a_node_is_taken_over_from_flannel(shared: EtcdProcess, prefix: str) -> None:
    """It keeps its subnet and its etcd lease, and every watcher sees one node, never two."""
    key, value = golden("vxlan")
    lease = grant(shared, 86400)
    shared.ctl("put", f"--lease={lease}", f"{prefix}/subnets/{key}", value)

    async def scenario() -> None:
        agent, peer = shared.open_store(prefix), shared.open_store(prefix)
        mine, others = agent.watch(), peer.watch()
        for events in (mine, others):
            assert [node.name for node in (await next_event(events, Snapshot)).nodes] == [key]
        taken = claim("n1", "192.168.64.3", ttl_s=86400)
        node = await agent.claim(taken)
        assert subnets(node) == ["10.5.52.0/24"]
        # Before anything else can happen the agent hears that the flanneld's node is itself.
        delta = await next_event(mine, Delta)
        assert {change.name: change.node for change in delta.changes} == {key: None, "n1": node}
        await current(others, "n1", node)
        await agent.close()
        await peer.close()

    run_scenario(scenario)
    assert shared.keys(f"{prefix}/subnets/{key}") == {
        f"{prefix}/subnets/{key}": (value, int(lease, 16))
    }


def test_a_flanneld_takes_the_node_back(shared: EtcdProcess, prefix: str) -> None:
    """It grants a lease of its own and puts its key anew; the next claim takes that over again."""

    async def scenario() -> None:
        store = shared.open_store(prefix)
        node = await store.claim(claim("n1", "192.168.64.3"))
        key = subnets(node)[0].replace("/", "-")
        shared.ctl(
            "put", f"--lease={grant(shared, 86400)}", f"{prefix}/subnets/{key}", golden("vxlan")[1]
        )
        assert await store.claim(claim("n1", "192.168.64.3")) == node
        await store.renew("n1")
        await store.close()

    run_scenario(scenario)


def test_names_follow_the_lease(shared: EtcdProcess, prefix: str) -> None:
    """A name holds as long as the lease has the address; then it is a stranger's."""

    async def scenario() -> None:
        store = shared.open_store(prefix)
        events = store.watch()
        await next_event(events, Snapshot)
        node = await store.claim(claim("n1", "192.168.64.3"))
        await current(events, "n1", node)
        key = subnets(node)[0].replace("/", "-")
        shared.put(
            f"{prefix}/subnets/{key}",
            golden("vxlan")[1].replace("192.168.64.3", "192.168.64.200"),
        )
        await current(events, "n1", None)
        again = await store.claim(claim("n1", "192.168.64.3"))
        assert subnets(again) != subnets(node)
        await current(events, "n1", again)
        assert {status.node.name for status in await store.list_nodes()} == {"n1", key}
        await store.close()

    run_scenario(scenario)


def test_a_key_without_a_lease_stays_without(shared: EtcdProcess, prefix: str) -> None:
    key, value = golden("vxlan")
    shared.put(f"{prefix}/subnets/{key}", value)

    async def scenario() -> None:
        store = shared.open_store(prefix)
        before = leases(shared)
        node = await store.claim(claim("n1", "192.168.64.3", mac="02:00:00:00:00:01"))
        assert subnets(node) == ["10.5.52.0/24"]
        await store.renew("n1")
        assert leases(shared) == before
        (status,) = await store.list_nodes()
        assert (status.ttl_s, status.expires_in_s) == (0, None)
        await store.close()

    run_scenario(scenario)
    text, lease = shared.keys(f"{prefix}/subnets/{key}")[f"{prefix}/subnets/{key}"]
    assert (text, lease) == (value.replace(MAC, "02:00:00:00:00:01"), 0)


def test_a_reservation_for_an_address_is_flannels(shared: EtcdProcess, prefix: str) -> None:
    async def scenario() -> None:
        store = shared.open_store(prefix)
        await store.reserve("192.168.64.9", [ip_network("10.5.9.0/24")])
        assert shared.keys(f"{prefix}/subnets") == {
            f"{prefix}/subnets/10.5.9.0-24": ('{"PublicIP":"192.168.64.9","PublicIPv6":null}', 0)
        }
        node = await store.claim(claim("n9", "192.168.64.9"))
        assert subnets(node) == ["10.5.9.0/24"]
        await store.release("n9")
        with pytest.raises(ClaimRefused):
            await store.reserve("192.168.64.9", [ip_network("fd00::/64")])
        await store.close()

    run_scenario(scenario)


def test_a_lease_that_lives_is_made_to_stay(shared: EtcdProcess, prefix: str) -> None:
    async def scenario() -> None:
        store = shared.open_store(prefix)
        node = await store.claim(claim("n1", "192.168.64.3"))
        await store.reserve("192.168.64.3", [node.leases[0].subnet])
        assert await store.claim(claim("n1", "192.168.64.3")) == node
        (status,) = await store.list_nodes()
        assert (status.node, status.ttl_s) == (node, 0)
        await store.close()

    run_scenario(scenario)


def test_what_others_wrote_wrongly_is_passed_over(
    shared: EtcdProcess, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    key, value = golden("vxlan")
    shared.put(f"{prefix}/subnets/{key}", value)
    shared.put(f"{prefix}/subnets/10.5.60.0-24", '{"PublicIP":"')
    shared.put(f"{prefix}/subnets/nonsense", value)
    shared.put(f"{prefix}/podway/nodes/n7", "nonsense")
    shared.put(f"{prefix}/podway/reservations/n7", "nonsense")
    shared.put(f"{prefix}/podway/ipv6/nonsense", "n7")
    shared.put(f"{prefix}/something/else", "")

    async def scenario() -> None:
        store = shared.open_store(prefix)
        events = store.watch()
        snapshot = await next_event(events, Snapshot)
        assert [node.name for node in snapshot.nodes] == [key]
        assert (store.counts.malformed, store.counts.passed_over) == (5, 5)
        shared.put(f"{prefix}/subnets/10.5.61.0-24", "[]")
        shared.put(f"{prefix}/subnets/10.5.60.0-24", value)
        await current(events, "10.5.60.0-24", (await node_at(store, "10.5.60.0-24")))
        assert (store.counts.malformed, store.counts.passed_over) == (5, 6)
        # What cannot be read is taken all the same: nobody is given its subnet.
        wish = Wish(
            family=Family.IPV4,
            public_ip=ip_address("192.168.64.99"),
            data=VtepData(vni=1, mac=MAC),
            subnet=ip_network("10.5.61.0/24"),
        )
        node = await store.claim(Claim(name="n1", backend="vxlan", wishes=(wish,)))
        assert subnets(node) != ["10.5.61.0/24"]
        await store.close()

    async def node_at(store: EtcdStore, name: str) -> Node:
        return next(each.node for each in await store.list_nodes() if each.node.name == name)

    with caplog.at_level(logging.WARNING, "podway.store.etcd"):
        run_scenario(scenario)
    passed_over = [record.__dict__["fields"]["key"] for record in caplog.records]
    assert passed_over == [
        f"{prefix}/podway/ipv6/nonsense",
        f"{prefix}/podway/nodes/n7",
        f"{prefix}/podway/reservations/n7",
        f"{prefix}/subnets/10.5.60.0-24",
        f"{prefix}/subnets/nonsense",
        f"{prefix}/subnets/10.5.61.0-24",
    ]


@pytest.mark.parametrize("key", ["0.0.0.0-0", "10.0.0.0-8", "10.5.0.0-16"])
def test_a_key_that_takes_everything_takes_nothing(
    shared: EtcdProcess, prefix: str, key: str
) -> None:
    """Whether its value can be read or not: nodes join, and those that are there stay."""
    value = golden("vxlan")[1]

    async def scenario() -> None:
        store = shared.open_store(prefix)
        before = await store.claim(claim("n1", "192.168.64.100"))
        for content in (value, "nonsense"):
            shared.put(f"{prefix}/subnets/{key}", content)
            shared.put(f"{prefix}/podway/reservations/n7", '{"Subnets":["0.0.0.0/0"]}')
            again = shared.open_store(prefix)
            assert await again.claim(claim("n1", "192.168.64.100")) == before
            node = await again.claim(claim("n2", "192.168.64.101"))
            assert subnets(node) not in ([], subnets(before))
            await again.release("n2")
            await again.close()
        await store.close()

    run_scenario(scenario)


def test_overlapping_leases_of_others(shared: EtcdProcess, prefix: str) -> None:
    """Nothing of what either might use is given away."""
    value = golden("vxlan")[1]
    shared.put(f"{prefix}/config", '{"Network":"10.5.0.0/21","Backend":{"Type":"vxlan"}}')
    shared.put(f"{prefix}/subnets/10.5.2.0-24", value)
    shared.put(f"{prefix}/subnets/10.5.2.0-23", value.replace("64.3", "64.4"))
    shared.put(f"{prefix}/subnets/10.5.4.0-22", value.replace("64.3", "64.5"))

    async def scenario() -> None:
        store = shared.open_store(prefix)
        node = await store.claim(claim("n1", "192.168.64.100"))
        assert subnets(node) == ["10.5.1.0/24"]
        with pytest.raises(ClaimRefused):
            await store.claim(claim("n2", "192.168.64.101"))
        await store.close()

    run_scenario(scenario)


def test_many_nodes_at_once_beside_a_flanneld(shared: EtcdProcess, prefix: str) -> None:
    """No subnet twice, and few conflicts, although each decides for itself."""
    shared.put(f"{prefix}/subnets/10.5.52.0-24", golden("vxlan")[1])

    async def scenario() -> None:
        stores = [shared.open_store(prefix) for _ in range(4)]
        nodes = await asyncio.gather(
            *(stores[n % 4].claim(claim(f"n{n}", f"192.168.65.{n}")) for n in range(1, 101))
        )
        found = {lease.subnet for node in nodes for lease in node.leases}
        assert len(found) == 100
        assert ip_network("10.5.52.0/24") not in found
        # One to read, one for an etcd lease, one to claim, and some again.
        assert sum(store.counts.requests for store in stores) < 100 * 5
        for store in stores:
            await store.close()

    run_scenario(scenario)
