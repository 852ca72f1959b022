"""The uplink changes while the agent runs: MTU, addresses, the device, the way to each peer."""

from ipaddress import ip_interface
from pathlib import Path

from msgspec.structs import replace

from agent.nodes import routes, run, running_node, until
from agent.staged_store import VXLAN, StagedStore, peer, snapshot, staged_node
from hub.hub_process import running_hub
from podway.model.instances import BRIDGE_NAME
from podway.model.kernel import Address, Link, link_key
from podway.model.networks import parse_network

DIRECT = parse_network(
    '{"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan", "DirectRouting": true}}'
)


def test_the_uplink_s_mtu_is_every_path_s(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with staged_node(tmp_path, network=VXLAN) as (_, node):
            assert (await node.call("status"))["mtu"] == {"ipv4": 1450}
            link = node.found(link_key("eth0"))
            assert isinstance(link, Link)
            await node.tamper(node.kernel.tamper_set, replace(link, mtu=1400))
            await until(lambda: getattr(node.found(link_key("podway.1")), "mtu", 0) == 1350)
            await until(lambda: getattr(node.found(link_key(BRIDGE_NAME)), "mtu", 0) == 1350)
            assert (await node.call("status"))["mtu"] == {"ipv4": 1350}
            assert (await node.add("c1")).document["interfaces"][-1]["mtu"] == 1350

    run(scenario)


def test_the_uplink_goes_and_comes(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = StagedStore()
        store.say(snapshot(peer("p", "10.9.7.0/24", "192.0.2.7")))
        async with running_node(tmp_path, store, uplinks=("eth0",)) as node:
            await node.ready()
            await node.tamper(node.kernel.tamper_delete, link_key("eth0"))
            await until(lambda: any("device eth0" in reason for reason in node.reasons()))
            assert routes(node) == {}
            kernel = node.kernel
            await node.tamper(lambda: kernel.add_device("eth0", addresses=("192.0.2.1/24",)))
            await until(lambda: routes(node) == {"10.9.7.0/24": "192.0.2.7"})
            await node.ready()
            assert len(store.claims) == 1

    run(scenario)


def test_another_address_of_the_uplink_is_claimed_and_the_subnet_kept(tmp_path: Path) -> None:
    old, new = (Address("eth0", ip_interface(f"192.0.2.{n}/24")) for n in (1, 40))

    async def scenario() -> None:
        async with running_hub() as hub, running_node(tmp_path, hub.url, uplinks=("eth0",)) as node:
            await node.ready()
            before = node.agent.me
            await node.tamper(node.kernel.tamper_delete, old.key)
            await until(lambda: any("no such address" in reason for reason in node.reasons()))
            assert node.agent.me == before, "what it has it keeps"
            await node.tamper(node.kernel.tamper_set, new)
            await until(lambda: "192.0.2.40" in str(node.agent.me))
            assert before is not None
            assert node.agent.me is not None
            assert node.agent.me.leases[0].subnet == before.leases[0].subnet
            await node.ready()

    run(scenario)


def test_direct_routing_follows_the_way_to_each_peer(tmp_path: Path) -> None:
    """A peer that is on the uplink's subnet no more is reached through the tunnel, and back."""
    wide, narrow = (Address("eth0", ip_interface(f"192.0.2.1/{length}")) for length in (24, 30))

    async def scenario() -> None:
        store = StagedStore()
        store.say(snapshot(peer("p", "10.9.7.0/24", "192.0.2.7", DIRECT), network=DIRECT))
        async with running_node(tmp_path, store, uplinks=("eth0",)) as node:
            await until(lambda: routes(node) == {"10.9.7.0/24": "192.0.2.7"}, node.reasons)
            assert node.objects("fdb") == node.objects("neighbour") == []
            await node.tamper(node.kernel.tamper_delete, wide.key)
            await node.tamper(node.kernel.tamper_set, narrow)
            await until(lambda: routes(node) == {"10.9.7.0/24": "10.9.7.0"}, node.reasons)
            assert len(node.objects("fdb")) == len(node.objects("neighbour")) == 1
            await node.tamper(node.kernel.tamper_delete, narrow.key)
            await node.tamper(node.kernel.tamper_set, wide)
            await until(lambda: routes(node) == {"10.9.7.0/24": "192.0.2.7"}, node.reasons)
            await node.calm()
            assert node.objects("fdb") == node.objects("neighbour") == []

    run(scenario)
