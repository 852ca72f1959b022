"""The ``ptp`` plugin: a pair of devices between container and host, and routes on both ends.

In: ``ipMasq``, ``ipMasqBackend``, ``mtu``, and IPAM, which is required. Out: the container's
interface, whose gateway is the host's end (`ptp_plans`), and rules that masquerade what it sends to
the outside. Order and results are the reference plugin's: addresses first, then devices.

The host's end bears a mark, by which it is found when the namespace is not.
"""

from podway.cni.errors import CHECK_FAILED, UNAVAILABLE, CniError
from podway.cni.results import Dns, Interface, Result
from podway.cni.values import Value, replace
from podway.netlink.addresses import create_address, dump_addresses
from podway.netlink.constants import IFF_UP
from podway.netlink.errors import NetlinkError
from podway.netlink.links import change_link, create_link, delete_link, dump_links
from podway.netlink.netns import entered
from podway.netlink.nft_transactions import NftSocket
from podway.netlink.routes import create_route
from podway.netlink.socket import NetlinkSocket
from podway.netlink.text import format_prefix
from podway.plugins.container_links import (
    check_kind,
    link_kind,
    read_link,
    refuse_taken_name,
)
from podway.plugins.delegation import assign_addresses, pass_to_ipam
from podway.plugins.dns import configured_dns
from podway.plugins.interfaces import (
    carry_out,
    check_interface,
    configure_interface,
    disable_accept_ra,
    enable_ipv6,
    find_link,
    required_link,
)
from podway.plugins.lingering import LinkDeletion, leave_sockets_to_child
from podway.plugins.link_fields import parse_mtu, plugin_fields
from podway.plugins.macs import random_veth_name
from podway.plugins.marks import mark_of, network_mark, valid_marks
from podway.plugins.masquerade import (
    add_masquerade,
    check_masquerade,
    choose_backend,
    delete_legacy_garbage,
    delete_legacy_masquerade,
    find_masquerade,
    find_masquerade_garbage,
    masquerade_of,
    parse_backend,
)
from podway.plugins.previous import container_interface, required_previous_result
from podway.plugins.ptp_plans import PtpPlan, compute_ptp_plan
from podway.plugins.single_interface import (
    check_told,
    required_ipam,
)
from podway.plugins.skeleton import Call, CniPlugin, run_plugin
from podway.plugins.sysctls import enable_forwarding, is_forwarding, write_sysctl_if_any
from podway.plugins.undo import Undo, attempt_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, NoReturn

    from podway.netlink.links import LinkMessage
    from podway.netlink.messages import Request

KIND: "Final" = "veth"
# Positions in the result.
_HOST: "Final" = 0
_CONTAINER: "Final" = 1
_ATTEMPTS: "Final" = 5


class PtpConf(Value):
    """What the configuration asks for.

    Attributes:
        masquerades: what goes to the outside bears the node's address.
        backend: of netfilter, "" where the system decides.
        mtu_bytes: of both ends, 0 for the kernel's 1500.
    """

    masquerades: bool
    backend: str
    mtu_bytes: int


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def parse_conf(call: Call) -> PtpConf:
    """Return the configuration.

    Raises:
        CniError: INVALID_CONFIG.
    """
    fields = plugin_fields(call.config)
    return PtpConf(
        masquerades=fields.boolean("ipMasq"),
        backend=parse_backend(fields),
        mtu_bytes=parse_mtu(fields),
    )


def add(call: Call) -> Result:
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
        enable_forwarding(ip.address for ip in ips)
        name = make_pair(call, host, conf.mtu_bytes)
        undo.push(_delete_named, host, name)
        outer = _configure_host(call, host, name, plan)
        inner = _configure_container(call, plan)
        if conf.masquerades:
            _add_masquerade(call, conf, result, undo)
        return replace(result, interfaces=_interfaces(call, outer, inner))


def make_pair(call: Call, host: NetlinkSocket, mtu_bytes: int) -> str:
    """Make both devices; return the name of the host's.

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
            return name
    raise AssertionError("the last attempt returns or raises")


def compute_pair(call: Call, name: str, mtu_bytes: int) -> "LinkMessage":
    """Return the two devices to be made; *name* is the host's."""
    peer: LinkMessage = {"ifname": call.request.ifname, "net_ns_fd": call.namespace}
    outer: LinkMessage = {"ifname": name}
    if mtu_bytes:
        peer["mtu"] = outer["mtu"] = mtu_bytes
    return {**outer, "linkinfo": {"kind": KIND, "data": {"peer": peer}}}


def _configure_host(call: Call, host: NetlinkSocket, name: str, plan: PtpPlan) -> "LinkMessage":
    """Give the host's end its mark, addresses and routes, and bring it up; return it."""
    disable_accept_ra(name)
    if plan.host.has_ipv6:
        enable_ipv6(name)
        # Nobody else is on the link; and until the link-local address is known to be unique, 1 to
        # 2 s, the host asks for no neighbour there.
        write_sysctl_if_any(f"net/ipv6/conf/{name}/accept_dad", "0")
    link = read_link(host, name)
    index = link["index"]
    requests: list[Request[Any]] = [
        change_link(
            {"index": index, "flags": IFF_UP, "change": IFF_UP, "ifalias": mark_of(call.request)}
        ),
        *(create_address({**address, "index": index}) for address in plan.host.addresses),
        # Not replaced: if there is one, another container on this node has that address.
        *(create_route({**route, "oif": index}) for route in plan.host.routes),
    ]
    carry_out(host, requests)
    return link


