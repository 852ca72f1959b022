"""A tunnel and a route to write, and a node on which three devices have an index."""

from ipaddress import ip_address, ip_network

from podway.kernel.errors import NoDeviceError
from podway.model.kernel import Link, Route, Vxlan

INDEXES = {"eth0": 2, "cni0": 3, "podway.1": 4}
MAC = "02:00:00:00:00:01"
VTEP = Link(
    name="podway.1",
    kind=Vxlan(vni=1, local=ip_address("192.0.2.1"), underlay="eth0", port=8472),
    mtu=1450,
    mac=MAC,
    alias="podway:vtep",
)
ROUTE = Route(dst=ip_network("10.2.0.0/24"), dev="eth0", via=ip_address("192.0.2.2"))


def index_of(dev: str) -> int:
    if dev not in INDEXES:
        raise NoDeviceError(dev, f"use device {dev}")
    return INDEXES[dev]


def name_of(index: int) -> str:
    return {number: name for name, number in INDEXES.items()}.get(index, "")
