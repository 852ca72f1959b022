"""What a ``ptp`` attachment is to have on both ends: pure.

In: the result of an ADD. Out: addresses and routes as messages. A pair of devices has no mode for
two ends alone, so the container is kept from looking for its subnet on the link: whatever it sends
goes to the gateway, which is the host's end::

    container                                 host
    eth0  10.1.0.5/24                         veth...  10.1.0.1/32
      10.1.0.1/32 dev eth0 src 10.1.0.5         10.1.0.5/32 dev veth... scope host
      10.1.0.0/24 via 10.1.0.1 src 10.1.0.5

The reference plugin lets the kernel add the subnet's own route and deletes it. Here the address
comes with IFA_F_NOPREFIXROUTE, and there never is one.
"""

from podway.cni.addresses import first_address, parse_address, parse_prefix
from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.results import Ip
from podway.cni.values import Value
from podway.netlink.constants import (
    IFA_F_NOPREFIXROUTE,
    RT_SCOPE_HOST,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_MAIN,
    RTPROT_BOOT,
)
from podway.netlink.text import family_of
from podway.plugins.interfaces import (
    InterfacePlan,
    compute_address,
    compute_interface_plan,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.results import Result
    from podway.netlink.addresses import AddressMessage
    from podway.netlink.route_messages import RouteMessage


class PtpPlan(Value):
    """Both ends of an attachment.

    Attributes:
        container: the container's interface.
        host: the host's end.
    """

    container: InterfacePlan
    host: InterfacePlan


def compute_ptp_plan(result: "Result", position: int) -> PtpPlan:
    """Return what both ends are to have.

    Args:
        result: with addresses and routes of the container.
        position: of the container's interface in it.

    Raises:
        CniError: INVALID_CONFIG, an address has no gateway.
    """
    ips = [ip for ip in result.ips if ip.interface == position]
    for ip in ips:
        if not ip.gateway:
            raise CniError(
                INVALID_CONFIG,
                f"{ip.address} has no gateway: IPAM must tell the one of the host's end",
            )
    return PtpPlan(container=_container(result, position, ips), host=_host(ips))


def _container(result: "Result", position: int, ips: list[Ip]) -> InterfacePlan:
    plain = compute_interface_plan(result, position)
    own = [route for ip in ips for route in _gateway_routes(ip)]
    return InterfacePlan(
        addresses=tuple(_without_route(address) for address in plain.addresses),
        routes=(*_once(own), *plain.routes),
    )


def _host(ips: list[Ip]) -> InterfacePlan:
    gateways = [_host_bits(ip.gateway) for ip in ips]
    # One gateway for several addresses is one address of the host's end.
    once = [cidr for n, cidr in enumerate(gateways) if cidr not in gateways[:n]]
    return InterfacePlan(
        addresses=tuple(compute_address(Ip(address=cidr)) for cidr in once),
        routes=tuple(_route(parse_prefix(ip.address)[0], RT_SCOPE_HOST) for ip in ips),
    )


def _without_route(address: "AddressMessage") -> "AddressMessage":
    return {**address, "flags": address.get("flags", 0) | IFA_F_NOPREFIXROUTE}


def _gateway_routes(ip: Ip) -> "list[RouteMessage]":
    """Return the way to the gateway, and through it the one to the subnet."""
    packed, bits = parse_prefix(ip.address)
    gateway = parse_address(ip.gateway)
    direct: RouteMessage = {**_route(gateway, RT_SCOPE_LINK), "prefsrc": packed}
    if bits == len(packed) * 8:
        return [direct]
    subnet: RouteMessage = {
        **_route(first_address(packed, bits), RT_SCOPE_UNIVERSE),
        "dst_len": bits,
        "gateway": gateway,
        "prefsrc": packed,
    }
    return [direct, subnet]


def _route(packed: bytes, scope: int) -> "RouteMessage":
    """Return the route to one host."""
    return {
        "family": family_of(packed),
        "dst": packed,
        "dst_len": len(packed) * 8,
        "table": RT_TABLE_MAIN,
        "protocol": RTPROT_BOOT,
        "scope": scope,
    }


def _host_bits(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _once(routes: "list[RouteMessage]") -> "list[RouteMessage]":
    """Leave out routes to a place that one before leads to."""
    places = [(route["dst"], route["dst_len"]) for route in routes]
    return [route for n, route in enumerate(routes) if places[n] not in places[:n]]
