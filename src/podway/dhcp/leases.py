"""A lease: what a server gave, for how long, and what a container is told of it.

In: a server's ACK. Out: a `Lease`, and a CNI result from it. Pure. Times are seconds of a clock
that counts from the machine's start (CLOCK_BOOTTIME): a step of the wall clock neither ends a lease
nor keeps a dead one, and no lease outlives its machine anyway, since its namespace does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from math import inf
from typing import Final

from podway.cni.dhcp_conf import DhcpConf
from podway.cni.results import Ip, Result, Route
from podway.dhcp.errors import LeaseError
from podway.dhcp.options import (
    INFINITE_S,
    LEASE_TIME,
    REBINDING_TIME,
    RENEWAL_TIME,
    ROUTERS,
    SERVER_ID,
    is_host,
    read_address,
    read_first_address,
    read_prefix_bits,
    read_routes,
    read_seconds,
)
from podway.dhcp.packets import Message

# What the reference plugin assumes of a server that does not say.
DEFAULT_LEASE_S: Final = 3600
# RFC 2131 section 4.4.5 says 0.5 and 0.875; the reference plugin has 0.85.
RENEWAL_SHARE: Final = 0.5
REBINDING_SHARE: Final = 0.85
# A server may give leases of a second; it is not asked more often than that.
LEAST_RENEWAL_S: Final = 1.0
# linux/rtnetlink.h, RT_SCOPE_LINK: a destination that is reached without gateway.
_SCOPE_LINK: Final = 253


@dataclass(frozen=True, slots=True)
class Lease:
    """What a server gave.

    Attributes:
        address: of the container.
        prefix_bits: of its subnet.
        server: that is asked to renew.
        server_mac: from where the server's answer came: the server, or a router before it.
        options: of the ACK.
        renewal_s: when the server is asked to renew (T1).
        rebinding_s: when any server is asked (T2).
        expiry_s: when the address is not the container's any more; `inf` for never.
    """

    address: IPv4Address
    prefix_bits: int
    server: IPv4Address
    server_mac: bytes
    options: Mapping[int, bytes]
    renewal_s: float
    rebinding_s: float
    expiry_s: float


def check_offer(message: Message, wanted: IPv4Address | None) -> None:
    """Refuse an offer or ACK that no container could use.

    Args:
        message: from a server.
        wanted: the address that it must be; None for any.

    Raises:
        LeaseError: says why.
    """
    server = read_address(message.options, SERVER_ID)
    if server is None or not is_host(server):
        raise LeaseError(f"{message.kind.name} of {message.yiaddr} does not name its server")
    where = f"{message.kind.name} of {message.yiaddr} by {server}"
    if not is_host(message.yiaddr):
        raise LeaseError(f"{where}: is no address of a host")
    if read_prefix_bits(message.options) is None:
        raise LeaseError(f"{where}: no subnet mask, without which the address is of no use")
    if read_seconds(message.options, LEASE_TIME) == 0:
        raise LeaseError(f"{where}: is a lease for no time")
    if wanted is not None and message.yiaddr != wanted:
        raise LeaseError(f"{where}: the container has {wanted}, and cannot change")


def parse_lease(
    message: Message, wanted: IPv4Address | None, server_mac: bytes, now_s: float
) -> Lease:
    """Return the lease that an ACK gives.

    Args:
        message: the ACK.
        wanted: the address that it must be; None for any.
        server_mac: where it came from.
        now_s: when the request for it was sent: that is when the lease began (RFC 2131, 4.4.5).

    Raises:
        LeaseError: it is of no use.
    """
    check_offer(message, wanted)
    bits, server = read_prefix_bits(message.options), read_address(message.options, SERVER_ID)
    assert bits is not None
    assert server is not None
    renewal_s, rebinding_s, expiry_s = compute_times(message.options)
    return Lease(
        address=message.yiaddr,
        prefix_bits=bits,
        server=server,
        server_mac=server_mac,
        options=message.options,
        renewal_s=now_s + renewal_s,
        rebinding_s=now_s + rebinding_s,
        expiry_s=now_s + expiry_s,
    )


def compute_times(options: Mapping[int, bytes]) -> tuple[float, float, float]:
    """Return after how many seconds to renew, to rebind, and to give up; in this order."""
    lease_s = read_seconds(options, LEASE_TIME)
    if lease_s == INFINITE_S:
        return inf, inf, inf
    expiry_s = float(DEFAULT_LEASE_S if lease_s is None else lease_s)
    rebinding_s = _within(
        read_seconds(options, REBINDING_TIME), expiry_s * REBINDING_SHARE, expiry_s
    )
    renewal_s = _within(
        read_seconds(options, RENEWAL_TIME),
        min(expiry_s * RENEWAL_SHARE, rebinding_s),
        rebinding_s,
    )
    return max(renewal_s, min(LEAST_RENEWAL_S, rebinding_s)), rebinding_s, expiry_s


def _within(told_s: int | None, usual_s: float, most_s: float) -> float:
    """Return a time that the server told, or the usual one if it told none that makes sense."""
    return float(told_s) if told_s and told_s <= most_s else usual_s


def result_of(lease: Lease, conf: DhcpConf) -> Result:
    """Return what the container is told of *lease*."""
    gateway = read_first_address(lease.options, ROUTERS)
    routes = read_routes(lease.options)
    if conf.suppresses_gateway:
        gateway = None
        routes = tuple(route for route in routes if route.destination.prefixlen)
    ip = Ip(
        address=f"{lease.address}/{lease.prefix_bits}",
        gateway=str(gateway) if gateway else "",
    )
    return Result(
        ips=(ip,),
        routes=tuple(
            Route(
                dst=str(route.destination),
                gw=str(route.gateway) if route.gateway else "",
                priority=conf.priority,
                scope=None if route.gateway else _SCOPE_LINK,
            )
            for route in routes
        ),
    )
