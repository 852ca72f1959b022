"""The network under a lab's cluster: addresses, cables, and what cuts them. Pure.

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

from podway.lab.names import FABRIC, HUB, netns_path, node_name
from podway.lab.specs import LabSpec
from podway.model.addresses import Family, IPAddress, IPInterface, IPNetwork, derive_mac, family_of
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
    default_metric,
)

UPLINK = "eth0"
BRIDGE = "br0"
CUT_TABLE = "podway-lab"
# RTPROT_STATIC: the agent must not take the node's own default route for one of its routes.
STATIC = 4
HUB_NUMBER = 0
POD_IPV4 = "10.244.0.0/16"
POD_IPV6 = "fd00:10:244::/48"


def underlay_addresses(spec: LabSpec, number: int) -> tuple[IPAddress, ...]:
    """Return the addresses of the node *number* (0: the hub) on the underlay, one per family."""
    return tuple(_host(spec, number, 2, family).ip for family in spec.families)


def plan_subnets(spec: LabSpec, number: int) -> tuple[IPNetwork, ...]:
    """Return the subnets that are kept for the node *number*: 10.244.3.0/24 for n3.

    Nodes would get theirs without that, in the order in which they come; a reader of a lab is
    better served by numbers that agree.
    """
    pools: dict[Family, IPNetwork] = {
        Family.IPV4: IPv4Network((int(IPv4Network(POD_IPV4)[0]) + (number << 8), 24)),
        Family.IPV6: IPv6Network((int(IPv6Network(POD_IPV6)[0]) + (number << 64), 64)),
    }
    return tuple(pools[family] for family in spec.families)


def underlay_neighbours(spec: LabSpec) -> int:
    """Return how many neighbour entries per family the underlay takes, all namespaces together."""
    members = len(spec.nodes) + 1
    return 2 * members if spec.routed_underlay else members * (members - 1)


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
    routes = _pod_routes(spec, number, port)
    if not spec.routed_underlay:
        return (link, *routes)
    return (link, *_fabric_addresses(spec, number, port), *routes)


def _pod_routes(spec: LabSpec, number: int, port: str) -> tuple[Route, ...]:
    """Return how the fabric reaches the pods of a node, where nobody else is to know the way."""
    if spec.backend != "alloc" or number == HUB_NUMBER:
        return ()
    dev = port if spec.routed_underlay else BRIDGE
    pairs = zip(plan_subnets(spec, number), underlay_addresses(spec, number), strict=True)
    return tuple(
        Route(
            dst=subnet, dev=dev, via=via, protocol=STATIC, metric=default_metric(family_of(subnet))
        )
        for subnet, via in pairs
    )


def plan_uplink(spec: LabSpec, number: int) -> tuple[KernelObject, ...]:
    """Return what stands on the uplink inside the node: what goes with it when it goes down."""
    end = _uplink(spec, number)
    return (*(Address(UPLINK, address) for address in end.addresses), *end.routes)


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
