"""Flannel's keys in a real etcd: what a flanneld wrote is read, taken over, and written the same.

The values are the golden files of ``tests/unit/store``; etcdctl puts and reads them.
"""

import asyncio
import itertools
import logging
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from hub.clients import next_event
from hub.hub_process import run_scenario
from podway.model.addresses import Family
from podway.model.nodes import Claim, Node, VtepData, Wish
from podway.store.etcd import EtcdStore
from podway.store.protocol import ClaimRefused, Delta, Snapshot
from store.etcd_process import EtcdProcess
from store.test_contract import current

GOLDEN = Path(__file__).parent.parent / "unit" / "store" / "golden"
MAC = "c6:d2:32:6f:8f:44"
CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}'
_numbers = itertools.count()


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@pytest.fixture
def prefix(etcd: EtcdProcess) -> str:
    """Of a network that has a configuration and nothing else."""
    prefix = f"/flannel/{next(_numbers)}"
    etcd.put(f"{prefix}/config", CONFIG)
    return prefix


def golden(name: str) -> tuple[str, str]:
    key, value = (GOLDEN / f"{name}.lease").read_text().splitlines()
    return key, value


def claim(name: str, address: str, *, mac: str = MAC, ttl_s: int = 3600) -> Claim:
    data = VtepData(vni=1, mac=mac)
    wish = Wish(family=Family.IPV4, public_ip=ip_address(address), data=data)
    return Claim(name=name, backend="vxlan", wishes=(wish,), ttl_s=ttl_s)


def grant(etcd: EtcdProcess, ttl_s: int) -> str:
    """Make an etcd lease as flanneld does; return its number as etcdctl writes it."""
    return etcd.ctl("lease", "grant", str(ttl_s)).split()[1]


def leases(etcd: EtcdProcess) -> set[str]:
    return set(etcd.ctl("lease", "list").split()) - {"found", "leases"}


def subnets(node: Node) -> list[str]:
    return [str(lease.subnet) for lease in node.leases]


def test_nodes_of_flannel_are_peers(etcd: EtcdProcess, prefix: str) -> None:
    for name in ("vxlan", "host-gw"):
        key, value = golden(name)
        etcd.put(f"{prefix}/subnets/{key}", value)

    async def scenario() -> None:
        store = etcd.open_store(prefix)
        events = store.watch()
        snapshot = await next_event(events, Snapshot)
        assert {node.name: node.backend for node in snapshot.nodes} == {
            "10.5.52.0-24": "vxlan",
            "10.5.53.0-24": "host-gw",
        }
        etcd.ctl("del", f"{prefix}/subnets/10.5.53.0-24")
        await current(events, "10.5.53.0-24", None)
        await store.close()

    run_scenario(scenario)


def test_what_podway_writes_is_what_flannel_writes(etcd: EtcdProcess, prefix: str) -> None:
    key, value = golden("vxlan")

    async def scenario() -> None:
        store = etcd.open_store(prefix)
        wish = Wish(
            family=Family.IPV4,
            public_ip=ip_address("192.168.64.3"),
            data=VtepData(vni=1, mac=MAC),
            subnet=ip_network("10.5.52.0/24"),
        )
        await store.claim(Claim(name="n1", backend="vxlan", wishes=(wish,)))
        await store.close()

    run_scenario(scenario)
    found = etcd.keys(f"{prefix}/subnets")
    assert {name: text for name, (text, _) in found.items()} == {f"{prefix}/subnets/{key}": value}
    assert etcd.keys(f"{prefix}/podway") == {
        f"{prefix}/podway/nodes/n1": (
            '{"Key":"10.5.52.0-24","PublicIP":"192.168.64.3"}',
            found[f"{prefix}/subnets/{key}"][1],
        )
    }
    lease = f"{found[f'{prefix}/subnets/{key}'][1]:016x}"
    assert "granted with TTL(86400s)" in etcd.ctl("lease", "timetolive", lease)


def test_a_node_is_taken_over_from_flannel(etcd: EtcdProcess, prefix: str) -> None:
    """It keeps its subnet and its etcd lease, and every watcher sees one node, never two."""
    key, value = golden("vxlan")
    lease = grant(etcd, 86400)
    etcd.ctl("put", f"--lease={lease}", f"{prefix}/subnets/{key}", value)

    async def scenario() -> None:
        agent, peer = etcd.open_store(prefix), etcd.open_store(prefix)
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
    assert etcd.keys(f"{prefix}/subnets/{key}") == {
        f"{prefix}/subnets/{key}": (value, int(lease, 16))
    }


