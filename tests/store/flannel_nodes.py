"""Nodes in flannel's keys, for tests with etcd: golden values, what such nodes claim and have."""

from ipaddress import ip_address
from pathlib import Path

from podway.model.addresses import Family
from podway.model.nodes import Claim, Node, VtepData, Wish

GOLDEN = Path(__file__).parent.parent / "unit" / "store" / "golden"
MAC = "c6:d2:32:6f:8f:44"
CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}'
PEER = '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"host-gw"}'


def golden(name: str) -> tuple[str, str]:
    key, value = (GOLDEN / f"{name}.lease").read_text().splitlines()
    return key, value


def claim(name: str, address: str, *, mac: str = MAC, ttl_s: int = 3600) -> Claim:
    data = VtepData(vni=1, mac=mac)
    wish = Wish(family=Family.IPV4, public_ip=ip_address(address), data=data)
    return Claim(name=name, backend="vxlan", wishes=(wish,), ttl_s=ttl_s)


def subnets(node: Node) -> list[str]:
    return [str(lease.subnet) for lease in node.leases]
