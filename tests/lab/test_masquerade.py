"""Who is seen as whom: pods, nodes and the world, each by the other; by real connections."""

import json
import subprocess
from collections.abc import Callable
from ipaddress import ip_network

import pytest

from lab.probes import DUAL, PODWAY, eventually
from lab.transfers import seen_as
from podway.lab.members import hub_station, node_stations, pod_stations
from podway.lab.names import HUB, hub_socket, namespace_of
from podway.lab.ping import Station
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec
from podway.lab.topology import plan_network
from podway.model.addresses import Family, IPAddress, family_of

# kube-proxy's bit, and one of somebody else's beside it.
MARKING = """
table inet somebody {
  chain forward {
    type filter hook forward priority 0;
    meta mark set 0x4001
  }
}
"""


class World:
    """Two nodes with a pod on each, and the hub, which sends what is for pods to n1."""

    def __init__(self, spec: LabSpec) -> None:
        self.spec = spec
        self.near, self.far = pod_stations(spec, add_pods(spec, ["p1", "p2"]))
        self.nodes, self.hub = node_stations(spec), hub_station(spec)
        for address in self.nodes[0].addresses:
            family = "-6" if address.version == 6 else "-4"
            prefix = "10.244.0.0/16" if address.version == 4 else "fd00:10:244::/48"
            self.run(HUB, "ip", family, "route", "add", prefix, "via", str(address))

    def run(self, member: str, *words: str, stdin: str = "") -> None:
        command = ["ip", "netns", "exec", namespace_of(self.spec.name, member), *words]
        subprocess.run(command, input=stdin, text=True, check=True, capture_output=True)

    def configure(self, **options: object) -> None:
        """Have the network with *options* too."""
        document = {**plan_network(self.spec), **options}
        command = [
            *PODWAY,
            "network",
            "apply",
            "-",
            "--store",
            f"unix:{hub_socket(self.spec.name)}",
        ]
        subprocess.run(
            command, input=json.dumps(document), text=True, check=True, capture_output=True
        )


@pytest.fixture(params=["vxlan", "host-gw"])
def world(make_lab: Callable[..., LabSpec], request: pytest.FixtureRequest) -> World:
    return World(make_lab(families=DUAL, backend=request.param))


def of(station: Station, family: Family) -> IPAddress:
    return next(each for each in station.addresses if family_of(each) is family)


@pytest.mark.parametrize("family", DUAL, ids=["IPv4", "IPv6"])
def test_who_sees_whom(world: World, family: Family) -> None:
    near, far, hub, node = world.near, world.far, world.hub, world.nodes[0]

    def seen(source: Station, target: Station) -> IPAddress:
        return seen_as(source, target, of(target, family))

    assert seen(near, far) == of(near, family), "pods see each other"
    assert seen(near, hub) == of(node, family), "outside, nobody has a way to a pod"
    assert seen(hub, near) == of(hub, family), "a pod of this node sees its client"
    # By way of n1 to a pod of n2: the answer has to come back through n1, so n1 is who asks.
    assert seen(hub, far) != of(hub, family)
    own = ip_network("10.244.1.0/24" if family is Family.IPV4 else "fd00:10:244:1::/64")
    asked = seen(node, far)
    assert asked == of(node, family) or asked in own, "a node is never translated to another's"


@pytest.mark.parametrize("family", DUAL, ids=["IPv4", "IPv6"])
def test_who_is_spared(world: World, family: Family) -> None:
    """Prefixes that know the way to pods, and packets that kube-proxy looks after, see the pod."""
    near, hub = world.near, world.hub
    world.configure(NonMasqueradeCIDRs=[str(ip_network(address)) for address in hub.addresses])
    eventually(
        "the hub sees the pod",
        lambda: seen_as(near, hub, of(hub, family)) == of(near, family),
    )
    world.configure()
    node = of(world.nodes[0], family)
    eventually("and no more", lambda: seen_as(near, hub, of(hub, family)) == node)
    world.run("n1", "nft", "-f", "-", stdin=MARKING)
    assert seen_as(near, hub, of(hub, family)) == of(near, family)
