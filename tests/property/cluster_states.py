"""States of the cluster, and what the kernel holds in each: a table of both.

It says what `ip route`, `ip neighbour`, `bridge fdb` and `ip link` would show (the VTEP and its
address, which are there all the time, are left out).
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from msgspec.structs import replace

from podway.compute.backends.vxlan import publish
from podway.compute.node import Place, compute_endpoint, compute_own, compute_peer
from podway.model.kernel import FdbEntry, KernelObject, Link, Neighbour, Route
from podway.model.networks import HostGwConfig, VxlanConfig
from podway.model.nodes import Node, VtepData
from property.walks import Parts, State
from unit.compute.clusters import (
    DUAL,
    IPV4,
    IPV6,
    UPLINK,
    endpoint_of,
    identity_of,
    network_of,
    node_of,
    place_of,
    public_ip,
    subnet_of,
)

# --- places -------------------------------------------------------------------------------------

VXLAN = place_of(network_of())
DIRECT = place_of(network_of(VxlanConfig(direct_routing=True)))
OTHER_VNI = place_of(network_of(VxlanConfig(vni=2)))
HOST_GW = place_of(network_of(HostGwConfig()))
ROUTED = place_of(network_of(attach="routed"))
BOTH = place_of(network_of(families=DUAL))
SMALL = place_of(network_of(), replace(UPLINK, mtu=1400))

PODS = range(5, 9)
POD_NAMES = {
    endpoint_of(place, number).host_ifname: f"pod-{number}"
    for place in (VXLAN, ROUTED)
    for number in PODS
}
VTEPS = {
    data.mac: f"node-{number}"
    for place in (VXLAN, OTHER_VNI)
    for number in range(1, 10)
    for family in DUAL
    if isinstance(data := publish(place.network, identity_of(number), family), VtepData)
}

# --- nodes --------------------------------------------------------------------------------------


def node(number: int, place: Place = VXLAN, *, on_link: bool = True, **changes: object) -> Node:
    """Return node *number*; *changes* are made to its only lease."""
    found = node_of(place.network, number, on_link=on_link)
    return replace(found, leases=(replace(found.leases[0], **changes),)) if changes else found


def cluster(place: Place, *nodes: Node, pods: Iterable[int] = ()) -> Parts:
    """Return what every source wants at *place* with *nodes* as peers and *pods* here."""
    parts: dict[tuple[str, ...], Sequence[KernelObject]] = {("node",): compute_own(place)}
    for peer in nodes:
        parts["peer", peer.name] = compute_peer(place, peer).objects
    for number in pods:
        parts["pod", str(number)] = compute_endpoint(place, endpoint_of(place, number))
    return parts


def state(parts: Parts, text: str = "") -> State:
    return State(parts, frozenset(line.strip() for line in text.splitlines() if line.strip()))


# --- what the kernel shows ----------------------------------------------------------------------


def shown(objects: Iterable[KernelObject]) -> frozenset[str]:
    """Return routes, neighbours, FDB entries, and pods' devices as lines; names for MACs."""
    return frozenset(line for item in objects if (line := _line(item)))


def _line(item: KernelObject) -> str:
    match item:
        case Route(kind="unicast"):
            words = ["route", str(item.dst)]
            words += ["via", str(item.via)] if item.via else []
            words += ["dev", POD_NAMES.get(item.dev, item.dev)]
            return " ".join([*words, *(["onlink"] if item.onlink else [])])
        case Neighbour():
            return f"neigh {item.address} lladdr {VTEPS[item.mac]} dev {item.dev}"
        case FdbEntry():
            return f"fdb {VTEPS[item.mac]} dst {item.dst} dev {item.dev}"
        case Link(name=name) if name in POD_NAMES:
            return f"link {POD_NAMES[name]}" + (f" master {item.master}" if item.master else "")
        case _:
            return ""


TWO = """
    route 10.244.2.0/24 via 10.244.2.0 dev podway.1 onlink
    neigh 10.244.2.0 lladdr node-2 dev podway.1
    fdb node-2 dst 192.0.2.12 dev podway.1
"""
THREE = """
    route 10.244.3.0/24 via 10.244.3.0 dev podway.1 onlink
    neigh 10.244.3.0 lladdr node-3 dev podway.1
    fdb node-3 dst 192.0.2.13 dev podway.1
"""
TWO_IPV6 = """
    route fd00:10:244:2::/64 via fd00:10:244:2:: dev podway-v6.1 onlink
    neigh fd00:10:244:2:: lladdr node-2 dev podway-v6.1
    fdb node-2 dst 2001:db8:0:1::12 dev podway-v6.1
"""

