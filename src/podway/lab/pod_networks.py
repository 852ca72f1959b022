"""Where a pod of a lab is connected: the cluster's network, or one of Docker's modes. Pure.

    podway          the cluster's network: every pod of every node reaches it
    bridge          Docker's default: docker0, the same 172.17.0.0/16 on every node, masquerade
                    outwards, published ports inwards; other nodes know nothing of the pod
    host            the node's own network; no address, no isolation
    none            a loopback device and nothing else
    container:POD   the network of another pod: what Kubernetes makes a pod's containers share

In: mode and published ports. Out: plugin configurations, in the order in which a runtime calls
them. Docker's bridge is `bridge`, `host-local` and `portmap`: nothing in it is Docker's own.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from podway.agent.places import CNI_SOCKET
from podway.errors import ArgumentError
from podway.lab.names import lab_dir, rule_against_pod
from podway.lab.specs import LabSpec
from podway.model.addresses import Family

Protocol: TypeAlias = Literal["tcp", "udp", "sctp"]
CLUSTER: Final = "podway"
BRIDGE: Final = "bridge"
HOST: Final = "host"
NONE: Final = "none"
JOIN: Final = "container:"
DOCKER_BRIDGE: Final = "docker0"
# Docker's own choice (daemon/libnetwork, "bip"); for IPv6 it has none, so this one is ours.
DOCKER_SUBNETS: Final = {Family.IPV4: "172.17.0.0/16", Family.IPV6: "fd00:172:17::/64"}
_ANYWHERE: Final = {Family.IPV4: "0.0.0.0/0", Family.IPV6: "::/0"}
_PORT: Final = re.compile(r"([0-9]{1,5}):([0-9]{1,5})(?:/(tcp|udp|sctp))?")
_MAX_PORT: Final = 65535
# What each mode needs in the directory of executables, IPAM plugins included.
_EXECUTABLES: Final = {
    CLUSTER: ("podway",),
    BRIDGE: ("bridge", "host-local", "portmap"),
    NONE: ("loopback",),
}


class PublishedPort(Struct, frozen=True, kw_only=True):
    """A port of the node that leads to a port of the pod."""

    host_port: int
    container_port: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.host_port}:{self.container_port}/{self.protocol}"


class Attachment(Struct, frozen=True, kw_only=True):
    """How a pod is connected.

    Attributes:
        network: ``podway``, ``bridge``, ``host``, ``none`` or ``container:POD``.
        ports: that the node publishes; with ``bridge`` only.
    """

    network: str = CLUSTER
    ports: tuple[PublishedPort, ...] = ()

    @property
    def own_namespace(self) -> bool:
        """The pod has a network namespace of its own."""
        return self.network in _EXECUTABLES

    @property
    def joined(self) -> str:
        """The pod whose network it shares; "" for none."""
        return self.network.removeprefix(JOIN) if self.network.startswith(JOIN) else ""

    @property
    def executables(self) -> tuple[str, ...]:
        """Names of the plugins that it takes."""
        return _EXECUTABLES.get(self.network, ())


CLUSTER_ATTACHMENT: Final = Attachment()


def parse_attachment(network: str, published: Sequence[str]) -> Attachment:
    """Return what the user wrote.

    Raises:
        ConfigError: there is no such mode or port, or ports do not fit the mode.
    """
    if network.startswith(JOIN):
        if rule := rule_against_pod(network.removeprefix(JOIN)):
            raise ArgumentError("--network", network, f"the name of the pod {rule}")
    elif network not in {*_EXECUTABLES, HOST}:
        rule = f"must be {CLUSTER}, {BRIDGE}, {HOST}, {NONE} or {JOIN}POD"
        raise ArgumentError("--network", network, rule)
    if published and network != BRIDGE:
        rule = (
            "needs --network bridge: in the cluster's network every pod is reached at its own "
            "address, and with host the pod's ports are the node's"
        )
        raise ArgumentError("--publish", published[0], rule)
    ports = tuple(map(_parse_port, published))
    if len({(port.host_port, port.protocol) for port in ports}) != len(ports):
        raise ArgumentError("--publish", " ".join(published), "names a port of the node twice")
    return Attachment(network=network, ports=ports)


def _parse_port(text: str) -> PublishedPort:
    found = _PORT.fullmatch(text)
    numbers = [int(found[1]), int(found[2])] if found else []
    if found is None or not all(1 <= number <= _MAX_PORT for number in numbers):
        rule = f"must be HOSTPORT:PODPORT[/tcp|udp|sctp], ports 1 to {_MAX_PORT}"
        raise ArgumentError("--publish", text, rule)
    return PublishedPort(
        host_port=numbers[0], container_port=numbers[1], protocol=found[3] or "tcp"
    )


def plugin_chain(spec: LabSpec, node: str, attachment: Attachment) -> list[dict[str, Any]]:
    """Return the configurations of the plugins that connect a pod on *node*, in order."""
    match attachment.network:
        case "podway":
            socket = lab_dir(spec.name) / node / "run" / CNI_SOCKET
            return [{"type": "podway", "agentSocket": str(socket)}]
        case "bridge":
            return [_docker_bridge(spec, node), *_port_mappings(attachment.ports)]
        case "none":
            return [{"type": "loopback"}]
        case _:
            return []


def _docker_bridge(spec: LabSpec, node: str) -> dict[str, Any]:
    families = list(spec.families)
    return {
        "type": "bridge",
        "bridge": DOCKER_BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "mtu": spec.mtu,
        "ipam": {
            "type": "host-local",
            "dataDir": str(lab_dir(spec.name) / node / "docker"),
            "ranges": [[{"subnet": DOCKER_SUBNETS[family]}] for family in families],
            "routes": [{"dst": _ANYWHERE[family]} for family in families],
        },
    }


def _port_mappings(ports: Sequence[PublishedPort]) -> list[dict[str, Any]]:
    if not ports:
        return []
    mappings = [
        {
            "hostPort": port.host_port,
            "containerPort": port.container_port,
            "protocol": port.protocol,
        }
        for port in ports
    ]
    return [{"type": "portmap", "snat": True, "runtimeConfig": {"portMappings": mappings}}]
