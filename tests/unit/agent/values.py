"""Values that the agent's unit tests share."""

from ipaddress import ip_address, ip_network

from podway.agent.ledger import Ledger
from podway.model.addresses import Family, IPNetwork
from podway.model.endpoints import Endpoint, EndpointKey
from podway.model.networks import Network, parse_network
from podway.model.nodes import Lease, Node

SUBNET_IPV4 = ip_network("10.244.1.0/24")
SUBNET_IPV6 = ip_network("fd00:10:244:1::/64")


def key(name: str, ifname: str = "eth0", network: str = "net") -> EndpointKey:
    return EndpointKey(network, name, ifname)


def endpoint(name: str, *addresses: str, attach: str = "bridge", mtu: int = 1450) -> Endpoint:
    return Endpoint(
        key=key(name),
        netns=f"/run/netns/{name}",
        addresses=tuple(ip_address(address) for address in addresses),
        attach="routed" if attach == "routed" else "bridge",
        mtu=mtu,
        pod=f"default/{name}",
    )


def held(ledger: Ledger) -> dict[str, str]:
    """Return address to container, for all addresses that are held."""
    rows = ledger.addresses()
    return {str(row.address): row.key.container_id for row in rows if row.released_at is None}


def subnets(*families: Family) -> dict[Family, IPNetwork]:
    both: dict[Family, IPNetwork] = {Family.IPV4: SUBNET_IPV4, Family.IPV6: SUBNET_IPV6}
    return {family: both[family] for family in families or both}


def network(attach: str = "bridge", backend: str = "host-gw") -> Network:
    return parse_network(
        f'{{"Network": "10.244.0.0/16", "Attach": "{attach}", "Backend": {{"Type": "{backend}"}}}}'
    )


def node(name: str, subnet: str = "10.244.1.0/24", public_ip: str = "192.0.2.1") -> Node:
    lease = Lease(subnet=ip_network(subnet), public_ip=ip_address(public_ip))
    return Node(name=name, backend="host-gw", leases=(lease,))
