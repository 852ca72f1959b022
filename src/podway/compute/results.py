"""What an ADD answers: the endpoint and its place in CNI's words."""

from podway.cni.results import Interface, Ip, Result, Route
from podway.compute.endpoints import ROUTED_HOST_MAC
from podway.compute.gateways import bridge_gateway, gateway
from podway.compute.node import Place
from podway.model.addresses import everything, family_of, host_prefix, mac_of_address
from podway.model.endpoints import Endpoint
from podway.model.instances import BRIDGE_NAME


def compute_result(endpoint: Endpoint, place: Place, bridge: str = BRIDGE_NAME) -> Result:
    """Return the result of ADD for *endpoint*: interfaces of the host first, then the pod's.

    *bridge* is what the node calls its bridge.
    """
    pod = Interface(
        name=endpoint.key.ifname,
        mac=endpoint.mac or mac_of_address(endpoint.addresses[0]),
        mtu=endpoint.mtu,
        sandbox=endpoint.netns,
    )
    interfaces = (*_host_interfaces(endpoint, place, bridge), pod)
    ips, routes = [], []
    for address in endpoint.addresses:
        family = family_of(address)
        subnet = place.subnets[family]
        via = str(gateway(endpoint.attach, family, subnet))
        length = subnet if endpoint.attach == "bridge" else host_prefix(address)
        ips.append(
            Ip(
                address=f"{address}/{length.prefixlen}",
                gateway=via,
                interface=len(interfaces) - 1,
            )
        )
        mtu = place.mtus[family]
        told = mtu if mtu < endpoint.mtu else 0
        routes.append(Route(dst=str(everything(family)), gw=via, mtu=told))
    return Result(interfaces=interfaces, ips=tuple(ips), routes=tuple(routes))


def _host_interfaces(endpoint: Endpoint, place: Place, bridge: str) -> tuple[Interface, ...]:
    if endpoint.attach == "routed":
        return (Interface(name=endpoint.host_ifname, mac=ROUTED_HOST_MAC, mtu=endpoint.mtu),)
    subnet = next(iter(place.subnets.values()))
    first = Interface(name=bridge, mac=mac_of_address(bridge_gateway(subnet)))
    return (first, Interface(name=endpoint.host_ifname, mtu=endpoint.mtu))
