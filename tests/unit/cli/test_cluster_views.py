"""What ``podway node`` and ``podway network`` print for people, compared with golden files."""

from ipaddress import ip_address, ip_network

from golden_files import Golden
from podway.cli.network_view import network_fields, render_network
from podway.cli.node import render_nodes
from podway.compute.pool_use import compute_use
from podway.model.networks import parse_network
from podway.model.nodes import Lease, Node
from podway.store.protocol import NodeStatus, Reservation
from unit.cli.screens import PLAIN, lines


def test_nodes(golden: Golden) -> None:
    lease = Lease(subnet=ip_network("10.244.1.0/24"), public_ip=ip_address("172.30.1.2"))
    node = Node(name="n1", backend="vxlan", leases=(lease,))
    known = [
        NodeStatus(node=node, revision=3, ttl_s=86400, expires_in_s=80000.0),
        NodeStatus(node=node, revision=4, ttl_s=0, expires_in_s=None),
    ]
    kept = [Reservation("n9", (ip_network("10.244.9.0/24"), ip_network("fd00:9::/64")))]
    shown = [*render_nodes(known, kept, PLAIN), "---", *render_nodes([], [], PLAIN)]
    golden("cli/nodes.txt", lines(shown))


def test_network(golden: Golden) -> None:
    text = """{
        "Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:10:244::/48",
        "Backend": {"Type": "vxlan", "VNI": 7, "DirectRouting": true},
        "NonMasqueradeCIDRs": ["10.0.0.0/8"]
    }"""
    plain = '{"Network": "10.1.0.0/16", "Backend": {"Type": "host-gw"}, "Masquerade": false}'
    shown = [render_network(parse_network(each), PLAIN) for each in (text, plain)]
    golden("cli/network.txt", lines([*shown[0], "---", *shown[1]]))


DRAINING = """{
    "Network": "10.8.0.0/16",
    "Networks": [
        {"Network": "10.244.0.0/16", "Drain": true}, {"Network": "10.9.0.0/16", "Drain": true}
    ],
    "EnableIPv6": true, "IPv6Network": "fd00:10:244::/48"
}"""


def holder(number: int, *subnets: str) -> Node:
    leases = tuple(
        Lease(subnet=ip_network(subnet), public_ip=ip_address(f"172.30.{number}.2"))
        for subnet in subnets
    )
    return Node(name=f"n{number}", backend="vxlan", leases=leases)


def test_a_network_and_who_uses_it(golden: Golden) -> None:
    network = parse_network(DRAINING)
    nodes = [
        holder(1, "10.8.1.0/24", "fd00:10:244:1::/64"),
        *(holder(number, f"10.244.{number}.0/24") for number in range(2, 9)),
        holder(9, "192.168.9.0/24"),
    ]
    kept = {"n2": (ip_network("10.244.2.0/24"),), "x": (ip_network("10.8.7.0/24"),)}
    uses = compute_use(network, nodes, kept)
    unknown = render_network(network, PLAIN)
    shown = lines([*render_network(network, PLAIN, uses), "---", *unknown])
    golden("cli/network-use.txt", shown)
    assert [fields["network"] for fields in network_fields(uses)] == [
        *("10.8.0.0/16", "10.244.0.0/16", "10.9.0.0/16", "fd00:10:244::/48", None)
    ]
    assert network_fields(uses)[0] == {
        "network": "10.8.0.0/16",
        "drains": False,
        "room": 255,
        "leased": {"n1": "10.8.1.0/24"},
        "reserved": {"x": "10.8.7.0/24"},
    }
    assert len(network_fields(uses)[1]["leased"]) == 7
    assert network_fields(uses)[1]["reserved"] == {}, "what is leased counts once"
    assert network_fields(uses)[-1]["leased"] == {"n9": "192.168.9.0/24"}
