"""Which addresses and routes an attachment to a bridge has, and which the bridge has for it.

In: the configuration and what IPAM assigned. Out: the result's addresses and routes, and the
bridge's own addresses. Pure; called by `bridge`. As in the reference plugin, a bridge that is a
gateway has the first address of a subnet for which IPAM names no gateway.
"""

from podway.cni.addresses import is_ipv4, parse_address, render_address
from podway.cni.results import Ip, Route
from podway.cni.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podway.cni.results import Result
    from podway.plugins.bridge_conf import BridgeConf


def compute_ips(conf: "BridgeConf", assigned: "Result", position: int) -> tuple[Ip, ...]:
    """Return the container's addresses: those that IPAM assigned, with their gateways.

    Args:
        conf: the configuration.
        assigned: IPAM's result.
        position: of the container's interface in the result.
    """
    return tuple(
        replace(ip, interface=position, gateway=ip.gateway or _first_gateway(conf, ip.address))
        for ip in assigned.ips
    )


def compute_routes(
    conf: "BridgeConf", ips: "Iterable[Ip]", assigned: "Result"
) -> tuple[Route, ...]:
    """Return the container's routes: IPAM's, and the default ones if the bridge is to be that.

    A default route of IPAM's with a gateway takes the place of ours; so does none in a family
    without addresses.
    """
    if not conf.is_default_gateway:
        return assigned.routes
    routes = list(assigned.routes)
    for ip in ips:
        default = "0.0.0.0/0" if is_ipv4(ip.address) else "::/0"
        if not any(route.gw and route.dst == default for route in routes):
            routes.append(Route(dst=default, gw=ip.gateway))
    return tuple(routes)


def compute_gateways(conf: "BridgeConf", ips: "Iterable[Ip]") -> tuple[str, ...]:
    """Return the addresses that the bridge is to have, with prefix length; each once."""
    if not conf.is_gateway:
        return ()
    cidrs = (f"{ip.gateway}/{ip.address.partition('/')[2]}" for ip in ips if ip.gateway)
    return tuple(dict.fromkeys(cidrs))


def overlaps(one: str, other: str) -> bool:
    """Tell whether the subnets of two addresses with prefix length have addresses in common."""
    (a, a_bits), (b, b_bits) = _parse(one), _parse(other)
    if len(a) != len(b):
        return False
    shift = len(a) * 8 - min(a_bits, b_bits)
    return int.from_bytes(a, "big") >> shift == int.from_bytes(b, "big") >> shift


def _first_gateway(conf: "BridgeConf", cidr: str) -> str:
    if not conf.is_gateway:
        return ""
    packed, bits = _parse(cidr)
    hosts = (1 << len(packed) * 8 - bits) - 1
    first = (int.from_bytes(packed, "big") & ~hosts) + 1
    return render_address(first.to_bytes(len(packed), "big"))


def _parse(cidr: str) -> tuple[bytes, int]:
    address, _, bits = cidr.partition("/")
    return parse_address(address), int(bits)
