"""A node, its peers and a pod as the tracker sees them, and a hand that carries out its plans."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from msgspec.structs import replace

from podway.diff.claims import Claims
from podway.diff.operations import Operation
from podway.diff.places import Places
from podway.diff.tracker import Tracker
from podway.model.addresses import Family
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    KernelObject,
    Key,
    Link,
    Neighbour,
    NftTable,
    Route,
    Rule,
    Sysctl,
    Veth,
    Vxlan,
)

NODE, POD = ("node",), ("pod", "a")
PEER, OTHER = ("peer", "node-2"), ("peer", "node-3")

TUNNEL = Vxlan(vni=1, local=ip_address("192.0.2.1"), underlay="eth0", port=8472)
VTEP = Link(name="podway.1", kind=TUNNEL, mtu=1450, mac="02:00:00:00:00:01")
VTEP_ADDRESS = Address("podway.1", ip_interface("10.244.1.0/32"))
VTEP_QUIET = Sysctl("ipv6/conf/podway.1/accept_ra", "0", "podway.1")
NEIGHBOUR = Neighbour("podway.1", ip_address("10.244.2.0"), "02:00:00:00:00:02")
FDB = FdbEntry("podway.1", "02:00:00:00:00:02", ip_address("192.0.2.2"))
ROUTE = Route(dst=ip_network("10.244.2.0/24"), dev="podway.1", via=NEIGHBOUR.address, onlink=True)
DIRECT = replace(ROUTE, dev="eth0", via=ip_address("192.0.2.2"), onlink=False)
BRIDGE = Link(name="cni0", kind=Bridge(), mtu=1450)
GATEWAY = Address("cni0", ip_interface("10.244.1.1/24"))
PORT = Link(name="pw1", kind=Veth(), mtu=1450, master="cni0", hairpin=True)
FORWARD = Sysctl("ipv4/ip_forward", "1")
TABLE = NftTable("inet", "podway", "chain a {\n}\n")
RULE = Rule(family=Family.IPV4, priority=1, table=2)

OWN = (VTEP, VTEP_ADDRESS, VTEP_QUIET, BRIDGE, GATEWAY, FORWARD, TABLE)
TUNNELLED = (NEIGHBOUR, FDB, ROUTE)
VTEP_AND_ALL = {item.key for item in (VTEP, VTEP_ADDRESS, VTEP_QUIET, *TUNNELLED)}

REFUSED = OSError(16, "busy")


def carry_out(tracker: Tracker, *refused: Key) -> list[str]:
    """Record every planned operation as done, but those on *refused* keys; return them as text."""
    operations = tracker.plan()
    for operation in operations:
        tracker.record(operation, REFUSED if operation.key in refused else None, now=1.0)
    return [str(operation) for operation in operations]


def settled_with(*parts: tuple[tuple[str, ...], Iterable[KernelObject]]) -> Tracker:
    """Return a tracker that has made all of *parts*, sweeps, and has nothing left to do."""
    tracker = Tracker()
    tracker.sweeping = True
    for source, objects in parts:
        tracker.desire(source, objects)
    carry_out(tracker)
    assert tracker.plan() == []
    return tracker


def verbs(operations: Iterable[Operation]) -> list[tuple[str, str]]:
    return [(operation.verb.value, operation.key.kind) for operation in operations]


def remembered(tracker: Tracker) -> dict[str, Any]:
    """Return what *tracker* keeps between calls, with what its parts keep."""
    kept: dict[str, Any] = {}
    for name, value in vars(tracker).items():
        if isinstance(value, Claims | Places):
            kept |= vars(value)
        else:
            kept[name] = value
    del kept["_marks"]
    return kept
