"""Backend ``vxlan``: frames between nodes ride in UDP, the kernel does all of it (RFC 7348).

Each node has a VXLAN device, its VTEP, which holds the first address of the node's subnet. To send
a packet to a pod on a peer the kernel answers three questions, and podway writes each answer down
beforehand, so nothing is ever flooded, learned or asked for:

    which way?                10.244.2.0/24 via 10.244.2.0 dev podway.1 onlink     (route)
    whose MAC is 10.244.2.0?  10.244.2.0 lladdr 02:.. dev podway.1 permanent       (neighbour)
    where is that MAC?        02:.. dst 192.0.2.12 dev podway.1 self permanent     (FDB)

    +-------------------+-----+-------+----------+-----------------------------+
    | outer IP (20, 40) | UDP | VXLAN | Ethernet | the pod's packet            |
    |  me -> peer       |  8  |   8   |    14    |                             |
    +-------------------+-----+-------+----------+-----------------------------+

IPv4 pods travel over IPv4 and IPv6 pods over IPv6, each with a device of its own, because the outer
headers differ by 20 bytes and so does the MTU. A VTEP's MAC is derived from the node's name: it is
the same after a restart, a crash or a new installation, and peers' entries stay right. (A VTEP that
was taken over from a flanneld keeps the MAC that it had.)
"""

from podway.compute.mtu import underlay_mtu
from podway.compute.onlink import is_on_link
from podway.compute.plans import PeerPlan
from podway.compute.uplinks import local_address
from podway.model.addresses import Family, derive_mac, host_interface
from podway.model.kernel import (
    ALIAS_PREFIX,
    Address,
    FdbEntry,
    KernelObject,
    Link,
    Neighbour,
    Offload,
    Route,
    Sysctl,
    Vxlan,
    default_metric,
)
from podway.model.networks import Network, VxlanConfig
from podway.model.nodes import BackendData, Identity, Lease, Node, Uplink, VtepData

_INNER_BYTES = 8 + 8 + 14
_IFNAMSIZ = 15


def overhead(family: Family) -> int:
    """Return 50 for IPv4 and 70 for IPv6: outer IP, UDP, VXLAN and inner Ethernet headers."""
    return _INNER_BYTES + (20 if family is Family.IPV4 else 40)


def device_name(vni: int, family: Family) -> str:
    """Return the VTEP's name; a long VNI leaves no room for ``podway-v6.`` in 15 bytes."""
    name = f"podway.{vni}" if family is Family.IPV4 else f"podway-v6.{vni}"
    return name if len(name) <= _IFNAMSIZ else f"pw6.{vni}"


def publish(network: Network, identity: Identity, family: Family) -> BackendData | None:
    """Return the VNI and the MAC of the node's VTEP."""
    vni = _config(network).vni
    known = dict(identity.macs).get(family)
    mac = known or derive_mac("vtep", identity.name, family.label, str(vni))
    return VtepData(vni=vni, mac=mac)


def compute_node(network: Network, me: Node, uplink: Uplink) -> tuple[KernelObject, ...]:
    """Return the VTEP of each family with its address; nothing here depends on peers."""
    return tuple(item for lease in me.leases for item in _vtep(network, lease, uplink))


def compute_peer(network: Network, me: Node, uplink: Uplink, peer: Node) -> PeerPlan:
    """Return the three answers for each family in which both nodes have a lease."""
    objects: list[KernelObject] = []
    skipped: list[str] = []
    for lease in peer.leases:
        if me.lease(lease.family) is None:
            continue
        if _config(network).direct_routing and is_on_link(uplink, lease.public_ip):
            objects.append(_direct_route(lease, uplink))
        elif not isinstance(lease.data, VtepData):
            skipped.append(f"{peer.name} publishes no {lease.family.label} VTEP")
        elif lease.data.vni != _config(network).vni:
            skipped.append(
                f"{peer.name} uses VNI {lease.data.vni}, this network {_config(network).vni}"
            )
        else:
            objects.extend(_tunnel(network, lease, lease.data))
    return PeerPlan(tuple(objects), tuple(skipped))


def _config(network: Network) -> VxlanConfig:
    assert isinstance(network.backend, VxlanConfig)
    return network.backend


def _vtep(network: Network, lease: Lease, uplink: Uplink) -> tuple[KernelObject, ...]:
    config = _config(network)
    dev = device_name(config.vni, lease.family)
    assert isinstance(lease.data, VtepData)
    link = Link(
        name=dev,
        kind=Vxlan(
            vni=config.vni,
            local=local_address(uplink, lease.public_ip),
            underlay=uplink.of(lease.family).dev,
            port=config.port,
            gbp=config.gbp,
            learning=config.learning,
        ),
        mtu=underlay_mtu(network, uplink, lease.family) - overhead(lease.family),
        mac=lease.data.mac,
        alias=f"{ALIAS_PREFIX}vtep",
    )
    address = Address(dev, host_interface(lease.subnet.network_address))
    objects: list[KernelObject] = [link, address]
    if config.checksum_offload is not None:
        objects.append(Offload(dev, config.checksum_offload))
    if uplink.ipv6:
        # Router advertisements over the overlay would hand out somebody's default route.
        objects.append(Sysctl(f"ipv6/conf/{dev}/accept_ra", "0", dev))
    return tuple(objects)


def _tunnel(network: Network, lease: Lease, vtep: VtepData) -> tuple[KernelObject, ...]:
    dev = device_name(_config(network).vni, lease.family)
    gateway = lease.subnet.network_address
    return (
        Neighbour(dev, gateway, vtep.mac),
        FdbEntry(dev, vtep.mac, lease.public_ip),
        Route(
            dst=lease.subnet,
            dev=dev,
            via=gateway,
            onlink=True,
            metric=default_metric(lease.family),
        ),
    )


def _direct_route(lease: Lease, uplink: Uplink) -> Route:
    return Route(
        dst=lease.subnet,
        dev=uplink.of(lease.family).dev,
        via=lease.public_ip,
        metric=default_metric(lease.family),
    )