def test_a_flanneld_takes_the_node_back(etcd: EtcdProcess, prefix: str) -> None:
    """It grants a lease of its own and puts its key anew; the next claim takes that over again."""

    async def scenario() -> None:
        store = etcd.open_store(prefix)
        node = await store.claim(claim("n1", "192.168.64.3"))
        key = subnets(node)[0].replace("/", "-")
        etcd.ctl(
            "put", f"--lease={grant(etcd, 86400)}", f"{prefix}/subnets/{key}", golden("vxlan")[1]
        )
        assert await store.claim(claim("n1", "192.168.64.3")) == node
        await store.renew("n1")
        await store.close()

    run_scenario(scenario)


def test_names_follow_the_lease(etcd: EtcdProcess, prefix: str) -> None:
    """A name holds as long as the lease has the address; then it is a stranger's."""

    async def scenario() -> None:
        store = etcd.open_store(prefix)
        events = store.watch()
        await next_event(events, Snapshot)
        node = await store.claim(claim("n1", "192.168.64.3"))
        await current(events, "n1", node)
        key = subnets(node)[0].replace("/", "-")
        etcd.put(
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


def test_a_key_without_a_lease_stays_without(etcd: EtcdProcess, prefix: str) -> None:
    key, value = golden("vxlan")
    etcd.put(f"{prefix}/subnets/{key}", value)

    async def scenario() -> None:
        store = etcd.open_store(prefix)
        before = leases(etcd)
        node = await store.claim(claim("n1", "192.168.64.3", mac="02:00:00:00:00:01"))
        assert subnets(node) == ["10.5.52.0/24"]
        await store.renew("n1")
        assert leases(etcd) == before
        (status,) = await store.list_nodes()
        assert (status.ttl_s, status.expires_in_s) == (0, None)
        await store.close()

    run_scenario(scenario)
    text, lease = etcd.keys(f"{prefix}/subnets/{key}")[f"{prefix}/subnets/{key}"]
    assert (text, lease) == (value.replace(MAC, "02:00:00:00:00:01"), 0)


def test_a_reservation_for_an_address_is_flannels(etcd: EtcdProcess, prefix: str) -> None:
    async def scenario() -> None:
        store = etcd.open_store(prefix)
        await store.reserve("192.168.64.9", [ip_network("10.5.9.0/24")])
        assert etcd.keys(f"{prefix}/subnets") == {
            f"{prefix}/subnets/10.5.9.0-24": ('{"PublicIP":"192.168.64.9","PublicIPv6":null}', 0)
        }
        node = await store.claim(claim("n9", "192.168.64.9"))
        assert subnets(node) == ["10.5.9.0/24"]
        await store.release("n9")
        with pytest.raises(ClaimRefused):
            await store.reserve("192.168.64.9", [ip_network("fd00::/64")])
        await store.close()

    run_scenario(scenario)


def test_a_lease_that_lives_is_made_to_stay(etcd: EtcdProcess, prefix: str) -> None:
    async def scenario() -> None:
        store = etcd.open_store(prefix)
        node = await store.claim(claim("n1", "192.168.64.3"))
        await store.reserve("192.168.64.3", [node.leases[0].subnet])
        assert await store.claim(claim("n1", "192.168.64.3")) == node
        (status,) = await store.list_nodes()
        assert (status.node, status.ttl_s) == (node, 0)
        await store.close()

    run_scenario(scenario)


def test_what_others_wrote_wrongly_is_passed_over(
    etcd: EtcdProcess, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    key, value = golden("vxlan")
    etcd.put(f"{prefix}/subnets/{key}", value)
    etcd.put(f"{prefix}/subnets/10.5.60.0-24", '{"PublicIP":"')
    etcd.put(f"{prefix}/subnets/nonsense", value)
    etcd.put(f"{prefix}/podway/nodes/n7", "nonsense")
    etcd.put(f"{prefix}/podway/reservations/n7", "nonsense")
    etcd.put(f"{prefix}/podway/ipv6/nonsense", "n7")
    etcd.put(f"{prefix}/something/else", "")

    async def scenario() -> None:
        store = etcd.open_store(prefix)
        events = store.watch()
        snapshot = await next_event(events, Snapshot)
        assert [node.name for node in snapshot.nodes] == [key]
        assert (store.counts.malformed, store.counts.passed_over) == (5, 5)
        etcd.put(f"{prefix}/subnets/10.5.61.0-24", "[]")
        etcd.put(f"{prefix}/subnets/10.5.60.0-24", value)
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


def test_overlapping_leases_of_others(etcd: EtcdProcess, prefix: str) -> None:
    """Nothing of what either might use is given away."""
    value = golden("vxlan")[1]
    etcd.put(f"{prefix}/config", '{"Network":"10.5.0.0/21","Backend":{"Type":"vxlan"}}')
    etcd.put(f"{prefix}/subnets/10.5.2.0-24", value)
    etcd.put(f"{prefix}/subnets/10.5.2.0-23", value.replace("64.3", "64.4"))
    etcd.put(f"{prefix}/subnets/10.5.4.0-22", value.replace("64.3", "64.5"))

    async def scenario() -> None:
        store = etcd.open_store(prefix)
        node = await store.claim(claim("n1", "192.168.64.100"))
        assert subnets(node) == ["10.5.1.0/24"]
        with pytest.raises(ClaimRefused):
            await store.claim(claim("n2", "192.168.64.101"))
        await store.close()

    run_scenario(scenario)


def test_a_lease_of_the_old_network_is_given_up(etcd: EtcdProcess, prefix: str) -> None:
    """As flannel does when the network is cut anew: the key that does not fit goes."""
    etcd.put(f"{prefix}/subnets/10.5.52.0-24", golden("vxlan")[1])
    etcd.put(f"{prefix}/config", '{"Network":"10.6.0.0/16","Backend":{"Type":"vxlan"}}')

    async def scenario() -> None:
        store = etcd.open_store(prefix)
        node = await store.claim(claim("n1", "192.168.64.3"))
        assert node.leases[0].subnet.subnet_of(ip_network("10.6.0.0/16"))  # type: ignore[arg-type]
        assert [status.node for status in await store.list_nodes()] == [node]
        await store.close()

    run_scenario(scenario)


def test_a_second_family_for_a_network_that_runs(etcd: EtcdProcess, prefix: str) -> None:
    async def scenario() -> None:
        store = etcd.open_store(prefix)
        node = await store.claim(claim("n1", "192.168.64.3"))
        etcd.put(
            f"{prefix}/config",
            '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48",'
            '"Backend":{"Type":"vxlan"}}',
        )
        data = VtepData(vni=1, mac="b2:83:0a:2f:61:09")
        ipv6 = Wish(family=Family.IPV6, public_ip=ip_address("fd00:64::3"), data=data)
        one = claim("n1", "192.168.64.3")
        both = Claim(name="n1", backend="vxlan", wishes=(*one.wishes, ipv6), ttl_s=3600)
        grown = await store.claim(both)
        assert grown.leases[0] == node.leases[0]
        assert len(grown.leases) == 2
        keys = [key.rpartition("/")[2] for key in etcd.keys(f"{prefix}/subnets/")]
        assert keys == ["&".join(text.replace("/", "-") for text in subnets(grown))]
        assert [status.node for status in await store.list_nodes()] == [grown]
        await store.release("n1")
        assert list(etcd.keys(f"{prefix}/")) == [f"{prefix}/config"]
        await store.close()

    run_scenario(scenario)


def test_a_network_that_goes_and_comes(etcd: EtcdProcess, prefix: str) -> None:
    async def scenario() -> None:
        store = etcd.open_store(prefix)
        events = store.watch()
        assert (await next_event(events, Snapshot)).network is not None
        etcd.ctl("del", f"{prefix}/config")
        assert (await next_event(events, Snapshot)).network is None
        etcd.put(f"{prefix}/config", '{"Network":"nonsense"}')
        delta = await next_event(events, Delta)
        assert delta.network is None
        assert "Network" in delta.network_error
        with pytest.raises(ClaimRefused):
            await store.claim(claim("n1", "192.168.64.3"))
        etcd.put(f"{prefix}/config", CONFIG)
        assert (await next_event(events, Delta)).network is not None
        await store.close()

    run_scenario(scenario)


def test_a_network_without_a_backend_is_udp_as_flanneld_has_it(
    etcd: EtcdProcess, prefix: str
) -> None:
    etcd.put(f"{prefix}/config", '{"Network": "10.5.0.0/16"}')

    async def scenario() -> None:
        store = etcd.open_store(prefix)
        events = store.watch()
        network = (await next_event(events, Snapshot)).network
        assert network is not None
        assert network.backend_name == "udp"
        with pytest.raises(ClaimRefused, match="udp"):
            await store.claim(claim("a", "192.0.2.1"))
        await store.close()

    run_scenario(scenario)


def test_nodes_without_a_backend_have_the_networks(etcd: EtcdProcess, prefix: str) -> None:
    key, value = golden("udp")
    etcd.put(f"{prefix}/subnets/{key}", value)

    async def scenario() -> None:
        store = etcd.open_store(prefix)
        events = store.watch()
        (node,) = (await next_event(events, Snapshot)).nodes
        assert node.backend == ""
        etcd.put(f"{prefix}/config", '{"Network":"10.5.0.0/16","Backend":{"Type":"udp"}}')
        delta = await next_event(events, Delta)
        assert [(change.name, change.node and change.node.backend) for change in delta.changes] == [
            (key, "udp")
        ]
        await store.close()

    run_scenario(scenario)


def test_many_nodes_at_once_beside_a_flanneld(etcd: EtcdProcess, prefix: str) -> None:
    """No subnet twice, and few conflicts, although each decides for itself."""
    etcd.put(f"{prefix}/subnets/10.5.52.0-24", golden("vxlan")[1])

    async def scenario() -> None:
        stores = [etcd.open_store(prefix) for _ in range(4)]
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
