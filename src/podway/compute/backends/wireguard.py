"""Backend ``wireguard``: packets between nodes are encrypted, each peer known by its key.

A node has a WireGuard device with a key pair of its own; peers learn the public key and the UDP
port from the store. Which peer a packet goes to, and which source a packet may have, is one table
in the device ("AllowedIPs"), so one route for each prefix of the network is enough:

    10.244.0.0/16 dev podway-wg scope link                              (route, for all peers)
    peer 8F1c..=  endpoint 192.0.2.12:51820                             (one for each peer)
    10.244.2.0/24 belongs to peer 8F1c..=                               (one for each subnet)

    +-------------------+-----+-----------+------------------------------+
    | outer IP (20, 40) | UDP | WireGuard | the pod's packet, encrypted  |
    |  me -> peer       |  8  |    16     | and 16 bytes that prove it   |
    +-------------------+-----+-----------+------------------------------+

``Mode`` decides over which family packets travel. "separate" has a device for each family and
carries IPv4 over IPv4, IPv6 over IPv6. The others have one device for both: over IPv4 ("ipv4"),
over IPv6 ("ipv6"), or, peer by peer, over IPv6 where both ends have a public IPv6 address and IPv4
is translated on the way ("auto").

The key is kept (`podway.kernel.wireguard_keys`) and so is the device: an agent that restarts finds
its peers as they were. In single-device modes the device listens on ``ListenPort`` alone, so that
is what is published for both families, and what a peer's IPv4 lease says counts: flanneld publishes
``ListenPortV6`` there and does not listen on it.
"""

from ipaddress import ip_network

from podway.compute.mtu import underlay_mtu
from podway.compute.plans import PeerPlan
from podway.model.addresses import Family, IPAddress, IPNetwork, family_of, host_interface
from podway.model.backend_keys import is_wireguard_key
from podway.model.kernel import (
    WIREGUARD_ALIAS,
    Address,
    AllowedIp,
    KernelObject,
    Link,
    Route,
    Wireguard,
    WireguardDevice,
    WireguardPeer,
    default_metric,
)
from podway.model.networks import Network, WireguardConfig
from podway.model.nodes import BackendData, Identity, Lease, Node, Uplink, WireguardData

_OVERHEAD_BYTES = 40 + 8 + 16 + 16
# RFC 1918 and RFC 4193, which is what Go's net.IP.IsPrivate means.
_PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))


def overhead(_family: Family) -> int:
    """Return 80, whatever the pod's packet is: it may travel over IPv6."""
    return _OVERHEAD_BYTES


def device_name(config: WireguardConfig, family: Family) -> str:
    """Return the device that carries *family*."""
    both = config.mode != "separate" or family is Family.IPV4
    return "podway-wg" if both else "podway-wg-v6"


def listen_port(config: WireguardConfig, family: Family) -> int:
    """Return the UDP port of the device that carries *family*."""
    both = config.mode != "separate" or family is Family.IPV4
    return config.listen_port if both else config.listen_port_v6


def publish(network: Network, identity: Identity, family: Family) -> BackendData | None:
    """Return the node's public key and port; nothing while it has no key."""
    if not identity.wireguard_key:
        return None
    port = listen_port(_config(network), family)
    return WireguardData(public_key=identity.wireguard_key, port=port)


def compute_node(network: Network, me: Node, uplink: Uplink) -> tuple[KernelObject, ...]:
    """Return the devices with their keys and addresses, and the routes into them."""
    config = _config(network)
    objects: list[KernelObject] = []
    for lease in me.leases:
        dev = device_name(config, lease.family)
        outside = _outside(config, me, lease.family)
        largest = min(underlay_mtu(network, uplink, family) for family in outside)
        objects += _device(config, dev, lease, largest - _OVERHEAD_BYTES)
        objects.append(Address(dev, host_interface(lease.subnet.network_address)))
        objects += [_route(dev, prefix) for prefix in network.prefixes(lease.family)]
    return tuple(dict.fromkeys(objects))


