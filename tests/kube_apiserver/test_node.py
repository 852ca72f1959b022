"""An agent whose store is a real Kubernetes: what an operator sees, and what the kernel keeps."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.nodes import Node, new_kernel, running_node, until
from hub.hub_process import run_scenario
from kube_apiserver.faults import answer, fault_proxy
from kube_apiserver.server import Admin, KubeServer
from kube_apiserver.stores import open_kube_store
from podway.cni.errors import TRY_AGAIN_LATER
from podway.diff.operations import Verb
from podway.model.kernel import Key

PEER_ROUTE = Key("route", (2, 254, "10.244.107.0/24", 0))


def subnets(node: Node) -> list[str]:
    me = node.agent.me
    return [] if me is None else [str(lease.subnet) for lease in me.leases]


def cidr_of(admin: Admin, name: str, subnet: str) -> None:
    """Give the Node its subnet, as kube-controller-manager does."""
    admin.patch(f"/api/v1/nodes/{name}", {"spec": {"podCIDR": subnet, "podCIDRs": [subnet]}})


def test_a_node_without_a_subnet_says_so_and_takes_the_one_that_comes(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("a")

    async def scenario() -> None:
        async with running_node(tmp_path, open_kube_store(server, tmp_path)) as node:
            await until(lambda: any("spec.podCIDRs" in each for each in node.reasons()))
            refused = await node.add("c1")
            assert refused.code == TRY_AGAIN_LATER
            for word in ("spec.podCIDRs", "--allocate-node-cidrs", "--cluster-cidr"):
                assert word in json.dumps(refused.document)
            cidr_of(admin, "a", "10.244.5.0/24")
            await node.ready()
            assert subnets(node) == ["10.244.5.0/24"]

    run_scenario(scenario)


def test_a_node_made_anew_takes_its_new_subnet(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("a", "10.244.5.0/24")

    async def scenario() -> None:
        async with running_node(tmp_path, open_kube_store(server, tmp_path)) as node:
            await node.ready()
            admin.remove_node("a")
            await until(lambda: any("no Node 'a'" in each for each in node.reasons()))
            admin.add_node("a", "10.244.6.0/24")
            await node.ready()
            assert subnets(node) == ["10.244.6.0/24"]
            await node.calm()
            assert (await node.add("c1")).addresses == ["10.244.6.2/24"]

    run_scenario(scenario)


def test_what_somebody_writes_by_mistake_is_put_right(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("a", "10.244.5.0/24")
    name = "flannel.alpha.coreos.com/public-ip"

    async def scenario() -> None:
        async with running_node(tmp_path, open_kube_store(server, tmp_path)) as node:
            await node.ready()
            right = admin.annotations("a")
            for wrong in ("192.0.2.66", "nonsense", None):
                admin.annotate("a", public_ip=wrong)
                await until(lambda: admin.annotations("a").get(name) == right[name], node.reasons)
            assert admin.annotations("a") == right

    run_scenario(scenario)


def test_another_name_is_another_node(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """The machine is renamed: what it had under the old name is nothing to it any more."""
    admin.add_node("a", "10.244.5.0/24")
    admin.add_node("b", "10.244.6.0/24")
    kernel = new_kernel()

    async def scenario() -> None:
        store = open_kube_store(server, tmp_path)
        async with running_node(tmp_path, store, kernel=kernel) as node:
            await node.ready()
        admin.remove_node("a")
        store = open_kube_store(server, tmp_path)
        async with running_node(tmp_path, store, "b", kernel=kernel) as node:
            await node.ready()
            await node.calm()
            assert subnets(node) == ["10.244.6.0/24"]
            addresses = {str(item.key.parts[1]) for item in node.objects("address")}
            assert not any(address.startswith("10.244.5.") for address in addresses)

    run_scenario(scenario)


def test_the_api_server_is_away_at_boot_and_after_a_restart(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("a", "10.244.5.0/24")
    admin.add_peer(7)
    kernel = new_kernel()

    async def scenario() -> None:
        async with running_node(tmp_path, open_kube_store(server, tmp_path), kernel=kernel) as node:
            await node.ready()
            await until(lambda: node.found(PEER_ROUTE))
        kernel.log.clear()
        away = open_kube_store(server, tmp_path, url="https://127.0.0.1:1")
        async with running_node(tmp_path, away, kernel=kernel) as node:
            await until(lambda: node.agent.watch.state == "away")
            await node.ready()
            assert (await node.add("c1")).addresses == ["10.244.5.2/24"]
            assert node.found(PEER_ROUTE)
            deleted = [each.key for each in kernel.log if each.verb is Verb.DELETE]
            assert PEER_ROUTE not in deleted

    run_scenario(scenario)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_backup_put_back_loses_no_route(
    server: KubeServer, admin: Admin, tmp_path: Path, *, comes_back: bool
) -> None:
    """Peers that joined after the backup are kept until they are back, or do not come back."""
    admin.add_node("a", "10.244.5.0/24")
    admin.add_peer(7)
    items = [admin.node("a"), admin.node("peer7")]
    admin.remove_node("peer7")

    async def scenario() -> None:
        async with fault_proxy(server) as proxy:
            proxy.answers.append(later(items))
            store = open_kube_store(server, tmp_path, url=proxy.url)
            async with running_node(tmp_path, store, store_grace_s=0.5) as node:
                await until(lambda: node.found(PEER_ROUTE), node.reasons)
                proxy.cut_all()
                await until(lambda: node.agent.cluster.missing, node.reasons)
                assert node.found(PEER_ROUTE)
                if comes_back:
                    admin.add_peer(7)
                    await until(lambda: not node.agent.cluster.missing, node.reasons)
                    await node.ready()
                    deleted = [each.key for each in node.kernel.log if each.verb is Verb.DELETE]
                    assert PEER_ROUTE not in deleted
                else:
                    await until(lambda: node.found(PEER_ROUTE) is None, node.reasons)

    run_scenario(scenario)


def later(items: list[dict[str, Any]]) -> bytes:
    """Return the list of a cluster that has gone on after the backup was made."""
    page = {"metadata": {"resourceVersion": "9000001"}, "items": items}
    return answer(200, json.dumps(page).encode())
