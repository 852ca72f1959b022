"""Backend ipip from end to end: two nodes, a pod on each, on a kernel that has such tunnels.

The kernel at hand has none, and User Mode Linux, which has them, lacks the nf_tables that an agent
needs: so this stands in for a lab. What the nodes hold is what the backend computes, all but the
nftables table.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from netns.conftest import MakeNetns, Netns
from podway.compute.endpoints import compute_endpoint
from podway.compute.node import Place, compute_own, compute_peer
from podway.diff.operations import Operation, Verb
from podway.diff.order import in_order
from podway.kernel.node import NodeKernel
from podway.lab.ping import Station, ping_all
from podway.model.addresses import IPAddress
from podway.model.endpoints import Endpoint, EndpointKey
from podway.model.kernel import KernelObject, NftTable
from podway.model.networks import IpipConfig, Network
from podway.model.nodes import Node, Uplink
from unit.compute.clusters import network_of, node_of

pytestmark = [pytest.mark.root, pytest.mark.kernel("ipip")]
MTU = 1500


class Member:
    """A node with a pod."""

    def __init__(self, number: int, netns: Netns, pod: Netns) -> None:
        self.number, self.netns, self.pod = number, netns, pod
        self.addresses = (f"192.0.2.1{number}/24", f"2001:db8:0:1::1{number}/64")
        self.kernel = NodeKernel(netns.fd)

    def place(self, network: Network) -> Place:
        addresses = tuple(map(ip_interface, self.addresses))
        uplink = Uplink(dev="eth0", mtu=MTU, addresses=addresses)
        return Place(network=network, me=node_of(network, self.number), uplink=uplink, bridge=True)

    def wants(self, network: Network, peer: Node) -> list[KernelObject]:
        place = self.place(network)
        pod = Endpoint(
            key=EndpointKey("podway", f"{self.number:064x}", "eth0"),
            netns=self.pod.path,
            addresses=self.pod_addresses(network),
            attach="bridge",
            mtu=max(place.mtus.values()),
            pod="default/pod",
        )
        parts = compute_own(place), compute_peer(place, peer).objects
        objects = [item for part in parts for item in part if not isinstance(item, NftTable)]
        return [*objects, *compute_endpoint(pod, place.subnets, place.mtus)]

    def pod_addresses(self, network: Network) -> tuple[IPAddress, ...]:
        subnets = self.place(network).subnets.values()
        return tuple(subnet.network_address + 5 for subnet in subnets)

    def make(self, objects: list[KernelObject]) -> None:
        operations = in_order(Operation(Verb.CREATE, item.key, desired=item) for item in objects)
        outcomes = self.kernel.apply(operations)
        assert [str(error) for error in outcomes if error is not None] == []

    def carried(self, dev: str) -> int:
        """Return how many packets *dev* has sent, in iproute2's words."""
        lines = self.netns.ip("-s", "link", "show", dev).splitlines()
        return int(lines[-1].split()[1])


@pytest.fixture
def members(make_netns: MakeNetns) -> Iterator[tuple[Member, Member]]:
    """Two nodes on one link."""
    with ExitStack() as stack:
        one, other = (Member(n, make_netns(), make_netns()) for n in (1, 2))
        for member in (one, other):
            stack.enter_context(closing(member.kernel))
        one.netns.ip(
            "link", "add", "eth0", "mtu", str(MTU), "type", "veth",
            "peer", "name", "eth0", "mtu", str(MTU), "netns", other.netns.name,
        )  # fmt: skip
        for member in (one, other):
            for address in member.addresses:
                nodad = ("nodad",) if ":" in address else ()
                member.netns.ip("address", "add", address, "dev", "eth0", *nodad)
            member.netns.ip("link", "set", "eth0", "up")
        yield one, other


def stations_of(members: tuple[Member, Member], network: Network) -> list[Station]:
    return [
        Station(f"pod-{each.number}", Path(each.pod.path), each.pod_addresses(network))
        for each in members
    ]


@pytest.mark.parametrize("direct", [False, True], ids=["tunnel", "DirectRouting"])
def test_pods_reach_each_other(members: tuple[Member, Member], direct: bool) -> None:  # noqa: FBT001
    network = network_of(IpipConfig(direct_routing=direct))
    nodes = {member.number: node_of(network, member.number) for member in members}
    for member in members:
        member.make(member.wants(network, nodes[3 - member.number]))
    stations = stations_of(members, network)
    outcomes = ping_all(stations)
    assert len(outcomes) == 2 * 2
    assert [each for each in outcomes if each.rtt_ms is None] == []
    assert (members[0].carried("podway.ipip") > 0) is not direct


def test_the_largest_packet_passes_and_one_byte_more_does_not(
    members: tuple[Member, Member],
) -> None:
    network = network_of(IpipConfig())
    for member in members:
        member.make(member.wants(network, node_of(network, 3 - member.number)))
    stations = stations_of(members, network)
    largest = MTU - 20 - (20 + 8)  # the outer header; the pod's own and ICMP's
    whole = ping_all(stations[:1], stations[1:], payload_bytes=largest)
    assert [each.reason for each in whole] == [""]
    beyond = ping_all(stations[:1], stations[1:], payload_bytes=largest + 1)
    assert [each.reason for each in beyond] == ["packet too big"]


def test_a_node_behind_a_translation_sends_from_the_address_that_it_has(
    members: tuple[Member, Member],
) -> None:
    """What is published (203.0.113.1) is not its own; its packets leave from its own address."""
    member = members[0]
    network = network_of(IpipConfig())
    place = member.place(network)
    lease = place.me.leases[0]
    fields = {name: getattr(lease, name) for name in ("subnet", "data")}
    published = type(lease)(public_ip=ip_address("203.0.113.1"), **fields)
    me = Node(name=place.me.name, backend=place.me.backend, leases=(published,))
    own = compute_own(Place(network=network, me=me, uplink=place.uplink, bridge=True))
    member.make([item for item in own if not isinstance(item, NftTable)])
    assert "192.0.2.11" in member.netns.ip("-d", "link", "show", "podway.ipip")
