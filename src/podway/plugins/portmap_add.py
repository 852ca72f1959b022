"""ADD of the ``portmap`` plugin.

In: a call with prevResult. Out: the ports lead to the container; prevResult. What was written
before an error is taken away again.
"""

from _socket import if_indextoname
from errno import EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH

from podway.cni.addresses import parse_address
from podway.netlink.constants import AF_INET
from podway.netlink.errors import NetlinkError
from podway.netlink.nft_transactions import NftSocket
from podway.netlink.routes import get_route
from podway.netlink.socket import NetlinkSocket
from podway.plugins.portmap_conf import (
    check_ports,
    choose_backend,
    parse_portmap_conf,
    publication_of,
)
from podway.plugins.portmap_conflicts import find_conflicts
from podway.plugins.previous import required_previous_result
from podway.plugins.process import complain
from podway.plugins.sysctls import read_sysctl, write_sysctl
from podway.plugins.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.results import Result
    from podway.plugins.portmap_conf import Publication
    from podway.plugins.skeleton import Call

# What the kernel answers where no route leads to an address.
_NO_WAY: "Final" = frozenset({ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL})
# Each call loads the back end that it needs.
# ruff: noqa: PLC0415


def add(call: "Call") -> "Result":
    """Publish the container's ports; return prevResult.

    Raises:
        CniError: INVALID_CONFIG; UNSUPPORTED_FIELD, IO_FAILURE, iptables is missing or refuses.
        NetlinkError: the kernel refuses.
    """
    conf = parse_portmap_conf(call.request)
    check_ports(conf)
    result = required_previous_result(call.request)
    wanted = publication_of(call.request, conf, result)
    if not conf.mappings or not wanted.addresses:
        return result
    with NftSocket() as nft, Undo() as undo:
        backend = choose_backend(conf)
        conflicts = find_conflicts(nft, wanted, backend)
        undo.push(_remove, nft, wanted)
        _write_rules(nft, wanted, backend)
        if conf.snat and 4 in wanted.addresses:
            _let_loopback_out(wanted.addresses[4])
        if any(each.protocol == "udp" for each in conf.mappings):
            from podway.plugins.portmap_flows import forget_udp

            forget_udp(wanted)
    for conflict in conflicts:
        complain(conflict)
    return result


def _write_rules(nft: NftSocket, wanted: "Publication", backend: str) -> None:
    if backend == "nftables":
        from podway.plugins import portmap_nftables

        portmap_nftables.add(nft, wanted)
        return
    from podway.plugins.iptables_changes import write_plans
    from podway.plugins.portmap_iptables import compute_plan

    write_plans(nft, [compute_plan(wanted, family) for family in wanted.addresses])


def _remove(nft: NftSocket, wanted: "Publication") -> None:
    from podway.plugins.portmap_removal import remove

    remove(nft, wanted)


def _let_loopback_out(cidr: str) -> None:
    """Let packets from 127.0.0.1 leave by the device that leads to the container."""
    device = _device_to(cidr.partition("/")[0])
    if device:
        path = f"net/ipv4/conf/{device}/route_localnet"
        if read_sysctl(path) != "1":
            write_sysctl(path, "1")


def _device_to(address: str) -> str:
    """Return the device by which the host reaches *address*, "" if it does not."""
    with NetlinkSocket() as host:
        try:
            route = host.request(
                get_route({"family": AF_INET, "dst": parse_address(address), "dst_len": 32})
            )
        except NetlinkError as error:
            # No way there, or none any more: nobody would get through from the loopback anyway.
            if error.is_not_found or error.errno in _NO_WAY:
                return ""
            raise
    try:
        return "" if route is None else if_indextoname(route["oif"])
    except OSError:  # it went away meanwhile
        return ""
