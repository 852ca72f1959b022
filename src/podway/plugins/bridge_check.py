"""CHECK and STATUS of the ``bridge`` plugin: is everything there that ADD made, or will need?

In: a call with prevResult. Out: nothing, or the first thing that is missing or differs. Called by
`bridge`. Looked at are the bridge, both ends of the pair and that they are one pair, the port's
settings and VLANs, addresses and routes, the bridge's addresses, forwarding, masquerade, the spoof
check, and what IPAM keeps.
"""

from podway.cni.errors import CHECK_FAILED, LIMITED_CONNECTIVITY, UNAVAILABLE, CniError
from podway.cni.results import Result
from podway.cni.values import replace
from podway.netlink.addresses import dump_addresses
from podway.netlink.constants import (
    AF_BRIDGE,
    IFF_PROMISC,
    IFF_UP,
    NLM_F_DUMP,
    RT_SCOPE_UNIVERSE,
    RTM_GETLINK,
)
from podway.netlink.links import LINK, dump_links
from podway.netlink.messages import Request
from podway.netlink.netns import entered
from podway.netlink.nft_transactions import NftSocket
from podway.netlink.socket import NetlinkSocket
from podway.netlink.text import format_prefix
from podway.plugins.availability import check_device_kind, check_step
from podway.plugins.bridge_conf import BridgeConf, parse_bridge_conf, vlan_gateway_name
from podway.plugins.bridge_devices import compute_port
from podway.plugins.bridge_gateways import compute_gateways
from podway.plugins.bridge_rules import check_rules
from podway.plugins.bridge_vlans import (
    VLAN_PVID,
    VLAN_RANGE_BEGIN,
    VLAN_RANGE_END,
    VLAN_UNTAGGED,
)
from podway.plugins.container_links import check_kind
from podway.plugins.delegation import pass_to_ipam
from podway.plugins.interface_checks import check_interface
from podway.plugins.interfaces import compute_interface_plan, find_link, required_link
from podway.plugins.masquerade_rules import choose_backend
from podway.plugins.previous import container_interface, required_previous_result
from podway.plugins.single_interface import check_told
from podway.plugins.sysctls import is_forwarding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from podway.netlink.link_messages import LinkMessage
    from podway.plugins.skeleton import Call

_RTEXT_FILTER_BRVLAN: "Final" = 2
# Port numbers have BR_PORT_BITS, and 0 is none (net/bridge/br_private.h, br_if.c find_portno).
_MAX_PORTS: "Final" = (1 << 10) - 1
_HOST: "Final" = "the host's namespace"
# What the configuration calls settings of a port.
_PORT_KEYS: "Final" = {"mode": "hairpinMode", "isolated": "portIsolation"}


def check(call: "Call") -> None:
    """See that what ADD made is there.

    Raises:
        CniError: CHECK_FAILED; or INVALID_CONFIG, prevResult is missing or not of this attachment.
    """
    conf = parse_bridge_conf(call)
    result = required_previous_result(call.request)
    position = container_interface(result, call.request)
    pass_to_ipam(call)
    inside = _check_container(call, conf, result, position)
    with NetlinkSocket() as host:
        bridge = required_link(host, conf.bridge, _HOST)
        _check_bridge(conf, bridge, result)
        port = _check_port(host, conf, bridge, inside, result)
        ips = [ip for ip in result.ips if ip.interface == position]
        _check_gateways(host, conf, compute_gateways(conf, ips))
    if conf.ip_masq or conf.spoof_check:
        with NftSocket() as nft:
            cidrs = tuple(ip.address for ip in ips)
            check_rules(nft, call, conf, cidrs, (port["ifname"], inside["address"]))


def _check_container(
    call: "Call", conf: BridgeConf, result: Result, position: int
) -> "LinkMessage":
    """See that the container's end is as the result says; return it."""
    interface = result.interfaces[position]
    with entered(call.namespace), NetlinkSocket() as inside:
        link = required_link(inside, interface.name, call.request.netns)
        check_kind(link, "veth", {})
        check_told(link, interface)
        if not conf.container_down:
            check_interface(inside, link, compute_interface_plan(result, position))
        return link


def _check_bridge(conf: BridgeConf, bridge: "LinkMessage", result: Result) -> None:
    check_kind(bridge, "bridge", {})
    for interface in result.interfaces:
        if interface.name == conf.bridge and not interface.sandbox:
            # Not its size, which the kernel makes the least of its ports'.
            check_told(bridge, replace(interface, mtu=0))
    if not bridge["flags"] & IFF_UP:
        raise CniError(CHECK_FAILED, f"bridge {conf.bridge} is down")
    if conf.promisc and not bridge["flags"] & IFF_PROMISC:
        raise CniError(CHECK_FAILED, f"bridge {conf.bridge} is not promiscuous")
    if conf.filters_vlans and not bridge["linkinfo"]["data"].get("vlan_filtering"):
        raise CniError(CHECK_FAILED, f"bridge {conf.bridge} does not filter VLANs")


