"""Pods' interfaces as they are asked for: of a bridge, routed, and their ends on the host."""

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from netns.kernel.stock import MAC, OTHER_MAC
from podway.model.kernel import Link, Neighbour, PodSide, Route, Veth

EVERYTHING = ip_network("0.0.0.0/0")
EVERYTHING6 = ip_network("::/0")


def bridged(netns: str, **fields: Any) -> PodSide:
    """Return a pod of a bridge, both families."""
    values: dict[str, Any] = {
        "netns": netns,
        "ifname": "eth0",
        "mac": OTHER_MAC,
        "mtu": 1450,
        "addresses": (ip_interface("10.1.0.5/24"), ip_interface("fd01::5/64")),
        "routes": (
            Route(dst=EVERYTHING, dev="eth0", via=ip_address("10.1.0.1"), mtu=1400),
            Route(dst=EVERYTHING6, dev="eth0", via=ip_address("fd01::1"), metric=1024, mtu=1380),
        ),
    }
    return PodSide(**{**values, **fields})


def routed(netns: str) -> PodSide:
    """Return a pod that has nothing but its address and a gateway that is told to be there."""
    return bridged(
        netns,
        addresses=(ip_interface("10.1.0.5/32"), ip_interface("fd01::5/128")),
        routes=(
            Route(dst=ip_network("169.254.1.1/32"), dev="eth0", scope="link"),
            Route(dst=EVERYTHING, dev="eth0", via=ip_address("169.254.1.1")),
            Route(dst=EVERYTHING6, dev="eth0", via=ip_address("fe80::1")),
        ),
        neighbours=(
            Neighbour("eth0", ip_address("169.254.1.1"), MAC),
            Neighbour("eth0", ip_address("fe80::1"), MAC),
        ),
    )


def host_end(pod: PodSide, **fields: Any) -> Link:
    values = {"mtu": 1450, "mac": MAC, "alias": "podway:pod default/a", **fields}
    return Link(name="pw0123456789a", kind=Veth(pod), **values)
