"""Nodes and their leases, one per family."""

from ipaddress import ip_address, ip_network

from podway.model.addresses import Family
from podway.model.nodes import Lease, Node, VtepData


def test_a_lease_is_found_by_its_family() -> None:
    ipv4 = Lease(subnet=ip_network("10.244.1.0/24"), public_ip=ip_address("192.0.2.1"))
    ipv6 = Lease(subnet=ip_network("fd00:1::/64"), public_ip=ip_address("2001:db8::1"))
    node = Node(name="a", backend="host-gw", leases=(ipv6, ipv4))
    assert (ipv4.family, ipv6.family) == (Family.IPV4, Family.IPV6)
    assert node.lease(Family.IPV4) is ipv4
    assert node.lease(Family.IPV6) is ipv6
    assert Node(name="b", backend="host-gw", leases=(ipv4,)).lease(Family.IPV6) is None


def test_nodes_compare_by_value_so_that_a_renewal_is_no_event() -> None:
    def node(mac: str) -> Node:
        data = VtepData(vni=1, mac=mac)
        subnet, public_ip = ip_network("10.244.1.0/24"), ip_address("192.0.2.1")
        lease = Lease(subnet=subnet, public_ip=public_ip, data=data)
        return Node(name="a", backend="vxlan", leases=(lease,))

    assert node("02:00:00:00:00:01") == node("02:00:00:00:00:01")
    assert node("02:00:00:00:00:01") != node("02:00:00:00:00:02")
