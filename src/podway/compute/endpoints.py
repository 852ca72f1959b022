"""How a pod's interface meets its node: two ways, one value each.

``bridge`` (as flannel): the host end is a port of ``cni0``; pods of a node share one Ethernet and
the bridge's address is their gateway.

``routed`` (as Calico): no bridge. The pod holds its address alone (/32, /128); everything else is
behind its gateway, ``169.254.1.1`` or ``fe80::1``, which every host end holds. The node has one
host route per pod, so even two pods of a node meet in its routing table, where every packet can be
seen, filtered and explained.

Not proxy ARP, which Calico has for IPv4: a kernel answers by it only while it has a route to the
gateway over another device (net/ipv4/arp.c, arp_fwd_proxy), that is a default route, which a
cluster without a way out does not have, and a node may lose.

    bridge:  pod eth0 ---- pwX --[cni0 10.244.1.1/24]-- routes -- uplink
    routed:  pod eth0 ---- pwX -- 10.244.1.5 dev pwX -- routes -- uplink
"""

from collections.abc import Mapping
from ipaddress import ip_interface

from podway.compute.gateways import (
    ROUTED_GATEWAY_IPV4,
    ROUTED_GATEWAY_IPV6,
    bridge_gateway,
    routed_gateway,
)
from podway.model.addresses import (
    Family,
    IPAddress,
    IPInterface,
    IPNetwork,
    everything,
    family_of,
    host_interface,
    host_prefix,
    interface_in,
    mac_of_address,
)
from podway.model.endpoints import Endpoint
from podway.model.instances import BRIDGE_NAME
from podway.model.kernel import (
    ALIAS_PREFIX,
    Address,
    Bridge,
    KernelObject,
    Link,
    PodSide,
    Route,
    Sysctl,
    Veth,
    default_metric,
)

# Locally administered and the same on every host end: a pod that is moved keeps a valid neighbour.
ROUTED_HOST_MAC = "ee:ee:ee:ee:ee:ee"
_ALIAS_BYTES = 255

Subnets = Mapping[Family, IPNetwork]
Mtus = Mapping[Family, int]


def compute_bridge(subnets: Subnets, mtu: int, *, ipv6: bool) -> tuple[KernelObject, ...]:
    """Return ``cni0`` with a gateway address for each of *subnets*.

    Where the kernel has *ipv6*, the bridge listens to no router: any pod could claim to be one.
    """
    gateways = {family: bridge_gateway(subnet) for family, subnet in subnets.items()}
    # A bridge without a fixed MAC takes its ports' lowest one: it would change as pods come and go.
    mac = mac_of_address(next(iter(gateways.values())))
    link = Link(name=BRIDGE_NAME, kind=Bridge(), mtu=mtu, mac=mac, alias=f"{ALIAS_PREFIX}bridge")
    addresses = [
        Address(BRIDGE_NAME, interface_in(gateways[family], subnet.prefixlen))
        for family, subnet in subnets.items()
    ]
    if not ipv6:
        return (link, *addresses)
    return (link, *addresses, Sysctl(f"ipv6/conf/{BRIDGE_NAME}/accept_ra", "0", BRIDGE_NAME))


def compute_unassigned(subnets: Subnets) -> tuple[KernelObject, ...]:
    """Return, for a node without a bridge, what answers for addresses that no pod has.

    Without it a packet for such an address would follow the default route off the node, and on a
    router that knows better come straight back, until its TTL ends.
    """
    return tuple(
        Route(dst=subnet, kind="unreachable", metric=default_metric(family) + 1)
        for family, subnet in subnets.items()
    )


def compute_endpoint(
    endpoint: Endpoint, subnets: Subnets, mtus: Mtus, gso_max_size: int | None = None
) -> tuple[KernelObject, ...]:
    """Return what the node holds for *endpoint*; its pod side is part of the link.

    Args:
        endpoint: the interface.
        subnets: this node's subnet per family; an address outside of them is left out.
        mtus: the largest packet per family that reaches other nodes.
        gso_max_size: the largest packet that the pod makes in one go, in bytes; None: any. It is
            the pod's end alone: what comes to the pod in larger packets would be cut at the other.
    """
    held = [
        address
        for address in endpoint.addresses
        if (subnet := subnets.get(family_of(address))) is not None and address in subnet
    ]
    if endpoint.attach == "bridge":
        return (_bridge_port(endpoint, held, subnets, mtus, gso_max_size),)
    return _routed(endpoint, held, mtus, gso_max_size)


