"""Sees that ``ptp`` attachments are what they were made: CHECK, and STATUS.

In: a call. Out: nothing, or what is missing.
"""

from podway.cni.errors import CHECK_FAILED, LIMITED_CONNECTIVITY, CniError
from podway.netlink.constants import RT_SCOPE_UNIVERSE
from podway.netlink.links import dump_links
from podway.netlink.nft_transactions import NftSocket
from podway.netlink.socket import NetlinkSocket
from podway.netlink.text import format_prefix
from podway.plugins.availability import check_device_kind, check_step
from podway.plugins.container_links import check_kind
from podway.plugins.delegation import pass_to_ipam
from podway.plugins.interface_checks import check_interface
from podway.plugins.interfaces import assigned_addresses, required_link
from podway.plugins.marks import network_mark
from podway.plugins.masquerade import masquerade_of
from podway.plugins.masquerade_rules import check_masquerade, choose_backend
from podway.plugins.previous import container_interface, required_previous_result
from podway.plugins.ptp_conf import KIND, parse_conf
from podway.plugins.ptp_plans import compute_ptp_plan
from podway.plugins.single_interface import check_told, required_ipam
from podway.plugins.sysctls import is_forwarding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.results import Result
    from podway.netlink.link_messages import LinkMessage
    from podway.plugins.ptp_plans import PtpPlan
    from podway.plugins.skeleton import Call

# Position in the result.
_HOST: "Final" = 0


def check(call: "Call") -> None:
    """See that both ends, their routes and the rules are as ADD made them."""
    conf = parse_conf(call)
    result = required_previous_result(call.request)
    position = container_interface(result, call.request)
    pass_to_ipam(call)
    plan = compute_ptp_plan(result, position)
    with NetlinkSocket(netns_fd=call.namespace) as inside:
        link = required_link(inside, call.request.ifname, call.request.netns)
        check_kind(link, KIND, {})
        check_told(link, result.interfaces[position], conf.mtu_bytes)
        check_interface(inside, link, plan.container)
    _check_host(link, result, plan)
    if conf.masquerades:
        cidrs = tuple(ip.address for ip in result.ips if ip.interface == position)
        with NftSocket() as nft:
            check_masquerade(nft, masquerade_of(call.request, cidrs), choose_backend(conf.backend))


def _check_host(inner: "LinkMessage", result: "Result", plan: "PtpPlan") -> None:
    """See that the other end of *inner* is as ADD made it, and that the host forwards."""
    told = result.interfaces[_HOST]
    with NetlinkSocket() as host:
        outer = required_link(host, told.name, "the host")
        if outer["index"] != inner.get("link"):
            text = f"{told.name} of the host is not the other end of {inner['ifname']}"
            raise CniError(CHECK_FAILED, text)
        check_told(outer, told)
        check_interface(host, outer, plan.host)
    for ip in result.ips:
        if not is_forwarding(ip.address):
            raise CniError(CHECK_FAILED, f"the host does not forward packets to {ip.address}")


def status(call: "Call") -> None:
    """See that what the configuration asks for can be had, and that IPAM is well.

    Raises:
        CniError: LIMITED_CONNECTIVITY, the host does not forward what is attached; UNAVAILABLE.
    """
    conf = parse_conf(call)
    required_ipam(call)
    check_device_kind(KIND)
    if conf.masquerades:
        check_step(choose_backend, conf.backend)
    _check_attached(network_mark(call.config.name))
    pass_to_ipam(call)


def _check_attached(mark: str) -> None:
    """See that the host forwards what the network's attachments send; one stands for all."""
    with NetlinkSocket() as host:
        for link in host.dump(dump_links(kind=KIND)):
            if not link.get("ifalias", "").startswith(mark):
                continue
            for address in assigned_addresses(host, link["index"]):
                cidr = format_prefix(address.get("local", address["address"]), address["prefixlen"])
                if address["scope"] == RT_SCOPE_UNIVERSE and not is_forwarding(cidr):
                    text = f"the host does not forward packets to {link['ifname']}, {cidr}"
                    raise CniError(LIMITED_CONNECTIVITY, text)
            return
