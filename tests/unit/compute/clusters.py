"""A small cluster for tests: node-1 is "here", node-2 on its own subnet, node-3 behind a router.

Node n leases 10.244.n.0/24 and fd00:10:244:n::/64. Its public addresses are 192.0.2.1n and
2001:db8:0:1::1n while it is on this node's link, 198.51.100.1n and 2001:db8:0:2::1n elsewhere.
"""

import base64
from collections.abc import Iterable
from ipaddress import ip_address, ip_interface, ip_network

from podway.compute.backends import backend_of
from podway.compute.mtu import interface_mtu
from podway.compute.node import Place
from podway.model.addresses import Family, IPAddress, IPNetwork
from podway.model.endpoints import Endpoint, EndpointKey
from podway.model.networks import (
    Attach,
    BackendConfig,
    HostGwConfig,
    IpipConfig,
    Network,
    Pool,
    UdpConfig,
    VxlanConfig,
    WireguardConfig,
)
from podway.model.nodes import Identity, Lease, Node, Uplink

IPV4, IPV6 = Family.IPV4, Family.IPV6
DUAL = (IPV4, IPV6)

_PREFIXES = {IPV4: "10.244.0.0/16", IPV6: "fd00:10:244::/48"}
_LENGTHS = {IPV4: 24, IPV6: 64}
_BOUNDS = {
    IPV4: ("10.244.1.0/24", "10.244.255.0/24"),
    IPV6: ("fd00:10:244:1::/64", "fd00:10:244:ffff::/64"),
}

UPLINK = Uplink(
    dev="eth0",
    mtu=1500,
    addresses=(
        ip_interface("192.0.2.11/24"),
        ip_interface("2001:db8:0:1::11/64"),
        ip_interface("fe80::11/64"),
    ),
)


def network_of(
    backend: BackendConfig | None = None,
    families: Iterable[Family] = (IPV4,),
    *,
    attach: Attach = "bridge",
    masquerade: bool = True,
    non_masquerade: Iterable[str] = (),
    further: Iterable[str] = (),
) -> Network:
    """Return a network with the usual prefixes, and *further* ones."""
    pools = [_pool(family) for family in families]
    pools += [_further(ip_network(text)) for text in further]
    return Network(
        pools=tuple(sorted(pools, key=lambda pool: pool.family)),
        backend=backend or VxlanConfig(),
        attach=attach,
        masquerade=masquerade,
        non_masquerade=tuple(ip_network(text) for text in non_masquerade),
    )


def _pool(family: Family) -> Pool:
    low, high = _BOUNDS[family]
    return Pool(
        prefix=ip_network(_PREFIXES[family]),
        subnet_len=_LENGTHS[family],
        subnet_min=ip_network(low),
        subnet_max=ip_network(high),
    )


def _further(prefix: IPNetwork) -> Pool:
    """Return a pool that is one subnet wide."""
    return Pool(prefix=prefix, subnet_len=prefix.prefixlen, subnet_min=prefix, subnet_max=prefix)


def subnet_of(number: int, family: Family) -> IPNetwork:
    """Return what node *number* leases in *family*."""
    text = f"10.244.{number}.0/24" if family is IPV4 else f"fd00:10:244:{number:x}::/64"
    return ip_network(text)


def public_ip(number: int, family: Family, *, on_link: bool = True) -> IPAddress:
    """Return the address at which node *number* can be reached."""
    if family is IPV4:
        return ip_address(f"192.0.2.1{number}" if on_link else f"198.51.100.1{number}")
    return ip_address(f"2001:db8:0:{1 if on_link else 2}::1{number}")


def identity_of(number: int) -> Identity:
    """Return what node *number* knows of itself."""
    key = base64.b64encode(number.to_bytes(32, "big")).decode()
    return Identity(name=f"node-{number}", wireguard_key=key, extension=f"said by node-{number}")


def node_of(
    network: Network,
    number: int,
    *,
    families: Iterable[Family] | None = None,
    on_link: bool = True,
) -> Node:
    """Return node *number* of *network*, as it publishes itself."""
    name, backend = f"node-{number}", backend_of(network)
    chosen = network.families if families is None else tuple(families)
    leases = [
        Lease(
            subnet=subnet_of(number, family),
            public_ip=public_ip(number, family, on_link=on_link),
            data=backend.publish(network, identity_of(number), family),
        )
        for family in chosen
    ]
    return Node(name=name, backend=network.backend_name, leases=tuple(leases))


def place_of(network: Network, uplink: Uplink = UPLINK) -> Place:
    """Return where node-1 stands in *network*."""
    me = node_of(network, 1)
    return Place(network=network, me=me, uplink=uplink, bridge=network.attach == "bridge")


def endpoint_of(place: Place, number: int, ifname: str = "eth0") -> Endpoint:
    """Return the interface of pod *number* of node-1: it has the subnets' address number."""
    return Endpoint(
        key=EndpointKey("podway", f"{number:064x}", ifname),
        netns=f"/run/netns/pod-{number}",
        addresses=tuple(subnet.network_address + number for subnet in place.subnets.values()),
        attach=place.network.attach,
        mtu=interface_mtu(place.mtus),
        pod=f"default/pod-{number}",
    )


BACKENDS: dict[str, BackendConfig] = {
    "vxlan": VxlanConfig(),
    "vxlan-direct": VxlanConfig(direct_routing=True),
    "host-gw": HostGwConfig(),
    "ipip": IpipConfig(),
    "ipip-direct": IpipConfig(direct_routing=True),
    "wireguard": WireguardConfig(),
    "udp": UdpConfig(),
}
IPV4_ALONE = frozenset({"ipip", "ipip-direct"})
FAMILIES: dict[str, tuple[Family, ...]] = {"ipv4": (IPV4,), "ipv6": (IPV6,), "dual": DUAL}
ATTACHES: tuple[Attach, ...] = ("bridge", "routed")
