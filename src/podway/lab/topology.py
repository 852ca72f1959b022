"""What a lab is made of, decided before anything is made. Pure.

In: a `LabSpec`, what the user asked for. Out: a `Plan`: namespaces, what the fabric's kernel holds
(each node's cable is a veth pair, made from the fabric's side), the cluster's net-conf.json, and
the programs to start. `labs` carries it out; the same plan undoes faults, since it says what ought
to be there.

The fabric is the network under the cluster, a namespace of its own::

    flat                                      routed underlay
    n1 eth0 --- n1 |        |                 n1 eth0 --- n1 |        |  172.30.1.0/24
    n2 eth0 --- n2 | bridge |                 n2 eth0 --- n2 | router |  172.30.2.0/24
    hub eth0 - hub |        |                 hub eth0 - hub |        |  172.30.0.0/24

Node *i* is 172.30.i.2 and fd30:0:0:i::2 in both; the fabric is its gateway, and at the same time
the world outside of the cluster, for whoever wants to see masquerading. With IPv6, both ends of a
cable get a link-local address beside the one that the kernel makes: that one may not be used while
duplicate address detection lasts, and until then the kernel cannot ask for neighbours on behalf of
packets that it forwards (net/ipv6/ndisc.c, ndisc_solicit). Machines have been up for longer.
"""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from pathlib import Path
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from podway.errors import ConfigError
from podway.lab.names import (
    FABRIC,
    HUB,
    agent_socket,
    check_lab_name,
    hub_socket,
    lab_dir,
    namespace_of,
    netns_path,
    node_name,
)
from podway.model.addresses import (
    Family,
    IPAddress,
    IPInterface,
    IPNetwork,
    derive_mac,
    family_of,
)
from podway.model.kernel import (
    Address,
    Bridge,
    KernelObject,
    Link,
    NftTable,
    PodSide,
    Route,
    Sysctl,
    Veth,
)
from podway.model.networks import Attach

BackendName: TypeAlias = Literal["vxlan", "host-gw"]
MAX_NODES = 250
MIN_MTU = 1280
MAX_MTU = 65535
HUB_PORT = 7472
METRICS_PORT = 9472
UPLINK = "eth0"
BRIDGE = "br0"
CUT_TABLE = "podway-lab"
# RTPROT_STATIC: the agent must not take the node's own default route for one of its routes.
STATIC = 4
HUB_NUMBER = 0
_POD_IPV4 = "10.244.0.0/16"
_POD_IPV6 = "fd00:10:244::/48"


class LabSpec(Struct, frozen=True, kw_only=True):
    """What the user asked for.

    Attributes:
        name: of the lab.
        nodes: numbers of the nodes, ascending; node 3 is called ``n3``.
        backend: how pods of different nodes reach each other.
        attach: how pods meet their node.
        families: of underlay and pods.
        routed_underlay: every node in a subnet of its own, with a router between them.
        mtu: of the underlay, in bytes.
    """

    name: str
    nodes: tuple[int, ...]
    backend: BackendName = "vxlan"
    attach: Attach = "bridge"
    families: tuple[Family, ...] = (Family.IPV4,)
    routed_underlay: bool = False
    mtu: int = 1500


