"""An agent whose store is a real etcd, beside nodes of flannel: the kernel follows in any case."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from agent.nodes import Node, new_kernel, routes, running_node, until
from hub.hub_process import run_scenario
from podway.agent.gauges import watch_store
from podway.diff.operations import Verb
from podway.model.kernel import FdbEntry, Key, Neighbour, Route
from store.etcd_process import EtcdProcess

PREFIX = "/coreos.com/network"
CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}'
PEER = (
    '{"PublicIP":"192.0.2.3","PublicIPv6":null,"BackendType":"vxlan",'
    '"BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}'
)
PEER_ROUTE = Key("route", (2, 254, "10.5.52.0/24", 0))


@pytest.fixture
def etcd() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        process.put(f"{PREFIX}/config", CONFIG)
        yield process


def subnet(node: Node) -> str:
    assert node.agent.me is not None
    return str(node.agent.me.leases[0].subnet)


def key_of(node: Node) -> str:
    return f"{PREFIX}/subnets/{subnet(node).replace('/', '-')}"


async def programmed(node: Node, key: Key) -> None:
    await until(lambda: node.found(key) is not None, node.reasons)


async def gone(node: Node, key: Key) -> None:
    await until(lambda: node.found(key) is None, node.reasons)


def test_a_node_of_flannel_becomes_a_peer_and_goes(etcd: EtcdProcess, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_node(tmp_path, etcd.open_store()) as node:
            await node.ready()
            etcd.put(f"{PREFIX}/subnets/10.5.52.0-24", PEER)
            await programmed(node, PEER_ROUTE)
            await node.calm()
            (neighbour,) = node.objects("neighbour")
            assert neighbour == Neighbour("podway.1", ip_address("10.5.52.0"), "c6:d2:32:6f:8f:44")
            (entry,) = node.objects("fdb")
            assert entry == FdbEntry("podway.1", "c6:d2:32:6f:8f:44", ip_address("192.0.2.3"))
            etcd.ctl("del", f"{PREFIX}/subnets/10.5.52.0-24")
            await gone(node, PEER_ROUTE)

    run_scenario(scenario)


def test_a_node_of_flannel_becomes_this_one(etcd: EtcdProcess, tmp_path: Path) -> None:
    """The lease of the flanneld that ran here is taken over; it was never a peer of its own."""
    etcd.put(f"{PREFIX}/subnets/10.5.7.0-24", PEER.replace("192.0.2.3", "192.0.2.1"))

    async def scenario() -> None:
        async with running_node(tmp_path, etcd.open_store()) as node:
            await node.ready()
            assert subnet(node) == "10.5.7.0/24"
            await node.calm()
            assert node.objects("neighbour") == []
            assert not [
                item
                for item in node.objects("route")
                if isinstance(item, Route) and item.dst == ip_network("10.5.7.0/24")
            ]

    run_scenario(scenario)


def test_an_outage_changes_nothing_in_the_kernel(etcd: EtcdProcess, tmp_path: Path) -> None:
    etcd.put(f"{PREFIX}/subnets/10.5.52.0-24", PEER)

    async def scenario() -> None:
        async with running_node(tmp_path, etcd.open_store()) as node:
            await node.ready()
            await programmed(node, PEER_ROUTE)
            await node.calm()
            before = dict(node.kernel.stack.objects)
            etcd.kill()
            await until(lambda: node.agent.watch.state == "away", node.reasons)
            answer = await node.add("pod1")
            assert answer.code == 0
            assert (await node.delete("pod1")).code == 0
            await node.calm()
            assert dict(node.kernel.stack.objects) == before
            etcd.start()
            await until(lambda: node.agent.watch.state == "connected", node.reasons)
            etcd.put(f"{PREFIX}/subnets/10.5.53.0-24", PEER.replace("2.3", "2.4"))
            await programmed(node, Key("route", (2, 254, "10.5.53.0/24", 0)))

    run_scenario(scenario)


def test_a_restart_without_the_store(etcd: EtcdProcess, tmp_path: Path) -> None:
    """From its own disk the node knows its subnet and its peers; the store finds it unchanged."""
    etcd.put(f"{PREFIX}/subnets/10.5.52.0-24", PEER)
    kernel = new_kernel()

    async def scenario() -> None:
        async with running_node(tmp_path, etcd.open_store(), kernel=kernel) as node:
            await node.ready()
            await programmed(node, PEER_ROUTE)
            held, keys = subnet(node), etcd.keys(f"{PREFIX}/")
        etcd.kill()
        async with running_node(tmp_path, etcd.open_store(), kernel=kernel) as node:
            await until(lambda: node.agent.watch.state == "away", node.reasons)
            await until(lambda: node.agent.reconciled, node.reasons)
            assert subnet(node) == held
            assert (await node.add("pod1")).code == 0
            assert node.found(PEER_ROUTE) is not None
            etcd.start()
            await until(lambda: node.agent.watch.state == "connected", node.reasons)
            await node.calm()
            assert subnet(node) == held
            assert etcd.keys(f"{PREFIX}/") == keys

    run_scenario(scenario)


def test_a_lost_lease_is_claimed_again(etcd: EtcdProcess, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_node(tmp_path, etcd.open_store()) as node:
            await node.ready()
            key = key_of(node)
            etcd.ctl("lease", "revoke", f"{etcd.keys(key)[key][1]:x}")
            await until(lambda: key in etcd.keys(key), node.reasons)
            assert key_of(node) == key

    run_scenario(scenario)


def test_a_subnet_given_to_another_is_left_to_it(etcd: EtcdProcess, tmp_path: Path) -> None:
    """A flanneld got it while this node was cut off: the node takes another, and reaches it."""

    async def scenario() -> None:
        async with running_node(tmp_path, etcd.open_store()) as node:
            await node.ready()
            key, held = key_of(node), subnet(node)
            etcd.put(key, PEER)
            await until(lambda: subnet(node) != held, node.reasons)
            await programmed(node, Key("route", (2, 254, held, 0)))
            await node.calm()
            assert etcd.get(key) == PEER

    run_scenario(scenario)


def test_a_key_that_takes_everything_moves_no_packet(etcd: EtcdProcess, tmp_path: Path) -> None:
    for key in ("0.0.0.0-0", "192.0.2.0-25"):  # all there is, and where the nodes are
        etcd.put(f"{PREFIX}/subnets/{key}", PEER)

    async def scenario() -> None:
        async with running_node(tmp_path, etcd.open_store()) as node:
            await node.ready()
            etcd.put(f"{PREFIX}/subnets/10.5.52.0-24", PEER)
            await programmed(node, PEER_ROUTE)
            assert list(routes(node)) == ["10.5.52.0/24"]
            assert sorted(node.agent.desires.skipped) == ["0.0.0.0-0", "192.0.2.0-25"]

    run_scenario(scenario)


def test_what_nobody_can_read_is_in_a_metric(etcd: EtcdProcess, tmp_path: Path) -> None:
    etcd.put(f"{PREFIX}/subnets/10.5.60.0-24", "{")

    async def scenario() -> None:
        store = etcd.open_store()
        async with running_node(tmp_path, store) as node:
            watch_store(store.counts, node.metrics)
            await node.ready()
            lines = node.metrics.render().decode().splitlines()
            assert "podway_store_malformed_entries 1.0" in lines
            assert "podway_store_passed_over 1.0" in lines
            etcd.ctl("del", f"{PREFIX}/subnets/10.5.60.0-24")
            await until(lambda: b"podway_store_malformed_entries 0.0\n" in node.metrics.render())

    run_scenario(scenario)


def test_the_agent_lives_on_a_store_that_refuses(etcd: EtcdProcess, tmp_path: Path) -> None:
    """And gets on as soon as it does not any more."""
    etcd.ctl("user", "add", "root:x")
    etcd.ctl("auth", "enable")

    async def scenario() -> None:
        async with running_node(tmp_path, etcd.open_store()) as node:
            await until(lambda: "user name is empty" in node.agent.watch.reason, node.reasons)
            etcd.ctl("--user=root:x", "auth", "disable")
            await node.ready()

    run_scenario(scenario)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_backup_put_back_loses_no_route(
    etcd: EtcdProcess, tmp_path: Path, *, comes_back: bool
) -> None:
    """Peers that joined after the backup are kept until they are back, or do not come back."""
    backup = tmp_path / "backup.db"
    etcd.ctl("snapshot", "save", str(backup))
    for number in range(20):  # the store goes on for a while
        etcd.put("/elsewhere", str(number))
    etcd.put(f"{PREFIX}/subnets/10.5.52.0-24", PEER)

    async def scenario() -> None:
        async with running_node(tmp_path, etcd.open_store(), store_grace_s=0.5) as node:
            await node.ready()
            await programmed(node, PEER_ROUTE)
            key = key_of(node)
            etcd.kill()
            etcd.restore(backup)
            etcd.start()
            await until(lambda: etcd.get(key) is not None, node.reasons)
            assert node.found(PEER_ROUTE) is not None
            if comes_back:
                etcd.put(f"{PREFIX}/subnets/10.5.52.0-24", PEER)
                await until(lambda: not node.agent.cluster.missing, node.reasons)
                await node.calm()
                assert not [
                    operation
                    for operation in node.kernel.log
                    if (operation.verb, operation.key) == (Verb.DELETE, PEER_ROUTE)
                ]
            else:
                await gone(node, PEER_ROUTE)
            assert key_of(node) == key

    run_scenario(scenario)
