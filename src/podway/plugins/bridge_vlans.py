"""VLANs of a port of a bridge, and the device that has the gateway's address in one.

In: the configuration, a netlink socket of the host. Out: the port as configured. Called by
`bridge_add` where a VLAN is asked for; the bridge then filters.
"""

from podway.netlink.constants import AF_BRIDGE, BRIDGE_FLAGS_MASTER, IFF_UP, RTM_DELLINK
from podway.netlink.errors import NetlinkError
from podway.netlink.links import LINK, change_bridge_port, change_link, create_link
from podway.netlink.messages import Request
from podway.plugins.bridge_conf import vlan_gateway_name
from podway.plugins.bridge_devices import required_link
from podway.plugins.interfaces import disable_accept_ra, find_link
from podway.plugins.macs import random_veth_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.socket import NetlinkSocket
    from podway.plugins.bridge_conf import BridgeConf

# include/uapi/linux/if_bridge.h, BRIDGE_VLAN_INFO_*.
VLAN_PVID: "Final" = 2
VLAN_UNTAGGED: "Final" = 4
VLAN_RANGE_BEGIN: "Final" = 8
VLAN_RANGE_END: "Final" = 16


def set_vlans(
    netlink: "NetlinkSocket", conf: "BridgeConf", bridge: "LinkMessage", port: int
) -> None:
    """Give a port its VLANs, and take the bridge's default one away unless it is to stay."""
    default = bridge["linkinfo"]["data"].get("vlan_default_pvid", 0)
    entries = compute_vlans(conf)
    if default and not conf.preserve_default_vlan and conf.vlan != default:
        gone = [{"vid": default}]
        message = {"family": AF_BRIDGE, "index": port, "af_spec": _af_spec(gone)}
        netlink.request(Request("change", LINK, RTM_DELLINK, 0, message))
    netlink.request(change_bridge_port({"index": port, "af_spec": _af_spec(entries)}))


def compute_vlans(conf: "BridgeConf") -> "list[dict[str, int]]":
    """Return the entries of a port: the access VLAN, or the ranges of the trunk."""
    if conf.vlan:
        return [{"vid": conf.vlan, "flags": VLAN_PVID | VLAN_UNTAGGED}]
    entries: list[dict[str, int]] = []
    for first, last in conf.trunk:
        if first == last:
            entries.append({"vid": first})
        else:
            entries.append({"vid": first, "flags": VLAN_RANGE_BEGIN})
            entries.append({"vid": last, "flags": VLAN_RANGE_END})
    return entries


def _af_spec(entries: "list[dict[str, int]]") -> "dict[str, Any]":
    return {"flags": BRIDGE_FLAGS_MASTER, "vlan_info": entries}


def ensure_vlan_gateway(
    netlink: "NetlinkSocket", conf: "BridgeConf", bridge: "LinkMessage"
) -> "LinkMessage":
    """Return the device with the gateway's address in the port's VLAN, made if there was none."""
    name = vlan_gateway_name(conf)
    link = find_link(netlink, name)
    if link is not None:
        return link
    port = random_veth_name()
    message: LinkMessage = {"ifname": port, "master": bridge["index"], "mtu": bridge["mtu"]}
    peer: LinkMessage = {"ifname": name, "mtu": bridge["mtu"]}
    try:
        netlink.request(
            create_link({**message, "linkinfo": {"kind": "veth", "data": {"peer": peer}}})
        )
    except NetlinkError as error:
        if not error.is_exists:
            raise
        return required_link(netlink, name)
    set_vlans(netlink, conf, bridge, required_link(netlink, port)["index"])
    for each in (port, name):
        disable_accept_ra(each)
        netlink.request(change_link({"ifname": each, "flags": IFF_UP, "change": IFF_UP}))
    return required_link(netlink, name)