def compute_peer(network: Network, me: Node, _uplink: Uplink, peer: Node) -> PeerPlan:
    """Return the peer on each device that reaches it, and the subnets that are its own."""
    config = _config(network)
    shared = [lease for lease in peer.leases if me.lease(lease.family) is not None]
    if config.mode == "separate":
        plans = [_reach(config, me, peer, [lease], lease) for lease in shared]
    else:
        plans = [_reach(config, me, peer, shared, _outer(config, me, peer))] if shared else []
    return PeerPlan(
        tuple(item for plan in plans for item in plan.objects),
        tuple(text for plan in plans for text in plan.skipped),
    )


def _config(network: Network) -> WireguardConfig:
    assert isinstance(network.backend, WireguardConfig)
    return network.backend


def _device(
    config: WireguardConfig, dev: str, lease: Lease, mtu_bytes: int
) -> tuple[KernelObject, ...]:
    assert isinstance(lease.data, WireguardData)
    port = listen_port(config, lease.family)
    return (
        Link(name=dev, kind=Wireguard(), mtu=mtu_bytes, alias=WIREGUARD_ALIAS),
        WireguardDevice(dev=dev, public_key=lease.data.public_key, listen_port=port),
    )


def _outside(config: WireguardConfig, me: Node, family: Family) -> tuple[Family, ...]:
    """Return the families over which the device travels that carries *family*."""
    match config.mode:
        case "separate":
            return (family,)
        case "ipv4":
            return (Family.IPV4,)
        case "ipv6":
            return (Family.IPV6,)
        case _:
            return tuple(lease.family for lease in me.leases)


def _route(dev: str, prefix: IPNetwork) -> Route:
    family = family_of(prefix)
    scope = "link" if family is Family.IPV4 else "global"
    return Route(dst=prefix, dev=dev, scope=scope, metric=default_metric(family))


def _outer(config: WireguardConfig, me: Node, peer: Node) -> Lease | None:
    """Return the lease at whose public address *peer* is reached on the one device; flannel's rule.

    None where it has no lease in a family that the mode asks for.
    """
    ipv4, ipv6 = peer.lease(Family.IPV4), peer.lease(Family.IPV6)
    mine4, mine6 = me.lease(Family.IPV4), me.lease(Family.IPV6)
    match config.mode:
        case "ipv4":
            return ipv4 if mine4 else None
        case "ipv6":
            return ipv6 if mine6 else None
        case _:
            if mine6 is None or ipv6 is None:
                return ipv4
            if mine4 is None or ipv4 is None:
                return ipv6
            if not _is_private(ipv4.public_ip):
                return ipv4
            both = not _is_private(ipv6.public_ip) and not _is_private(mine6.public_ip)
            return ipv6 if both else ipv4


def _is_private(address: IPAddress) -> bool:
    """Tell whether *address* is one that the Internet does not carry."""
    return any(address in prefix for prefix in _PRIVATE if prefix.version == address.version)


def _reach(
    config: WireguardConfig, me: Node, peer: Node, leases: list[Lease], outer: Lease | None
) -> PeerPlan:
    """Return what makes the subnets of *leases* reachable at the public address of *outer*."""
    if outer is None:
        reason = f'{peer.name} has no lease in the family that Mode "{config.mode}" travels over'
        return PeerPlan(skipped=(reason,))
    said = leases[0].data
    if not isinstance(said, WireguardData) or not is_wireguard_key(said.public_key):
        return PeerPlan(skipped=(f"{peer.name} publishes no WireGuard key",))
    if said.public_key in {getattr(mine.data, "public_key", "") for mine in me.leases}:
        # The kernel takes such a peer and has none (drivers/net/wireguard/netlink.c, set_peer).
        reason = (
            f"{peer.name} has this node's own key: copied with a disk? Remove it on one of them"
        )
        return PeerPlan(skipped=(reason,))
    dev = device_name(config, leases[0].family)
    target = WireguardPeer(
        dev=dev,
        public_key=said.public_key,
        endpoint=outer.public_ip,
        port=said.port or listen_port(config, leases[0].family),
        psk=config.psk,
        keepalive_s=config.keepalive_s,
    )
    return PeerPlan((target, *(AllowedIp(dev, each.subnet, said.public_key) for each in leases)))
