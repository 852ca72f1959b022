"""What a lab is made of, decided before anything is made. Pure.

In: a `LabSpec`, what the user asked for. Out: a `Plan`: namespaces, what the fabric's kernel holds
(each node's cable is a veth pair, made from the fabric's side), the cluster's net-conf.json, and
the programs to start. `labs` carries it out; the same plan undoes faults, since it says what ought
to be there.
"""

from typing import Any

from msgspec import Struct

from podway.lab.backends import backend_document
from podway.lab.names import (
    FABRIC,
    HUB,
    agent_socket,
    lab_dir,
    namespace_of,
    node_name,
)
from podway.lab.programs import Process
from podway.lab.specs import LabSpec, check_spec
from podway.lab.stores import plan_stores, store_arguments
from podway.lab.underlay import (
    HUB_NUMBER,
    POD_IPV4,
    POD_IPV6,
    UPLINK,
    plan_cable,
    plan_cables,
    plan_fabric,
    underlay_addresses,
)
from podway.model.addresses import Family
from podway.model.kernel import KernelObject

METRICS_PORT = 9472


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that a lab is made of, pods aside.

    Attributes:
        namespaces: names, in the order of making.
        fabric: what the fabric's namespace holds, in the order of making.
        network: the cluster's net-conf.json.
        stores: the processes that are the cluster's store, in the order in which they start.
        agents: the nodes' processes.
    """

    namespaces: tuple[str, ...]
    fabric: tuple[KernelObject, ...]
    network: dict[str, Any]
    stores: tuple[Process, ...]
    agents: tuple[Process, ...]


def plan_lab(spec: LabSpec) -> Plan:
    """Return what the lab *spec* is made of. Raises `ConfigError` for an impossible one."""
    check_spec(spec)
    members = (FABRIC, HUB, *map(node_name, spec.nodes))
    return Plan(
        namespaces=tuple(namespace_of(spec.name, member) for member in members),
        fabric=(*plan_fabric(spec), *plan_cable(spec, HUB_NUMBER), *plan_cables(spec)),
        network=plan_network(spec),
        stores=plan_stores(spec),
        agents=tuple(plan_agent(spec, number) for number in spec.nodes),
    )


def plan_network(spec: LabSpec) -> dict[str, Any]:
    """Return the cluster's net-conf.json."""
    ipv4, ipv6 = Family.IPV4 in spec.families, Family.IPV6 in spec.families
    return {
        "EnableIPv4": ipv4,
        **({"Network": POD_IPV4} if ipv4 else {}),
        "EnableIPv6": ipv6,
        **({"IPv6Network": POD_IPV6} if ipv6 else {}),
        "Backend": backend_document(spec),
        "Attach": spec.attach,
    }


def plan_agent(spec: LabSpec, number: int) -> Process:
    """Return the process of the agent of the node *number*."""
    node = node_name(number)
    directory = lab_dir(spec.name) / node
    public = tuple(f"--public-ip={address}" for address in underlay_addresses(spec, number))
    return Process(
        member=node,
        role="agent",
        namespace=namespace_of(spec.name, node),
        arguments=(
            "agent",
            f"--node={node}",
            *store_arguments(spec),
            f"--uplink={UPLINK}",
            *public,
            f"--state-dir={directory / 'state'}",
            f"--run-dir={agent_socket(spec.name, node).parent}",
            f"--http={_http_address(spec)}",
        ),
        directory=directory,
    )


def _http_address(spec: LabSpec) -> str:
    loopback = "127.0.0.1" if Family.IPV4 in spec.families else "[::1]"
    return f"{loopback}:{METRICS_PORT}"