def _configure_container(call: Call, plan: PtpPlan) -> "LinkMessage":
    ifname = call.request.ifname
    with entered(call.namespace), NetlinkSocket() as inside:
        link = read_link(inside, ifname)
        configure_interface(inside, link["index"], ifname, plan.container)
    return link


def _add_masquerade(call: Call, conf: PtpConf, result: Result, undo: Undo) -> None:
    wanted = masquerade_of(call.request, tuple(ip.address for ip in result.ips))
    backend = choose_backend(conf.backend)
    undo.push(_delete_masquerade, call, wanted.cidrs)
    with NftSocket() as nft:
        add_masquerade(nft, wanted, backend)


def _interfaces(
    call: Call, outer: "LinkMessage", inner: "LinkMessage"
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


def delete(call: Call) -> None:
    """Take away both devices, the rules, and give the addresses back."""
    conf = parse_conf(call)
    cidrs, deletions = _begin_deletions(call)
    # While the devices go.
    steps = [deletion.wait for deletion in deletions]
    if conf.masquerades and cidrs is not None:
        steps.insert(0, lambda: _delete_masquerade(call, cidrs))
    attempt_all(*steps, lambda: pass_to_ipam(call))


def _begin_deletions(call: Call) -> "tuple[tuple[str, ...] | None, list[LinkDeletion]]":
    """Return the addresses of the attachment, and what is under way to be deleted.

    No addresses mean all that the container has in this network, None that it is not known which
    of them are this attachment's.
    """
    if call.netns is not None:
        with NetlinkSocket(netns_fd=call.netns) as inside:
            link = find_link(inside, call.request.ifname)
            if link is not None and link_kind(link) == KIND:
                cidrs = _addresses(inside, link["index"])
                return cidrs, [LinkDeletion(link["index"], call.netns)]
    with NetlinkSocket() as host:
        links = host.dump(dump_links(kind=KIND))
    mark = mark_of(call.request)
    marks = {link.get("ifalias", ""): link["index"] for link in links}
    deletions = [LinkDeletion(marks[mark])] if mark in marks else []
    if call.netns is None:
        return (), deletions
    container = mark.removesuffix(call.request.ifname)
    siblings = [each for each in marks if each != mark and each.startswith(container)]
    return _told_addresses(call) or (None if siblings else ()), deletions


def _told_addresses(call: Call) -> tuple[str, ...]:
    """Return the attachment's addresses by prevResult, empty without one that can be read."""
    try:
        result = required_previous_result(call.request)
        position = container_interface(result, call.request)
    except CniError:  # a help where there is one: DEL does without
        return ()
    return tuple(ip.address for ip in result.ips if ip.interface == position)


def _addresses(inside: NetlinkSocket, index: int) -> tuple[str, ...]:
    return tuple(
        format_prefix(address.get("local", address["address"]), address["prefixlen"])
        for address in inside.dump(dump_addresses(index=index))
    )


def _delete_masquerade(call: Call, cidrs: tuple[str, ...]) -> None:
    masquerade = masquerade_of(call.request, cidrs)
    delete_legacy_masquerade(masquerade)
    _commit(lambda nft: find_masquerade(nft, masquerade))


def _commit(find: "Callable[[NftSocket], list[Request[Any]]]") -> None:
    """Delete what *find* finds in nftables; who waits for memory is a child (`lingering`)."""
    from podway.plugins.bridge_rules import commit_found  # noqa: PLC0415 - not for every call

    with NftSocket() as nft:
        if commit_found(nft, lambda: find(nft)):
            leave_sockets_to_child()


def _delete_named(host: NetlinkSocket, name: str) -> None:
    try:
        host.request(delete_link({"ifname": name}))
    except NetlinkError as error:
        if not error.is_not_found:
            raise


def check(call: Call) -> None:
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


def _check_host(inner: "LinkMessage", result: Result, plan: PtpPlan) -> None:
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


def gc(call: Call) -> None:
    """Take away devices, rules and addresses of attachments that are not valid any more."""
    conf = parse_conf(call)
    steps = [lambda: _collect_devices(call), lambda: pass_to_ipam(call)]
    if conf.masquerades:
        steps.insert(0, lambda: _collect_rules(call))
    attempt_all(*steps)


def _collect_devices(call: Call) -> None:
    """Delete the host's ends that bear a mark of this network, and none of a valid attachment."""
    start, valid = network_mark(call.config.name), valid_marks(call.request)
    with NetlinkSocket() as host:
        for link in host.dump(dump_links(kind=KIND)):
            mark = link.get("ifalias", "")
            if mark.startswith(start) and mark not in valid:
                _delete_named(host, link["ifname"])


def _collect_rules(call: Call) -> None:
    network, attachments = call.config.name, call.config.valid_attachments or ()
    valid = frozenset((each.container_id, each.ifname) for each in attachments)
    delete_legacy_garbage(network, valid)
    _commit(lambda nft: find_masquerade_garbage(nft, network, valid))


def status(call: Call) -> None:
    """See that what the configuration asks for can be had, and that IPAM is well."""
    conf = parse_conf(call)
    required_ipam(call)
    if conf.masquerades:
        try:
            choose_backend(conf.backend)
        except CniError as error:
            raise CniError(UNAVAILABLE, error.msg) from error
    pass_to_ipam(call)


PLUGIN: "Final" = CniPlugin(
    name="ptp",
    about="a pair of devices between container and host, and routes on both ends",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