def _alias(endpoint: Endpoint) -> str:
    name = f"{ALIAS_PREFIX}pod {endpoint.pod} {endpoint.key}".encode()
    return name[:_ALIAS_BYTES].decode(errors="ignore")


def _default_route(ifname: str, via: IPAddress, endpoint: Endpoint, mtus: Mtus) -> Route:
    family = family_of(via)
    mtu = mtus.get(family, endpoint.mtu)
    return Route(
        dst=everything(family),
        dev=ifname,
        via=via,
        metric=default_metric(family),
        mtu=mtu if mtu < endpoint.mtu else 0,
    )


def _pod_side(
    endpoint: Endpoint,
    addresses: tuple[IPInterface, ...],
    routes: tuple[Route, ...],
    gso_max_size: int | None,
) -> PodSide:
    return PodSide(
        netns=endpoint.netns,
        ifname=endpoint.key.ifname,
        mac=endpoint.mac or mac_of_address(endpoint.addresses[0]),
        mtu=endpoint.mtu,
        addresses=addresses,
        routes=routes,
        gso_max_size=gso_max_size,
    )


def _bridge_port(
    endpoint: Endpoint,
    held: list[IPAddress],
    subnets: Subnets,
    mtus: Mtus,
    gso_max_size: int | None,
) -> Link:
    chosen = [(address, subnets[family_of(address)]) for address in held]
    addresses = tuple(interface_in(address, subnet.prefixlen) for address, subnet in chosen)
    ifname = endpoint.key.ifname
    routes = tuple(
        _default_route(ifname, bridge_gateway(subnet), endpoint, mtus) for _, subnet in chosen
    )
    return Link(
        name=endpoint.host_ifname,
        kind=Veth(_pod_side(endpoint, addresses, routes, gso_max_size)),
        mtu=endpoint.mtu,
        master=BRIDGE_NAME,
        alias=_alias(endpoint),
        hairpin=True,
    )


def _routed(
    endpoint: Endpoint, held: list[IPAddress], mtus: Mtus, gso_max_size: int | None
) -> tuple[KernelObject, ...]:
    host, ifname = endpoint.host_ifname, endpoint.key.ifname
    routes: list[Route] = []
    for address in held:
        via = routed_gateway(family_of(address))
        if family_of(address) is Family.IPV4:
            routes.append(Route(dst=host_prefix(via), dev=ifname, scope="link"))
        routes.append(_default_route(ifname, via, endpoint, mtus))
    addresses = tuple(host_interface(address) for address in held)
    pod = _pod_side(endpoint, addresses, tuple(routes), gso_max_size)
    link = Link(
        name=host,
        kind=Veth(pod),
        mtu=endpoint.mtu,
        mac=ROUTED_HOST_MAC,
        alias=_alias(endpoint),
    )
    return (link, *(item for address in held for item in _host_side(host, address)))


def _host_side(host: str, address: IPAddress) -> tuple[KernelObject, ...]:
    """Return the route to one address of a routed pod, and the gateway that it sends to."""
    if family_of(address) is Family.IPV4:
        route = Route(dst=host_prefix(address), dev=host, scope="link")
        # Of scope host: no packet of the node's own may leave with an address that is everywhere.
        return (route, Address(host, host_interface(ROUTED_GATEWAY_IPV4), scope="host"))
    route = Route(dst=host_prefix(address), dev=host, metric=default_metric(Family.IPV6))
    gateway = Address(host, ip_interface(f"{ROUTED_GATEWAY_IPV6}/64"))
    return (route, gateway, Sysctl(f"ipv6/conf/{host}/accept_ra", "0", host))
