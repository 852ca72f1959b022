"""Makes ``ptp`` attachments: ADD.

In: a call. Out: the result; or an error, and nothing is left. Addresses come first, then devices,
as with the reference plugin.
"""

from podway.cni.results import Dns, Interface, Result
from podway.cni.values import replace
from podway.netlink.addresses import create_address
from podway.netlink.constants import IFF_UP
from podway.netlink.errors import NetlinkError
from podway.netlink.links import change_link, create_link
from podway.netlink.netns import entered
from podway.netlink.routes import create_route
from podway.netlink.socket import NetlinkSocket
from podway.plugins.container_links import delete_if_any, read_link, refuse_taken_name
from podway.plugins.delegation import assign_addresses
from podway.plugins.dns import configured_dns
from podway.plugins.forwarding import enable_forwarding
from podway.plugins.interfaces import (
    carry_out,
    configure_interface,
    disable_accept_ra,
    enable_ipv6,
)
from podway.plugins.macs import random_veth_name
from podway.plugins.marks import mark_of
from podway.plugins.ptp_conf import KIND, PtpConf, parse_conf
from podway.plugins.ptp_plans import PtpPlan, compute_ptp_plan
from podway.plugins.single_interface import required_ipam
from podway.plugins.sysctls import write_sysctl_if_any
from podway.plugins.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.messages import Request
    from podway.plugins.skeleton import Call

# Position in the result.
_CONTAINER: "Final" = 1
_ATTEMPTS: "Final" = 5


def add(call: "Call") -> Result:
    """Attach the container to the host."""
    conf = parse_conf(call)
    dns = configured_dns(call.config)
    ipam = required_ipam(call)
    with NetlinkSocket() as host, Undo() as undo:
        # IPAM gives the addresses of an attachment back when it is asked for them again.
        with NetlinkSocket(netns_fd=call.namespace) as inside:
            refuse_taken_name(call, inside)
        assigned = assign_addresses(call, ipam, undo)
        ips = tuple(replace(ip, interface=_CONTAINER) for ip in assigned.ips)
        result = replace(assigned, ips=ips, dns=assigned.dns if dns == Dns() else dns)
        plan = compute_ptp_plan(result, _CONTAINER)
        enable_forwarding(host, (ip.address for ip in ips))
        outer = make_pair(call, host, conf.mtu_bytes)
        undo.push(delete_if_any, host, outer["index"])
        _configure_host(call, host, outer, plan)
        inner = _configure_container(call, plan)
        if conf.masquerades:
            _add_masquerade(call, conf, result, undo)
        return replace(result, interfaces=_interfaces(call, outer, inner))


def make_pair(call: "Call", host: NetlinkSocket, mtu_bytes: int) -> "LinkMessage":
    """Make both devices; return the host's.

    Raises:
        CniError: IO_FAILURE, the container has an interface of that name.
        NetlinkError: the kernel refuses; nothing is left.
    """
    for attempt in range(_ATTEMPTS):
        name = random_veth_name()
        try:
            host.request(create_link(compute_pair(call, name, mtu_bytes)))
        except NetlinkError as error:
            if error.is_exists:
                with NetlinkSocket(netns_fd=call.namespace) as inside:
                    refuse_taken_name(call, inside)
            if not error.is_exists or attempt == _ATTEMPTS - 1:
                raise
        else:
            return read_link(host, name)
    raise AssertionError("the last attempt returns or raises")


def compute_pair(call: "Call", name: str, mtu_bytes: int) -> "LinkMessage":
    """Return the two devices to be made; *name* is the host's."""
    peer: LinkMessage = {"ifname": call.request.ifname, "net_ns_fd": call.namespace}
    outer: LinkMessage = {"ifname": name}
    if mtu_bytes:
        peer["mtu"] = outer["mtu"] = mtu_bytes
    return {**outer, "linkinfo": {"kind": KIND, "data": {"peer": peer}}}


def _configure_host(call: "Call", host: NetlinkSocket, link: "LinkMessage", plan: PtpPlan) -> None:
    """Give the host's end its mark, addresses and routes, and bring it up."""
    name, index = link["ifname"], link["index"]
    disable_accept_ra(name)
    if plan.host.has_ipv6:
        enable_ipv6(name)
        # Nobody else is on the link; and until the link-local address is known to be unique, 1 to
        # 2 s, the host asks for no neighbour there.
        write_sysctl_if_any(f"net/ipv6/conf/{name}/accept_dad", "0")
    requests: list[Request[Any]] = [
        change_link(
            {"index": index, "flags": IFF_UP, "change": IFF_UP, "ifalias": mark_of(call.request)}
        ),
        *(create_address({**address, "index": index}) for address in plan.host.addresses),
        # Not replaced: if there is one, another container on this node has that address.
        *(create_route({**route, "oif": index}) for route in plan.host.routes),
    ]
    carry_out(host, requests)


def _configure_container(call: "Call", plan: PtpPlan) -> "LinkMessage":
    ifname = call.request.ifname
    with entered(call.namespace), NetlinkSocket() as inside:
        link = read_link(inside, ifname)
        configure_interface(inside, link["index"], ifname, plan.container)
    return link


def _add_masquerade(call: "Call", conf: PtpConf, result: Result, undo: Undo) -> None:
    from podway.netlink.nft_transactions import NftSocket  # noqa: PLC0415 - not for every call
    from podway.plugins.masquerade import masquerade_of  # noqa: PLC0415
    from podway.plugins.masquerade_rules import (  # noqa: PLC0415
        add_masquerade,
        choose_backend,
    )
    from podway.plugins.ptp_removal import delete_masquerade  # noqa: PLC0415

    wanted = masquerade_of(call.request, tuple(ip.address for ip in result.ips))
    backend = choose_backend(conf.backend)
    undo.push(delete_masquerade, call, wanted.cidrs)
    with NftSocket() as nft:
        add_masquerade(nft, wanted, backend)


def _interfaces(
    call: "Call", outer: "LinkMessage", inner: "LinkMessage"
) -> tuple[Interface, Interface]:
    return (
        Interface(name=outer["ifname"], mac=outer["address"], mtu=outer["mtu"]),
        Interface(
            name=inner["ifname"],
            mac=inner["address"],
            mtu=inner["mtu"],
            sandbox=call.request.netns,
        ),
    )
