"""The rights of the manifest are enough for a whole agent, and not one of them may be left out."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.nodes import Node, running_node, until
from kube_apiserver.server import Admin, KubeServer
from kube_apiserver.stores import open_kube_store, run_scenario
from podway.model.kernel import Key

RBAC = Path(__file__).parents[2] / "deploy" / "kubernetes" / "rbac.yaml"
(ROLE,) = [each for each in yaml.safe_load_all(RBAC.read_text()) if each["kind"] == "ClusterRole"]
RIGHTS = [
    (verb, resource)
    for rule in ROLE["rules"]
    for resource in rule["resources"]
    for verb in rule["verbs"]
]
AUTHORIZATION = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
PEER_ROUTE = Key("route", (2, 254, "10.244.107.0/24", 0))


@contextlib.contextmanager
def account(server: KubeServer, rights: list[tuple[str, str]]) -> Iterator[str]:
    """Make a service account that may do just *rights*; yield its token."""
    admin = server.admin()
    meta: dict[str, Any] = {"metadata": {"name": "test-rights"}}
    rules = [{"apiGroups": [""], "resources": [what], "verbs": [verb]} for verb, what in rights]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
    subject = {"kind": "ServiceAccount", "name": "test-rights", "namespace": "default"}
    with contextlib.ExitStack() as undo:
        admin.post(ACCOUNTS, meta)
        undo.callback(admin.delete, f"{ACCOUNTS}/test-rights")
        admin.post(f"{AUTHORIZATION}/clusterroles", {**meta, "rules": rules})
        undo.callback(admin.delete, f"{AUTHORIZATION}/clusterroles/test-rights")
        binding = {**meta, "roleRef": {**reference, "name": "test-rights"}, "subjects": [subject]}
        admin.post(f"{AUTHORIZATION}/clusterrolebindings", binding)
        undo.callback(admin.delete, f"{AUTHORIZATION}/clusterrolebindings/test-rights")
        request = {"spec": {"expirationSeconds": 600}}
        token = admin.post(f"{ACCOUNTS}/test-rights/token", request)["status"]["token"]
        yield str(token)


def rights_of(server: KubeServer, token: str) -> set[tuple[str, str]]:
    """Return what the owner of *token* may do with Nodes, as the API server sees it."""
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    review = Admin(server, token).post(path, {"spec": {"namespace": "default"}})
    return {
        (verb, resource)
        for rule in review["status"]["resourceRules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if resource.startswith("nodes")
    }


def complaints(node: Node) -> str:
    return "\n".join([*node.reasons(), node.agent.watch.reason])


def is_available(admin: Admin) -> bool:
    conditions: list[dict[str, Any]] = admin.node("a")["status"].get("conditions", [])
    return ("NetworkUnavailable", "False") in {
        (each["type"], each["status"]) for each in conditions
    }


def test_a_whole_agent_lives_on_them(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """It joins, hears of a peer, holds its condition, follows the operator, renews, leaves."""
    admin.add_node("a", "10.244.5.0/24")

    async def scenario(token: str) -> None:
        await until(lambda: rights_of(server, token) == set(RIGHTS))
        store = open_kube_store(server, tmp_path, token=token)
        async with running_node(tmp_path, store, lease_ttl_s=1) as node:
            await node.ready()
            await until(partial(is_available, admin))
            admin.add_peer(7)
            await until(lambda: node.found(PEER_ROUTE) is not None, node.reasons)
            opposite = {"type": "NetworkUnavailable", "status": "True", "reason": "NoRoute"}
            admin.patch("/api/v1/nodes/a/status", {"status": {"conditions": [opposite]}})
            await until(partial(is_available, admin))
            admin.annotate("a", public_ip_overwrite="203.0.113.7")
            public_ip = "flannel.alpha.coreos.com/public-ip"
            await until(lambda: admin.annotations("a").get(public_ip) == "203.0.113.7")
            before = store.counts.requests
            await until(lambda: store.counts.requests > before + 2)  # renewals
            assert "forbidden" not in complaints(node)
        leaving = open_kube_store(server, tmp_path, token=token)
        await leaving.release("a")
        await leaving.close()
        assert public_ip not in admin.annotations("a")

    with account(server, RIGHTS) as token:
        run_scenario(partial(scenario, token))


@pytest.mark.parametrize("left_out", RIGHTS, ids=" ".join)
def test_none_may_be_left_out(
    server: KubeServer, admin: Admin, tmp_path: Path, left_out: tuple[str, str]
) -> None:
    """An agent without it says that it is forbidden, and what."""
    admin.add_node("a", "10.244.5.0/24")
    rights = [right for right in RIGHTS if right != left_out]

    async def scenario(token: str) -> None:
        await until(lambda: rights_of(server, token) == set(rights))
        store = open_kube_store(server, tmp_path, token=token)
        async with running_node(tmp_path, store) as node:
            verb, resource = left_out
            told = f'cannot {verb} resource "{resource}"'
            await until(lambda: told in complaints(node), lambda: [complaints(node)])

    with account(server, rights) as token:
        run_scenario(partial(scenario, token))
