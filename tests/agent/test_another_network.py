"""The network, the lease or the subnets become others while pods live on the node."""

import json
from pathlib import Path

from agent.nodes import routes, run, running_node, until
from agent.staged_store import (
    NETWORK,
    VXLAN,
    StagedStore,
    changed,
    peer,
    removed,
    snapshot,
    staged_node,
)
from hub.hub_process import HOST_GW, QUICK, running_hub
from podway.cni.errors import UNAVAILABLE
from podway.model.kernel import Link, link_key
from podway.store.protocol import ClaimRefused, Delta, Snapshot


def test_pods_come_and_go_while_the_backend_is_changed(tmp_path: Path) -> None:
    """Between the network's change and the new lease the old place stays in force."""

    async def scenario() -> None:
        async with staged_node(tmp_path, peer("p", "10.9.7.0/24", "192.0.2.7")) as (store, node):
            await node.add("c1")
            store.error = ClaimRefused("not now")
            store.say(Delta(revision=4, network=VXLAN))
            await until(lambda: any("not now" in reason for reason in node.reasons()))
            status = await node.call("status")
            assert (status["backend"], status["peers"][0]["state"]) == ("vxlan", "pending")
            assert set(routes(node)) == {"10.9.7.0/24"}
            assert (await node.add("c2")).code == 0
            assert len(node.pod_links()) == 2
            assert (await node.delete("c1")).code == 0
            assert len(node.pod_links()) == await node.used() == 1
            assert (await node.cni("STATUS")).code == UNAVAILABLE

            store.error = None
            store.say(changed(peer("p", "10.9.7.0/24", "192.0.2.7", VXLAN)))
            await node.ready()
            await until(lambda: isinstance(node.found(link_key("podway.1")), Link))
            await until(lambda: routes(node).get("10.9.7.0/24") == "10.9.7.0")
            assert (await node.delete("c2")).code == 0

    run(scenario)


def test_a_network_that_is_gone_takes_nothing_along(tmp_path: Path) -> None:
    """A hub that lost its disk must not cut the pods of the whole cluster off."""

    async def scenario() -> None:
        async with staged_node(tmp_path, peer("p", "10.9.7.0/24", "192.0.2.7")) as (store, node):
            await node.add("c1")
            store.say(Snapshot(revision=1, network=None, nodes=()))
            await until(lambda: any("no network is configured" in r for r in node.reasons()))
            assert (await node.add("c2")).code == 0
            assert (await node.delete("c1")).code == 0
            assert (set(routes(node)), len(node.pod_links())) == ({"10.9.7.0/24"}, 1)
            store.say(snapshot())
            await node.ready()
            await until(lambda: routes(node) == {})
            assert len(node.pod_links()) == 1

    run(scenario)


def test_a_network_that_cannot_be_used_changes_nothing_but_readiness(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with staged_node(tmp_path) as (store, node):
            store.say(Delta(revision=5, network_error="Backend.VNI = 0: must be 1 to 16777215"))
            await until(lambda: any("VNI" in reason for reason in node.reasons()))
            assert (await node.add("c1")).code == 0
            store.say(Delta(revision=6, network=NETWORK))
            await node.ready()

    run(scenario)


def test_other_subnets_than_before(tmp_path: Path) -> None:
    """New pods get addresses of the new subnet; old ones are kept until DEL, and shown."""

    async def scenario() -> None:
        store = StagedStore("10.9.1.0/24")
        store.say(snapshot())
        async with running_node(tmp_path, store) as node:
            await node.ready()
            first = await node.add("c1")
            store.subnet = "10.9.5.0/24"
            assert node.agent.me is not None
            store.say(removed(node.agent.me.name))  # the lease was lost
            await until(lambda: len(store.claims) == 2)
            assert str(store.claims[1].wishes[0].subnet) == "10.9.1.0/24"
            await until(
                lambda: node.agent.ipam.pools and "10.9.5.0/24" in str(node.agent.desires.place)
            )
            await node.ready()
            assert (await node.add("c2")).addresses == ["10.9.5.2/24"]
            problems = (await node.call("ipam.check"))["problems"]
            assert [item["address"] for item in problems] == ["10.9.1.2"]
            again = await node.add("c1")
            assert again.code == 0
            assert again.addresses not in (first.addresses, ["10.9.5.2/24"])
            assert len(node.pod_links()) == await node.used() == 2
            for name in ("c1", "c2"):
                assert (await node.delete(name)).code == 0
            assert (node.pod_links(), await node.used()) == ([], 0)

    run(scenario)


def test_another_prefix_by_force(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_hub(net_conf=HOST_GW) as hub, running_node(tmp_path, hub.url) as node:
            await node.ready()
            await node.add("c1")
            admin = hub.open_store(QUICK)
            await admin.put_network(json.dumps({**HOST_GW, "Network": "10.77.0.0/16"}), force=True)
            await until(lambda: "10.77." in str(node.agent.me))
            await node.ready()
            assert (await node.add("c2")).addresses[0].startswith("10.77.")
            assert (await node.delete("c1")).code == 0
            assert await node.used() == 1
            await admin.close()

    run(scenario)