CASES: dict[str, list[State]] = {
    "peers come one by one": [
        state(cluster(VXLAN)),
        state(cluster(VXLAN, node(2)), TWO),
        state(cluster(VXLAN, node(2), node(3)), TWO + THREE),
    ],
    "one peer is replaced by another": [
        state(cluster(VXLAN, node(2)), TWO),
        state(cluster(VXLAN, node(3)), THREE),
    ],
    "a peer's public address changes": [
        state(cluster(VXLAN, node(2), node(3)), TWO + THREE),
        state(
            cluster(VXLAN, node(2, public_ip=ip_address("192.0.2.77")), node(3)),
            TWO.replace("192.0.2.12", "192.0.2.77") + THREE,
        ),
    ],
    "a peer gets another subnet": [
        state(cluster(VXLAN, node(2)), TWO),
        state(
            cluster(VXLAN, node(2, subnet=ip_network("10.244.9.0/24"))),
            TWO.replace("10.244.2.0", "10.244.9.0"),
        ),
    ],
    "a peer's subnet grows": [
        state(cluster(VXLAN, node(2)), TWO),
        state(
            cluster(VXLAN, node(2, subnet=ip_network("10.244.2.0/23"))),
            TWO.replace("10.244.2.0/24", "10.244.2.0/23"),
        ),
    ],
    "two peers swap their subnets": [
        state(cluster(VXLAN, node(2), node(3)), TWO + THREE),
        state(
            cluster(VXLAN, node(2, subnet=subnet_of(3, IPV4)), node(3, subnet=subnet_of(2, IPV4))),
            TWO.replace("10.244.2.0", "10.244.3.0") + THREE.replace("10.244.3.0", "10.244.2.0"),
        ),
    ],
    "two peers swap their public addresses": [
        state(cluster(VXLAN, node(2), node(3)), TWO + THREE),
        state(
            cluster(
                VXLAN,
                node(2, public_ip=public_ip(3, IPV4)),
                node(3, public_ip=public_ip(2, IPV4)),
            ),
            TWO.replace("192.0.2.12", "192.0.2.13") + THREE.replace("192.0.2.13", "192.0.2.12"),
        ),
    ],
    "two peers claim one subnet: the first name has it": [
        state(cluster(VXLAN, node(2)), TWO),
        state(
            cluster(VXLAN, node(2), node(3, subnet=subnet_of(2, IPV4))),
            TWO + "fdb node-3 dst 192.0.2.13 dev podway.1",
        ),
        state(
            cluster(VXLAN, node(3, subnet=subnet_of(2, IPV4))),
            THREE.replace("10.244.3.0", "10.244.2.0"),
        ),
    ],
    "a peer without a VTEP, and with another backend": [
        state(cluster(VXLAN, node(2), node(3)), TWO + THREE),
        state(cluster(VXLAN, node(2, data=None), node(3)), THREE),
        state(cluster(VXLAN, replace(node(2), backend="udp"), node(3)), THREE),
    ],
    "a peer moves onto the link, off it, and the setting changes": [
        state(
            cluster(DIRECT, node(2, DIRECT), node(3, DIRECT, on_link=False)),
            "route 10.244.2.0/24 via 192.0.2.12 dev eth0"
            + THREE.replace("192.0.2.13", "198.51.100.13"),
        ),
        state(
            cluster(DIRECT, node(2, DIRECT, on_link=False), node(3, DIRECT)),
            TWO.replace("192.0.2.12", "198.51.100.12")
            + "route 10.244.3.0/24 via 192.0.2.13 dev eth0",
        ),
        state(cluster(VXLAN, node(2), node(3)), TWO + THREE),
    ],
    "another VNI: everything moves to another device": [
        state(cluster(VXLAN, node(2), node(3)), TWO + THREE),
        state(
            cluster(OTHER_VNI, node(2, OTHER_VNI), node(3, OTHER_VNI)),
            (TWO + THREE).replace("podway.1", "podway.2"),
        ),
    ],
    "another backend": [
        state(cluster(VXLAN, node(2), pods=[5]), TWO + "link pod-5 master cni0"),
        state(
            cluster(HOST_GW, node(2, HOST_GW), pods=[5]),
            """
            route 10.244.2.0/24 via 192.0.2.12 dev eth0
            link pod-5 master cni0
            """,
        ),
    ],
    "another MTU": [
        state(cluster(VXLAN, node(2), pods=[5]), TWO + "link pod-5 master cni0"),
        state(cluster(SMALL, node(2), pods=[5]), TWO + "link pod-5 master cni0"),
    ],
    "a dual-stack peer loses and regains families": [
        state(cluster(BOTH, node_of(BOTH.network, 2)), TWO + TWO_IPV6),
        state(cluster(BOTH, node_of(BOTH.network, 2, families=(IPV6,))), TWO_IPV6),
        state(cluster(BOTH, node_of(BOTH.network, 2, families=(IPV4,))), TWO),
    ],
    "the network becomes dual-stack": [
        state(cluster(VXLAN, node(2)), TWO),
        state(cluster(BOTH, node_of(BOTH.network, 2)), TWO + TWO_IPV6),
    ],
    "pods on the bridge come and go": [
        state(cluster(VXLAN, pods=[5, 6]), "link pod-5 master cni0 \n link pod-6 master cni0"),
        state(cluster(VXLAN, pods=[6, 7]), "link pod-6 master cni0 \n link pod-7 master cni0"),
    ],
    "routed pods come and go": [
        state(
            cluster(ROUTED, pods=[5, 6]),
            """
            link pod-5
            route 10.244.1.5/32 dev pod-5
            link pod-6
            route 10.244.1.6/32 dev pod-6
            """,
        ),
        state(
            cluster(ROUTED, pods=[6]),
            """
            link pod-6
            route 10.244.1.6/32 dev pod-6
            """,
        ),
    ],
}
# Where each case returns to when the cluster is empty: the place of its first state.
PLACES = {
    "a peer moves onto the link, off it, and the setting changes": DIRECT,
    "a dual-stack peer loses and regains families": BOTH,
    "routed pods come and go": ROUTED,
}
