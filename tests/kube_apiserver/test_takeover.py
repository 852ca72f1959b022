"""A node that a flanneld has annotated becomes podway's: the bytes stay what they were."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from agent.nodes import running_node, until
from kube_apiserver.server import ADMIN_TOKEN, Admin, KubeServer
from kube_apiserver.stores import net_conf, open_kube_store, run_scenario
from podway.agent.flanneld import translate
from podway.cli.flanneld import settings_of
from podway.errors import ConfigError
from podway.model.kernel import Key, Neighbour
from podway.store.kube_api import NoSuchNode
from podway.store.kube_url import login_of, open_kube

FIRST = {
    "backend_type": "vxlan",
    "backend_data": '{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}',
    "kube_subnet_manager": "true",
    "public_ip": "192.0.2.1",
}
SECOND = {
    **FIRST,
    "backend_data": '{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}',
    "public_ip": "192.0.2.2",
}
ROUTE = Key("route", (2, 254, "10.244.2.0/24", 0))


def test_the_published_bytes_stay(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """So flanneld's peers have nothing to do, and it finds its MAC again if it comes back."""
    for name, subnet, said in (("n1", "10.244.1.0/24", FIRST), ("n2", "10.244.2.0/24", SECOND)):
        admin.add_node(name, subnet)
        admin.annotate(name, **said)
    before = [admin.annotations(name) for name in ("n1", "n2")]

    async def scenario() -> None:
        store = open_kube_store(server, tmp_path)
        manners: dict[str, Any] = {"device_prefix": "flannel", "foreign_pods": True}
        file = tmp_path / "subnet.env"
        async with running_node(tmp_path, store, "n1", subnet_file=file, **manners) as node:
            await node.ready()
            await until(lambda: node.found(ROUTE) is not None, node.reasons)
            (neighbour,) = node.objects("neighbour")
            assert isinstance(neighbour, Neighbour)
            assert (neighbour.dev, neighbour.mac) == ("flannel.1", "c6:d2:32:6f:8f:44")
            assert "FLANNEL_SUBNET=10.244.1.1/24\n" in file.read_text()
            assert not [link for link in node.objects("link") if link.key.parts == ("cni0",)]

    run_scenario(scenario)
    assert [admin.annotations(name) for name in ("n1", "n2")] == before


def flags(server: KubeServer, directory: Path, url: str = "") -> list[str]:
    path = server.kubeconfig(directory / "kubeconfig", {"token": ADMIN_TOKEN}, url)
    return [
        *("-kube-subnet-mgr", "-kubeconfig-file", str(path)),
        *("-net-config-path", str(net_conf(directory))),
    ]


def test_the_node_is_found_by_its_pod(server: KubeServer, admin: Admin, tmp_path: Path) -> None:
    """As flannel's own manifest has it: POD_NAME and POD_NAMESPACE."""
    admin.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    admin.add_node("n1", "10.244.1.0/24")
    spec = {
        "nodeName": "n1",
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "none"}],
    }
    admin.post("/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec})
    pod = {"POD_NAME": "p", "POD_NAMESPACE": "default"}
    try:
        assert settings_of(translate(flags(server, tmp_path), pod), {}).node == "n1"
        with pytest.raises(NoSuchNode):
            settings_of(translate(flags(server, tmp_path), {**pod, "POD_NAME": "q"}), {})
    finally:
        path = "/api/v1/namespaces/default/pods/p"
        admin.ask("DELETE", path, {"gracePeriodSeconds": 0})
        admin.delete("/api/v1/namespaces/default/serviceaccounts/default")


def test_an_interface_that_the_node_names_wins_over_flags(
    server: KubeServer, admin: Admin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without an answer the flags count, and it is said so."""
    admin.add_node("n1", "10.244.1.0/24")
    words = [*flags(server, tmp_path), "-iface=eth7", "-iface-can-reach=192.0.2.77"]
    said = translate(words, {"NODE_NAME": "n1"})
    assert settings_of(said, {}) == said.settings
    admin.annotate("n1", node_public_ip="192.0.2.9", node_public_ipv6="2001:db8::9")
    settings = settings_of(said, {})
    assert (settings.uplinks, settings.uplink_can_reach) == (("192.0.2.9", "2001:db8::9"), None)
    assert not caplog.records
    admin.annotate("n1", node_public_ip="eth7")
    assert settings_of(said, {}) == said.settings
    away = translate([*words, "-kube-api-url=https://127.0.0.1:1"], {"NODE_NAME": "n1"})
    assert settings_of(away, {}) == away.settings
    assert ["node-public-ip" in record.message for record in caplog.records] == [True, True]


def test_another_server_than_the_kubeconfigs(server: KubeServer, tmp_path: Path) -> None:
    words = flags(server, tmp_path, "https://127.0.0.1:1")
    url = f"https://127.0.0.1:{server.port}"
    store = translate([*words, "-kube-api-url", url], {"NODE_NAME": "n1"}).settings.store

    async def scenario() -> None:
        opened = open_kube(store)
        assert await opened.list_nodes() == ()
        await opened.close()

    run_scenario(scenario)


def test_a_server_without_a_login() -> None:
    query = urlencode({"server": "http://127.0.0.1:8001"})
    login = login_of(f"kubernetes:?{query}", None).now()
    assert (str(login.server), login.headers()) == ("http://127.0.0.1:8001", {})
    with pytest.raises(ConfigError):
        login_of("kubernetes:?server=ftp://x", None)