class Process(Struct, frozen=True, kw_only=True):
    """A program of the lab.

    Attributes:
        member: node that it runs on, or the hub.
        role: "agent" or "hub".
        namespace: name of the namespace in which it runs.
        arguments: what follows ``podway`` on its command line.
        directory: where its log, its pid file and its own files lie.
    """

    member: str
    role: str
    namespace: str
    arguments: tuple[str, ...]
    directory: Path

    @property
    def title(self) -> str:
        """What people call it: ``hub``, ``agent of n1``."""
        return self.role if self.role == self.member else f"{self.role} of {self.member}"

    @property
    def log(self) -> Path:
        """Where standard output and standard error go."""
        return self.directory / f"{self.role}.log"

    @property
    def pid_file(self) -> Path:
        """Where the process is written down."""
        return self.directory / f"{self.role}.pid"


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that a lab is made of, pods aside.

    Attributes:
        namespaces: names, in the order of making.
        fabric: what the fabric's namespace holds, in the order of making.
        network: the cluster's net-conf.json.
        hub: its process.
        agents: the nodes' processes.
    """

    namespaces: tuple[str, ...]
    fabric: tuple[KernelObject, ...]
    network: dict[str, Any]
    hub: Process
    agents: tuple[Process, ...]


def check_spec(spec: LabSpec) -> LabSpec:
    """Return *spec*. Raises `ConfigError` when no lab can be like that."""
    check_lab_name(spec.name)
    if not spec.nodes or len(spec.nodes) > MAX_NODES or not 1 <= spec.nodes[-1] <= MAX_NODES:
        raise ConfigError("nodes", len(spec.nodes), f"must be 1 to {MAX_NODES}")
    if not MIN_MTU <= spec.mtu <= MAX_MTU:
        raise ConfigError("MTU of the underlay", spec.mtu, f"must be {MIN_MTU} to {MAX_MTU} bytes")
    if spec.backend == "host-gw" and spec.routed_underlay:
        rule = (
            "cannot work on a routed underlay: host-gw makes each node the next hop for its pods, "
            "and a next hop must be on the node's own subnet; use --backend vxlan"
        )
        raise ConfigError("backend", spec.backend, rule)
    return spec


def plan_lab(spec: LabSpec) -> Plan:
    """Return what the lab *spec* is made of. Raises `ConfigError` for an impossible one."""
    check_spec(spec)
    members = (FABRIC, HUB, *map(node_name, spec.nodes))
    return Plan(
        namespaces=tuple(namespace_of(spec.name, member) for member in members),
        fabric=(*plan_fabric(spec), *plan_cable(spec, HUB_NUMBER), *plan_cables(spec)),
        network=plan_network(spec),
        hub=plan_hub(spec),
        agents=tuple(plan_agent(spec, number) for number in spec.nodes),
    )


def underlay_neighbours(spec: LabSpec) -> int:
    """Return how many neighbour entries per family the underlay takes, all namespaces together."""
    members = len(spec.nodes) + 1
    return 2 * members if spec.routed_underlay else members * (members - 1)


def plan_network(spec: LabSpec) -> dict[str, Any]:
    """Return the cluster's net-conf.json."""
    ipv4, ipv6 = Family.IPV4 in spec.families, Family.IPV6 in spec.families
    return {
        "EnableIPv4": ipv4,
        **({"Network": _POD_IPV4} if ipv4 else {}),
        "EnableIPv6": ipv6,
        **({"IPv6Network": _POD_IPV6} if ipv6 else {}),
        "Backend": {"Type": spec.backend},
        "Attach": spec.attach,
    }


def plan_fabric(spec: LabSpec) -> tuple[KernelObject, ...]:
    """Return what the fabric holds before any cable: it forwards, and a flat one has a bridge."""
    forwarding = tuple(
        Sysctl("ipv4/ip_forward" if family is Family.IPV4 else "ipv6/conf/all/forwarding", "1")
        for family in spec.families
    )
    if spec.routed_underlay:
        return forwarding
    bridge = Link(name=BRIDGE, kind=Bridge(), mtu=spec.mtu)
    return (*forwarding, bridge, *_fabric_addresses(spec, HUB_NUMBER, BRIDGE))


def plan_cables(spec: LabSpec) -> tuple[KernelObject, ...]:
    """Return every node's cable."""
    return tuple(item for number in spec.nodes for item in plan_cable(spec, number))


def plan_cable(spec: LabSpec, number: int) -> tuple[KernelObject, ...]:
    """Return the cable between the fabric and the node *number*, with both of its ends."""
    port = _member(number)
    link = Link(
        name=port,
        kind=Veth(_uplink(spec, number)),
        mtu=spec.mtu,
        mac=derive_mac(spec.name, FABRIC, port),
        master="" if spec.routed_underlay else BRIDGE,
    )
    if not spec.routed_underlay:
        return (link,)
    return (link, *_fabric_addresses(spec, number, port))


def plan_uplink(spec: LabSpec, number: int) -> tuple[KernelObject, ...]:
    """Return what stands on the uplink inside the node: what goes with it when it goes down."""
    end = _uplink(spec, number)
    return (*(Address(UPLINK, address) for address in end.addresses), *end.routes)


def plan_subnets(spec: LabSpec, number: int) -> tuple[IPNetwork, ...]:
    """Return the subnets that are kept for the node *number*: 10.244.3.0/24 for n3.

    Nodes would get theirs without that, in the order in which they come; a reader of a lab is
    better served by numbers that agree.
    """
    pools: dict[Family, IPNetwork] = {
        Family.IPV4: IPv4Network((int(IPv4Network(_POD_IPV4)[0]) + (number << 8), 24)),
        Family.IPV6: IPv6Network((int(IPv6Network(_POD_IPV6)[0]) + (number << 64), 64)),
    }
    return tuple(pools[family] for family in spec.families)


