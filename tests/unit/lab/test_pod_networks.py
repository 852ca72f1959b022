"""Docker's modes as plugin chains, and what users may write."""

from typing import Any

import pytest

from podway.errors import ConfigError
from podway.lab.pod_networks import Attachment, PublishedPort, parse_attachment, plugin_chain
from podway.lab.specs import LabSpec
from podway.model.addresses import Family

SPEC = LabSpec(name="blue", nodes=(1, 2), families=(Family.IPV4, Family.IPV6))


@pytest.mark.parametrize(
    ("text", "port"),
    [
        pytest.param("8080:80", PublishedPort(host_port=8080, container_port=80), id="tcp"),
        pytest.param(
            "53:5353/udp",
            PublishedPort(host_port=53, container_port=5353, protocol="udp"),
            id="udp",
        ),
    ],
)
def test_ports(text: str, port: PublishedPort) -> None:
    assert parse_attachment("bridge", [text]).ports == (port,)


@pytest.mark.parametrize(
    ("network", "published", "field"),
    [
        pytest.param("macvlan", [], "--network", id="no such mode"),
        pytest.param("container:../x", [], "--network", id="hostile name"),
        pytest.param("podway", ["80:80"], "--publish", id="not with the cluster's network"),
        pytest.param("host", ["80:80"], "--publish", id="not with host"),
        pytest.param("bridge", ["80"], "--publish", id="one port"),
        pytest.param("bridge", ["0:80"], "--publish", id="port 0"),
        pytest.param("bridge", ["80:65536"], "--publish", id="port too large"),
        pytest.param("bridge", ["80:80/icmp"], "--publish", id="no such protocol"),
        pytest.param("bridge", ["80:80", "80:81"], "--publish", id="twice"),
    ],
)
def test_refused(network: str, published: list[str], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_attachment(network, published)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("network", "types"),
    [
        pytest.param("podway", ["podway"], id="podway"),
        pytest.param("bridge", ["bridge", "portmap"], id="bridge"),
        pytest.param("none", ["loopback"], id="none"),
        pytest.param("host", [], id="host"),
        pytest.param("container:p1", [], id="container"),
    ],
)
def test_chains(network: str, types: list[str]) -> None:
    ports = ["8080:80"] if network == "bridge" else []
    chain = plugin_chain(SPEC, "n1", parse_attachment(network, ports))
    assert [plugin["type"] for plugin in chain] == types


def test_docker_bridge() -> None:
    """Both families, the node's own directory, and the ports as a runtime would give them."""
    bridge, portmap = plugin_chain(SPEC, "n2", parse_attachment("bridge", ["8080:80/udp"]))
    ipam: dict[str, Any] = bridge["ipam"]
    assert bridge["bridge"] == "docker0"
    assert ipam["dataDir"] == "/run/podway/lab/blue/n2/docker"
    assert [each[0]["subnet"] for each in ipam["ranges"]] == ["172.17.0.0/16", "fd00:172:17::/64"]
    assert portmap["runtimeConfig"]["portMappings"] == [
        {"hostPort": 8080, "containerPort": 80, "protocol": "udp"}
    ]
    assert len(plugin_chain(SPEC, "n2", Attachment(network="bridge"))) == 1
