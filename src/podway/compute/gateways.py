"""Who pods send to first, and which addresses of a node's subnet are not for pods."""

from ipaddress import IPv4Address, IPv6Address

from podway.model.addresses import Family, IPAddress, IPNetwork
from podway.model.networks import Attach

# A routed pod has no neighbour but its host end; the same two addresses serve every such pair.
ROUTED_GATEWAY_IPV4 = IPv4Address("169.254.1.1")
ROUTED_GATEWAY_IPV6 = IPv6Address("fe80::1")


def bridge_gateway(subnet: IPNetwork) -> IPAddress:
    """Return the bridge's address: the first host of *subnet*."""
    return subnet.network_address + 1


def routed_gateway(family: Family) -> IPAddress:
    """Return the address that stands for the host end of a routed pod."""
    return ROUTED_GATEWAY_IPV4 if family is Family.IPV4 else ROUTED_GATEWAY_IPV6


def gateway(attach: Attach, family: Family, subnet: IPNetwork) -> IPAddress:
    """Return the next hop of a pod's default route."""
    return bridge_gateway(subnet) if attach == "bridge" else routed_gateway(family)


def pod_range(subnet: IPNetwork) -> tuple[int, int]:
    """Return the first and last pod address of *subnet* as numbers.

    Left out are the subnet's own address (the VTEP's), the bridge's, and the IPv4 broadcast.
    """
    last = int(subnet.broadcast_address) - (1 if subnet.version == 4 else 0)
    return int(subnet.network_address) + 2, last