def plan_cut(spec: LabSpec, numbers: frozenset[int]) -> NftTable:
    """Return the table that keeps the nodes *numbers* apart from all others, and the hub.

    They still reach each other. The table stands in the fabric, on the bridge or on the router.
    """
    ports = ", ".join(f'"{_member(number)}"' for number in sorted(numbers))
    inside = f"{{ {ports} }}"
    body = (
        "chain forward {\n"
        "  type filter hook forward priority 0; policy accept;\n"
        f"  iifname {inside} oifname != {inside} drop\n"
        f"  iifname != {inside} oifname {inside} drop\n"
        "}\n"
    )
    return NftTable("inet" if spec.routed_underlay else "bridge", CUT_TABLE, body)


def plan_hub(spec: LabSpec) -> Process:
    """Return the hub's process."""
    directory = lab_dir(spec.name) / HUB
    return Process(
        member=HUB,
        role="hub",
        namespace=namespace_of(spec.name, HUB),
        arguments=(
            "hub",
            "--plaintext",
            f"--listen={hub_url(spec)}",
            f"--listen=unix:{hub_socket(spec.name)}",
            f"--data-dir={directory / 'data'}",
            f"--net-conf={lab_dir(spec.name) / 'net-conf.json'}",
        ),
        directory=directory,
    )


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
            f"--store={hub_url(spec)}",
            "--plaintext",
            f"--uplink={UPLINK}",
            *public,
            f"--state-dir={directory / 'state'}",
            f"--run-dir={agent_socket(spec.name, node).parent}",
            f"--http={_http_address(spec)}",
        ),
        directory=directory,
    )


def hub_url(spec: LabSpec) -> str:
    """Return where the lab's hub listens."""
    address = underlay_addresses(spec, HUB_NUMBER)[0]
    host = f"[{address}]" if family_of(address) is Family.IPV6 else str(address)
    return f"tcp:{host}:{HUB_PORT}"


def _http_address(spec: LabSpec) -> str:
    loopback = "127.0.0.1" if Family.IPV4 in spec.families else "[::1]"
    return f"{loopback}:{METRICS_PORT}"


def underlay_addresses(spec: LabSpec, number: int) -> tuple[IPAddress, ...]:
    """Return the addresses of the node *number* (0: the hub) on the underlay, one per family."""
    return tuple(_host(spec, number, 2, family).ip for family in spec.families)


def _uplink(spec: LabSpec, number: int) -> PodSide:
    member = _member(number)
    return PodSide(
        netns=str(netns_path(spec.name, member)),
        ifname=UPLINK,
        mac=derive_mac(spec.name, member),
        mtu=spec.mtu,
        addresses=(
            *(_host(spec, number, 2, family) for family in spec.families),
            *_link_local(spec, number, 2),
        ),
        routes=tuple(_default_route(gateway.ip) for gateway in _gateways(spec, number)),
    )


def _default_route(gateway: IPAddress) -> Route:
    if isinstance(gateway, IPv4Address):
        everything: IPv4Network | IPv6Network = IPv4Network("0.0.0.0/0")
        return Route(dst=everything, dev=UPLINK, via=gateway, protocol=STATIC)
    # The kernel makes an IPv6 metric of 0 into 1024.
    everything = IPv6Network("::/0")
    return Route(dst=everything, dev=UPLINK, via=gateway, protocol=STATIC, metric=1024)


def _fabric_addresses(spec: LabSpec, number: int, dev: str) -> tuple[Address, ...]:
    own = (*_gateways(spec, number), *_link_local(spec, number, 1))
    return tuple(Address(dev, each) for each in own)


def _link_local(spec: LabSpec, number: int, host: int) -> tuple[IPInterface, ...]:
    if Family.IPV6 not in spec.families:
        return ()
    return (IPv6Interface(f"fe80::{number}:{host}/64"),)


def _gateways(spec: LabSpec, number: int) -> tuple[IPInterface, ...]:
    """Return the fabric's own addresses as the node *number* sees them."""
    subnet = number if spec.routed_underlay else HUB_NUMBER
    return tuple(_host(spec, subnet, 1, family) for family in spec.families)


def _host(spec: LabSpec, number: int, host: int, family: Family) -> IPInterface:
    """Return address *host* in the subnet of node *number*; a flat underlay is one wide subnet."""
    if family is Family.IPV4:
        length = 24 if spec.routed_underlay else 16
        return IPv4Interface((IPv4Address(f"172.30.{number}.{host}"), length))
    length = 64 if spec.routed_underlay else 48
    return IPv6Interface((IPv6Address(f"fd30:0:0:{number}::{host}"), length))


def _member(number: int) -> str:
    return HUB if number == HUB_NUMBER else node_name(number)