def _check_port(
    host: NetlinkSocket,
    conf: BridgeConf,
    bridge: "LinkMessage",
    inside: "LinkMessage",
    result: Result,
) -> "LinkMessage":
    """See that the host's end is the other end of *inside*, and a port as it was made."""
    names = [each.name for each in result.interfaces if not each.sandbox]
    for interface in result.interfaces:
        if interface.sandbox or interface.name in {conf.bridge, vlan_gateway_name(conf)}:
            continue
        port = required_link(host, interface.name, _HOST)
        if port["index"] == inside.get("link") and port.get("link") == inside["index"]:
            check_told(port, interface)
            break
    else:
        text = f"none of {', '.join(names)} is the other end of {inside['ifname']}"
        raise CniError(CHECK_FAILED, text)
    name, info = port["ifname"], port.get("linkinfo", {})
    if not port["flags"] & IFF_UP:
        raise CniError(CHECK_FAILED, f"port {name} is down")
    if port.get("master") != bridge["index"]:
        raise CniError(CHECK_FAILED, f"{name} is no port of {conf.bridge}")
    for key, value in compute_port(conf).items():
        if info.get("slave_data", {}).get(key) != value:
            state = "off" if value else "on"
            raise CniError(CHECK_FAILED, f"{_PORT_KEYS[key]} is {state} at port {name}")
    if conf.filters_vlans:
        _check_vlans(host, conf, bridge, port)
    return port


def _check_vlans(
    host: NetlinkSocket, conf: BridgeConf, bridge: "LinkMessage", port: "LinkMessage"
) -> None:
    """See that a port has its VLANs, tagged or not, and the default one only where it may."""
    found = read_vlans(host, port["index"])
    wanted = dict(_wanted_vlans(conf))
    wrong = sorted(vid for vid, flags in wanted.items() if found.get(vid) != flags)
    if wrong:
        text = f"port {port['ifname']} lacks VLAN {', '.join(map(str, wrong))}, or has it otherwise"
        raise CniError(CHECK_FAILED, text)
    default = bridge["linkinfo"]["data"].get("vlan_default_pvid", 0)
    if default in found and default not in wanted and not conf.preserve_default_vlan:
        raise CniError(CHECK_FAILED, f"port {port['ifname']} has the default VLAN {default}")


def _wanted_vlans(conf: BridgeConf) -> "Iterator[tuple[int, int]]":
    """Yield the VLANs of a port, with PVID and UNTAGGED."""
    for first, last in [(conf.vlan, conf.vlan)] if conf.vlan else conf.trunk:
        for vid in range(first, last + 1):
            yield vid, VLAN_PVID | VLAN_UNTAGGED if conf.vlan else 0


def read_vlans(host: NetlinkSocket, index: int) -> dict[int, int]:
    """Return the VLANs of a port with their flags, PVID and UNTAGGED."""
    fields = {"family": AF_BRIDGE, "ext_mask": _RTEXT_FILTER_BRVLAN}
    vlans: dict[int, int] = {}
    for link in host.dump(Request("list", LINK, RTM_GETLINK, NLM_F_DUMP, fields)):
        if link["index"] != index:
            continue
        first = 0
        for entry in link.get("af_spec", {}).get("vlan_info", ()):
            flags = entry["flags"] & (VLAN_PVID | VLAN_UNTAGGED)
            if entry["flags"] & VLAN_RANGE_BEGIN:
                first = entry["vid"]
            elif entry["flags"] & VLAN_RANGE_END:
                vlans.update(dict.fromkeys(range(first, entry["vid"] + 1), flags))
            else:
                vlans[entry["vid"]] = flags
    return vlans


def _check_gateways(host: NetlinkSocket, conf: BridgeConf, gateways: tuple[str, ...]) -> None:
    """See that the bridge has its addresses, and the host forwards."""
    if not gateways:
        return
    name = vlan_gateway_name(conf) if conf.vlan else conf.bridge
    device = required_link(host, name, _HOST)
    found = {
        format_prefix(each.get("local", each["address"]), each["prefixlen"])
        for each in host.dump(dump_addresses(index=device["index"]))
    }
    for cidr in gateways:
        if cidr not in found:
            raise CniError(CHECK_FAILED, f"{name} lacks the address {cidr}")
        if not is_forwarding(cidr):
            raise CniError(CHECK_FAILED, f"the host does not forward packets to {cidr}")


def status(call: "Call") -> None:
    """See that an ADD would find what it needs: a bridge that is one, programs, free addresses.

    Raises:
        CniError: LIMITED_CONNECTIVITY, containers that are attached suffer; UNAVAILABLE.
    """
    conf = parse_bridge_conf(call)
    for kind in ("bridge", "veth"):
        check_device_kind(kind)
    with NetlinkSocket() as host:
        link = find_link(host, conf.bridge)
        if link is not None:
            _check_capacity(conf, host, link)
    if conf.ip_masq:
        check_step(choose_backend, conf.masq_backend)
    pass_to_ipam(call)


def _check_capacity(conf: BridgeConf, host: NetlinkSocket, link: "LinkMessage") -> None:
    """See that one more port can be had, and that those there are serve their containers."""
    if link.get("linkinfo", {}).get("kind") != "bridge":
        raise CniError(UNAVAILABLE, f"bridge = {conf.bridge!r}: is a device, and not a bridge")
    ports = len(host.dump(dump_links(master=link["index"])))
    if ports and not link["flags"] & IFF_UP:
        raise CniError(LIMITED_CONNECTIVITY, f"bridge {conf.bridge} is down, with {ports} ports")
    if ports and conf.is_gateway and not conf.vlan:
        for address in host.dump(dump_addresses(index=link["index"])):
            cidr = format_prefix(address.get("local", address["address"]), address["prefixlen"])
            if address["scope"] == RT_SCOPE_UNIVERSE and not is_forwarding(cidr):
                text = f"the host does not forward packets to {cidr}, with {ports} ports"
                raise CniError(LIMITED_CONNECTIVITY, text)
    if ports >= _MAX_PORTS:
        raise CniError(UNAVAILABLE, f"bridge {conf.bridge} has {ports} ports, the kernel's limit")
