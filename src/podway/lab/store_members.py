"""What a lab writes into its store: the network, and each node's subnets, which have its number.

In a hub and in etcd that is a reservation. In Kubernetes the lab plays the kubelet and
kube-controller-manager: it makes Node objects with podCIDRs, and it lets its agents do what
deploy/kubernetes/rbac.yaml lets them do.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import structs

from podway.lab.errors import LabError
from podway.lab.kube_programs import (
    find_etcd,
    find_kube_apiserver,
    needed_feature_gates,
    token_line,
)
from podway.lab.names import HUB, hub_socket, namespace_of, node_name
from podway.lab.namespaces import inside
from podway.lab.specs import LabSpec
from podway.lab.state import write_whole
from podway.lab.stores import (
    ADMIN,
    AGENT,
    kube_url,
    kubeconfig_path,
    net_conf_path,
    store_dir,
    store_url,
)
from podway.lab.underlay import plan_subnets
from podway.store.engines import open_store
from podway.store.http_client import HttpClient, HttpRequest
from podway.store.kubeconfig import login_by_kubeconfig
from podway.store.protocol import AdminStore

Result = TypeVar("Result")
_NODES = "/api/v1/nodes"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


def find_programs(spec: LabSpec, environment: Mapping[str, str]) -> LabSpec:
    """Return *spec* with the paths of the programs that its store needs.

    Raises:
        LabError: one is missing; says how to get it.
    """
    if spec.store == "hub":
        return spec
    etcd = str(find_etcd(environment))
    if spec.store == "etcd":
        return structs.replace(spec, etcd=etcd)
    program = find_kube_apiserver(environment, spec.kube_apiserver)
    gates = needed_feature_gates(program)
    return structs.replace(spec, etcd=etcd, kube_apiserver=str(program), feature_gates=gates)


def prepare_store_files(spec: LabSpec) -> None:
    """Write what the store's programs read, before they start."""
    if spec.store != "kubernetes":
        return
    directory = store_dir(spec)
    directory.mkdir(parents=True, exist_ok=True)
    lines = token_line(ADMIN, ADMIN, "system:masters") + token_line(AGENT, AGENT)
    write_whole(directory / "tokens.csv", lines.encode())
    for user in (ADMIN, AGENT):
        write_whole(kubeconfig_path(spec, user), json.dumps(_kubeconfig(spec, user)).encode())


def prepare_store(spec: LabSpec) -> None:
    """Write what all nodes need into the store, which runs. Raises `LabError`, `StoreError`."""
    match spec.store:
        case "hub":
            pass  # it reads the network itself
        case "etcd":
            text = net_conf_path(spec).read_text(encoding="utf-8")
            _ask(spec, lambda store: store.put_network(text))
        case "kubernetes":
            _in_hub(spec, lambda: _create_all(spec, _rbac_objects()))


def add_members(spec: LabSpec, numbers: Sequence[int]) -> None:
    """Give each of the nodes *numbers* the subnets that have its number.

    Raises:
        LabError: the API server refuses.
        StoreError: the store does not answer, or refuses.
    """
    if spec.store == "kubernetes":
        objects = [(_NODES, _node_object(spec, number)) for number in numbers]
        _in_hub(spec, lambda: _create_all(spec, objects))
    else:
        _ask(spec, lambda store: _reserve(store, spec, numbers))


def remove_member(spec: LabSpec, name: str) -> None:
    """Take the node *name* out of the store. Raises as `add_members` does."""
    if spec.store == "kubernetes":
        _in_hub(spec, lambda: _request(spec, "DELETE", f"{_NODES}/{name}", None, {404}))
    else:
        _ask(spec, lambda store: _release(store, name))


# -- hub and etcd


async def _reserve(store: AdminStore, spec: LabSpec, numbers: Sequence[int]) -> None:
    for number in numbers:
        await store.reserve(node_name(number), plan_subnets(spec, number))


async def _release(store: AdminStore, name: str) -> None:
    await store.release(name)
    await store.unreserve(name)


def _ask(spec: LabSpec, question: Callable[[AdminStore], Awaitable[object]]) -> None:
    """Open the store as an administrator and ask *question*."""

    async def ask() -> None:
        hub = f"unix:{hub_socket(spec.name)}"
        store = open_store(hub if spec.store == "hub" else store_url(spec))
        try:
            await question(store)
        finally:
            await store.close()

    _in_hub(spec, ask)


def _in_hub(spec: LabSpec, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Return what *work* returns, with its connections in the hub's namespace."""
    with inside(namespace_of(spec.name, HUB)):
        return asyncio.run(work())


# -- Kubernetes


def _node_object(spec: LabSpec, number: int) -> dict[str, Any]:
    cidrs = [str(subnet) for subnet in plan_subnets(spec, number)]
    return {
        "kind": "Node",
        "metadata": {"name": node_name(number)},
        "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
    }


def _rbac_objects() -> list[tuple[str, dict[str, Any]]]:
    """Return the rules of deploy/kubernetes/rbac.yaml for the user that the agents are."""
    rules = [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
    ]
    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "ClusterRole", "name": AGENT}
    subject = {"apiGroup": group, "kind": "User", "name": AGENT}
    metadata = {"name": AGENT}
    return [
        (f"{_RBAC}/clusterroles", {"metadata": metadata, "rules": rules}),
        (
            f"{_RBAC}/clusterrolebindings",
            {"metadata": metadata, "roleRef": role, "subjects": [subject]},
        ),
    ]


async def _create_all(spec: LabSpec, objects: Sequence[tuple[str, dict[str, Any]]]) -> None:
    for path, document in objects:
        await _request(spec, "POST", path, document, {409})


async def _request(
    spec: LabSpec, method: str, path: str, document: dict[str, Any] | None, fine: set[int]
) -> None:
    """Ask the API server; statuses *fine* are no errors."""
    login = login_by_kubeconfig(kubeconfig_path(spec, ADMIN))
    headers = {"Content-Type": "application/json", **login.headers()}
    body = json.dumps(document).encode() if document else b""
    reply = await HttpClient(login.server).call(
        HttpRequest(method=method, target=path, headers=headers, body=body)
    )
    if reply.status >= 300 and reply.status not in fine:
        text = reply.body.decode("utf-8", "replace")
        raise LabError(f"the lab's API server refuses {method} {path}: {reply.status} {text}")


def _kubeconfig(spec: LabSpec, user: str) -> dict[str, Any]:
    """Return a kubeconfig for *user*, whose token is its name: nobody else is in this network."""
    cluster = {
        "server": kube_url(spec),
        "certificate-authority": str(store_dir(spec) / "certs" / "apiserver.crt"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": spec.name,
        "contexts": [{"name": spec.name, "context": {"cluster": spec.name, "user": user}}],
        "clusters": [{"name": spec.name, "cluster": cluster}],
        "users": [{"name": user, "user": {"token": user}}],
    }
