"""ADD of the ``bridge`` plugin.

In: a call. Out: the result; the pair of devices is there, with addresses, routes, and rules. Called
by `bridge`. The order is the reference plugin's: devices, addresses by IPAM, configuration, rules;
whatever fails undoes what was done before.
"""

from podway.cni.addresses import is_ipv4
from podway.cni.results import Dns, Interface, Result
from podway.cni.values import replace
from podway.netlink.netns import entered
from podway.netlink.socket import NetlinkSocket
from podway.plugins.bridge_conf import BridgeConf, parse_bridge_conf
from podway.plugins.bridge_devices import (
    Pair,
    await_port,
    delete_if_any,
    make_pair,
    remove_unused_bridge,
    required_link,
    set_up_port,
)
from podway.plugins.bridge_gateways import (
    compute_gateways,
    compute_ips,
    compute_routes,
    ensure_addresses,
)
from podway.plugins.delegation import assign_addresses
from podway.plugins.forwarding import enable_forwarding
from podway.plugins.interfaces import (
    announce,
    compute_interface_plan,
    configure_interface,
    set_up,
    settle_addresses,
)
from podway.plugins.marks import mark_of
from podway.plugins.sysctls import NDISC_NOTIFY, write_sysctl_if_any
from podway.plugins.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.results import Ip
    from podway.netlink.link_messages import LinkMessage
    from podway.plugins.skeleton import Call

# Positions in the result: bridge, host's end, container's end.
_CONTAINER: "Final" = 2
# Kernel parameters of the container's interface.
_NO_DAD: "Final" = (("net/ipv6/conf/{}/accept_dad", "0"),)
_DAD: "Final" = (("net/ipv6/conf/{}/enhanced_dad", "1"), ("net/ipv6/conf/{}/accept_dad", "1"))


def add(call: "Call") -> Result:
    """Attach the container to the bridge."""
    conf = parse_bridge_conf(call)
    with NetlinkSocket() as host, Undo() as undo:
        pair = _make_port(call, conf, host, undo)
        assigned = assign_addresses(call, conf.ipam, undo) if conf.ipam else Result()
        ips = compute_ips(conf, assigned, _CONTAINER)
        result = Result(
            ips=ips,
            routes=compute_routes(conf, ips, assigned),
            dns=assigned.dns if conf.dns == Dns() else conf.dns,
        )
        inside = _configure_container(call, conf, result)
        outside = _configure_host(conf, host, pair, compute_gateways(conf, ips))
        if conf.spoof_check or (conf.ip_masq and ips):
            _write_rules(call, conf, result, (pair.name, inside["address"]), undo)
        port = (required_link if conf.container_down else await_port)(host, pair.name)
        if ips:
            _announce(call, inside, ips)
        bridge = required_link(host, conf.bridge)
        return replace(result, interfaces=_interfaces(call, bridge, port, inside, outside))


def _make_port(call: "Call", conf: BridgeConf, host: NetlinkSocket, undo: Undo) -> Pair:
    """Make the pair of devices, and set up the host's end."""
    pair = make_pair(host, conf, call)
    if pair.is_new_bridge:
        undo.push(remove_unused_bridge, host, conf.bridge)
    undo.push(delete_if_any, host, pair.name)
    set_up_port(host, conf, pair.name, mark_of(call.request))
    if conf.filters_vlans:
        from podway.plugins.bridge_vlans import set_vlans  # noqa: PLC0415 - rare

        set_vlans(host, conf, pair.bridge, required_link(host, pair.name)["index"])
    return pair


def _configure_container(call: "Call", conf: BridgeConf, result: Result) -> "LinkMessage":
    """Give the container's end its addresses and routes; return it."""
    ifname = call.request.ifname
    with entered(call.namespace), NetlinkSocket() as inside:
        link = required_link(inside, ifname)
        if not conf.ipam:
            if not conf.container_down:
                set_up(inside, link["index"])
            return link
        for path, value in _DAD if conf.dad else _NO_DAD:
            write_sysctl_if_any(path.format(ifname), value)
        plan = compute_interface_plan(result, _CONTAINER, dad=conf.dad)
        configure_interface(inside, link["index"], ifname, plan, announced_later=True)
        if conf.dad:
            settle_addresses(inside, link["index"])
        return link


def _configure_host(
    conf: BridgeConf, host: NetlinkSocket, pair: Pair, gateways: tuple[str, ...]
) -> tuple[Interface, ...]:
    """Give the bridge its addresses; return the device of its VLAN, if that has them."""
    if not gateways:
        return ()
    device = pair.bridge
    if conf.vlan:
        from podway.plugins.bridge_vlans import ensure_vlan_gateway  # noqa: PLC0415 - rare

        device = ensure_vlan_gateway(host, conf, pair.bridge)
    ensure_addresses(host, device, gateways, force=conf.force_address)
    enable_forwarding(host, gateways)
    return (_interface(device),) if conf.vlan else ()


def _announce(call: "Call", link: "LinkMessage", ips: "tuple[Ip, ...]") -> None:
    """Tell who is on the bridge, which forwards now, that the addresses are here."""
    with entered(call.namespace), NetlinkSocket() as inside:
        if not all(is_ipv4(ip.address) for ip in ips):
            write_sysctl_if_any(NDISC_NOTIFY.format(link["ifname"]), "1")
        announce(inside, link)


def _write_rules(
    call: "Call", conf: BridgeConf, result: Result, port: tuple[str, str], undo: Undo
) -> None:
    from podway.netlink.nft_transactions import NftSocket  # noqa: PLC0415 - not all have rules
    from podway.plugins.bridge_rules import remove_rules, write_rules  # noqa: PLC0415

    cidrs = tuple(ip.address for ip in result.ips)
    nft = NftSocket()
    undo.push(remove_rules, nft, call, cidrs)
    write_rules(nft, call, conf, cidrs, port)


def _interfaces(
    call: "Call",
    bridge: "LinkMessage",
    port: "LinkMessage",
    inside: "LinkMessage",
    outside: tuple[Interface, ...],
) -> tuple[Interface, ...]:
    container = _interface(inside, call.request.netns)
    return (_interface(bridge), _interface(port), container, *outside)


def _interface(link: "LinkMessage", sandbox: str = "") -> Interface:
    return Interface(name=link["ifname"], mac=link["address"], mtu=link["mtu"], sandbox=sandbox)
