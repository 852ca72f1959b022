"""The manifests, taken by a real API server, and what its agents may do there by RBAC."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube_apiserver.server import Admin, ApiError, KubeServer
from kube_apiserver.stores import claim, next_event, opened, run_scenario
from podway import __version__
from podway.agent.settings import settings_from
from podway.cli.main import full_parser
from podway.hub.settings import parse_settings
from podway.model.networks import parse_network
from podway.store.kube_url import parse_kube_url
from podway.store.protocol import Snapshot

MANIFESTS = Path(__file__).parents[2] / "deploy" / "kubernetes"
PLACES = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/podway/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/podway/configmaps",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "DaemonSet": "/apis/apps/v1/namespaces/podway/daemonsets",
    "Deployment": "/apis/apps/v1/namespaces/podway/deployments",
}
FILES = ["namespace.yaml", "rbac.yaml", "network.yaml", "agent.yaml", "hub.yaml"]


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def find(name: str, kind: str) -> dict[str, Any]:
    return next(each for each in documents(name) if each["kind"] == kind)


@pytest.fixture(scope="module")
def applied(running_server: KubeServer) -> Iterator[Admin]:
    """Have namespace and RBAC as the manifests say."""
    admin = running_server.admin()
    for name in ("namespace.yaml", "rbac.yaml"):
        for document in documents(name):
            admin.post(PLACES[document["kind"]], document)
    yield admin
    for kind in ("ClusterRoleBinding", "ClusterRole", "ServiceAccount"):
        admin.delete(f"{PLACES[kind]}/podway-agent")


@pytest.fixture
def token(applied: Admin) -> str:
    """Return a token as the kubelet asks for one."""
    request = {"spec": {"expirationSeconds": 600}}
    answer = applied.post(f"{PLACES['ServiceAccount']}/podway-agent/token", request)
    text: str = answer["status"]["token"]
    return text


def test_every_manifest_is_here() -> None:
    assert sorted(path.name for path in MANIFESTS.glob("*.yaml")) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_the_api_server_takes_it_as_it_is(applied: Admin, name: str) -> None:
    """Nothing in it is unknown to the server, misspelt or defaulted away."""
    for document in documents(name):
        place = PLACES[document["kind"]]
        if name in {"namespace.yaml", "rbac.yaml"}:
            taken = applied.get(f"{place}/{document['metadata']['name']}")
        else:
            taken = applied.post(f"{place}?dryRun=All", document)
        assert lost(document, taken) == []


@pytest.mark.parametrize(
    ("name", "where", "wrong"),
    [
        pytest.param("agent.yaml", ("spec", "template", "spec"), "hostNetwrk", id="agent"),
        pytest.param("hub.yaml", ("spec", "strategy"), "typ", id="hub"),
        pytest.param("network.yaml", (), "dta", id="network"),
    ],
)
def test_a_misspelt_field_would_be_noticed(
    applied: Admin, name: str, where: tuple[str, ...], wrong: str
) -> None:
    (document,) = documents(name)
    place = document
    for key in where:
        place = place[key]
    place[wrong] = True
    taken = applied.post(f"{PLACES[document['kind']]}?dryRun=All", document)
    assert lost(document, taken) == [".".join(("", *where, wrong))]


def test_manifests_name_the_image_of_this_version() -> None:
    images = {
        container["image"]
        for name, kind in (("agent.yaml", "DaemonSet"), ("hub.yaml", "Deployment"))
        for pod in (find(name, kind)["spec"]["template"]["spec"],)
        for container in (*pod["containers"], *pod.get("initContainers", ()))
    }
    assert images == {f"localhost/podway:{__version__}"}


def lost(wanted: Any, taken: Any, path: str = "") -> list[str]:
    """Return the paths at which *taken* lacks what *wanted* has."""
    match wanted:
        case dict():
            if not isinstance(taken, dict):
                return [path]
            return [
                each
                for key, value in wanted.items()
                for each in lost(value, taken.get(key), f"{path}.{key}")
            ]
        case list():
            if not isinstance(taken, list) or len(taken) != len(wanted):
                return [path]
            return [
                each
                for number, pair in enumerate(zip(wanted, taken, strict=True))
                for each in lost(*pair, f"{path}[{number}]")
            ]
        case _:
            return [] if wanted == taken else [path]


def test_an_agent_lives_on_its_service_account(
    server: KubeServer, admin: Admin, token: str, tmp_path: Path
) -> None:
    """Everything that the store does, with the rights of the manifest."""
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path, token=token) as store:
            node = await store.claim(claim("n1"))
            await store.renew("n1")
            assert (await next_event(store.watch(), Snapshot)).nodes == (node,)
            assert len(await store.list_nodes()) == 1
            await store.release("n1")

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/api/v1/nodes/n1"),
        ("PUT", "/api/v1/nodes/n1"),
        ("PUT", "/api/v1/nodes/n1/status"),
        ("POST", "/api/v1/nodes"),
        ("DELETE", "/api/v1/nodes/n1"),
        ("DELETE", "/api/v1/nodes"),
        ("GET", "/api/v1/nodes/n1/proxy/pods"),
        ("GET", "/api/v1/pods"),
        ("GET", "/api/v1/secrets"),
        ("GET", "/api/v1/configmaps"),
        ("GET", "/api/v1/namespaces/podway/configmaps/podway-network"),
        ("GET", "/api/v1/namespaces"),
        ("GET", "/apis/coordination.k8s.io/v1/leases"),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
        ("POST", "/api/v1/namespaces/podway/serviceaccounts/podway-agent/token"),
    ],
)
def test_an_agent_may_not(
    server: KubeServer, admin: Admin, token: str, method: str, path: str
) -> None:
    admin.add_node("n1", "10.244.1.0/24")
    content_type = (
        "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"
    )
    agent = Admin(server, token)
    with pytest.raises(ApiError) as caught:
        agent.ask(method, path, {"metadata": {"name": "n1"}}, content_type)
    assert caught.value.code == 403


def test_an_agents_rules_are_the_manifests_and_everybodys(server: KubeServer, token: str) -> None:
    """Asked of the API server itself: nothing but what any authenticated client may do."""
    agent = Admin(server, token)
    review = agent.post(
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "podway"}}
    )
    rules = {
        (tuple(sorted(rule["verbs"])), tuple(sorted(rule["resources"])))
        for rule in review["status"]["resourceRules"]
    }
    everybodys = {
        (("create",), ("selfsubjectaccessreviews", "selfsubjectrulesreviews")),
    }
    manifests = {(("get", "list", "watch"), ("nodes",)), (("patch",), ("nodes/status",))}
    assert rules == everybodys | manifests
    assert all(set(rule["verbs"]) == {"get"} for rule in review["status"]["nonResourceRules"])


def test_the_agent_understands_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of the manifest are options of the program."""
    pod = find("agent.yaml", "DaemonSet")["spec"]["template"]["spec"]
    (agent,) = pod["containers"]
    for variable in agent["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "n1"))
    settings = settings_from(full_parser().parse_args(agent["args"]))
    assert settings.node == "n1"
    assert settings.http.endswith(f":{agent['livenessProbe']['httpGet']['port']}")
    path, options = parse_kube_url(settings.store)
    assert path is None
    mounts = {each["mountPath"]: each["name"] for each in agent["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["volumes"]}
    network = volumes[mounts[str(options.net_conf.parent)]]["configMap"]["name"]
    config = find("network.yaml", "ConfigMap")
    assert config["metadata"]["name"] == network
    assert parse_network(config["data"][options.net_conf.name]).backend_name == "vxlan"
    assert mounts[str(settings.run_dir)] == "run"
    assert mounts[str(settings.state_dir)] == "state"


def test_the_hub_understands_its_arguments() -> None:
    pod = find("hub.yaml", "Deployment")["spec"]["template"]["spec"]
    (hub,) = pod["containers"]
    settings = parse_settings(full_parser().parse_args(hub["args"]))
    assert hub["args"][0] == "hub"
    probe = hub["readinessProbe"]["httpGet"]
    assert settings.http == (probe["host"], probe["port"])
    path, options = parse_kube_url(settings.upstream)
    assert path is None
    mounts = {each["mountPath"] for each in hub["volumeMounts"]}
    assert str(options.net_conf.parent) in mounts
    assert settings.tls is not None
    assert {
        str(file.parent) for file in (settings.tls.ca, settings.tls.cert, settings.tls.key)
    } <= (mounts)
    assert pod["serviceAccountName"] == find("rbac.yaml", "ServiceAccount")["metadata"]["name"]


def test_shell_words_of_the_install_container() -> None:
    (init,) = find("agent.yaml", "DaemonSet")["spec"]["template"]["spec"]["initContainers"]
    assert shlex.join(init["command"]) == "/opt/podway/install-on-host /host"
