"""The bridge, and the pair of devices that leads to it.

In: the configuration, a netlink socket of the host. Out: devices as the kernel has them. Called by
`bridge_add` and `bridge_check`. Everything here may be done by several calls at the same time, for
other containers on the same bridge: what somebody else has made meanwhile is taken as it is.
"""

import posix
from errno import ENODEV
from time import monotonic, sleep

from podway.cni.errors import IO_FAILURE, CniError, broken_rule
from podway.cni.values import Value
from podway.netlink.constants import IF_OPER_UP, IFF_PROMISC, IFF_UP
from podway.netlink.errors import NetlinkError
from podway.netlink.links import change_link, create_link, delete_link, dump_links
from podway.netlink.socket import NetlinkSocket
from podway.plugins.interfaces import disable_accept_ra, find_link
from podway.plugins.macs import random_veth_name
from podway.plugins.sysctls import write_sysctl_if_any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.netlink.link_messages import LinkMessage
    from podway.plugins.bridge_conf import BridgeConf
    from podway.plugins.skeleton import Call

_ATTEMPTS: "Final" = 5
# A port of a bridge with spanning tree forwards late; the reference plugin waits as long.
_UP_WITHIN_S: "Final" = 2.55
_ASK_AGAIN_S: "Final" = 0.001


def ensure_bridge(netlink: NetlinkSocket, conf: "BridgeConf") -> "tuple[LinkMessage, bool]":
    """Return the bridge, made if there was none, and whether this call made it.

    Raises:
        CniError: INVALID_CONFIG, a device of that name is no bridge.
        NetlinkError: the kernel refuses.
    """
    link, is_new = find_link(netlink, conf.bridge), False
    if link is None:
        is_new = _make_bridge(netlink, conf)
        link = required_link(netlink, conf.bridge)
    info = link.get("linkinfo", {})
    if info.get("kind") != "bridge":
        raise broken_rule("bridge", conf.bridge, "is a device, and not a bridge")
    wanted = compute_bridge_change(conf, link)
    if wanted:
        disable_accept_ra(conf.bridge)
        netlink.request(change_link({**wanted, "index": link["index"]}))
    return link, is_new


def compute_bridge_change(conf: "BridgeConf", link: "LinkMessage") -> "LinkMessage":
    """Return what is to be changed about an existing bridge; empty for nothing."""
    flags = IFF_UP | (IFF_PROMISC if conf.promisc else 0)
    change: LinkMessage = {}
    if link["flags"] & flags != flags:
        change |= {"flags": flags, "change": flags}
    filters = link["linkinfo"]["data"].get("vlan_filtering", 0)
    if conf.filters_vlans and not filters:
        change["linkinfo"] = {"kind": "bridge", "data": {"vlan_filtering": 1}}
    return change


def _make_bridge(netlink: NetlinkSocket, conf: "BridgeConf") -> bool:
    """Make the bridge; tell whether it was not there already after all."""
    data = {"vlan_filtering": 1} if conf.filters_vlans else {}
    # With an address of its own; else it would have its ports' lowest, and change with them.
    message: LinkMessage = {
        "ifname": conf.bridge,
        "address": random_mac(),
        "linkinfo": {"kind": "bridge", "data": data},
    }
    if conf.mtu_bytes:
        message["mtu"] = conf.mtu_bytes
    try:
        netlink.request(create_link(message))
    except NetlinkError as error:
        if not error.is_exists:
            raise
        return False
    return True


def remove_unused_bridge(netlink: NetlinkSocket, name: str) -> None:
    """Delete a bridge that this call made, unless it has got ports meanwhile."""
    link = find_link(netlink, name)
    if link is not None and not netlink.dump(dump_links(master=link["index"])):
        delete_if_any(netlink, name)


def random_mac() -> str:
    """Return a MAC address of nobody's: local and unicast, the rest by lot."""
    first, *rest = posix.urandom(6)
    return bytes((first & 0xFC | 2, *rest)).hex(":")


class Pair(Value):
    """A pair of devices as it was made.

    Attributes:
        bridge: the bridge, as the kernel had it before.
        is_new_bridge: this call made it.
        name: of the host's end.
    """

    bridge: "LinkMessage"
    is_new_bridge: bool
    name: str


def make_pair(netlink: NetlinkSocket, conf: "BridgeConf", call: "Call") -> Pair:
    """Make the pair of devices between bridge and container, and the bridge if there is none.

    Raises:
        CniError: IO_FAILURE, the container has an interface of that name.
        NetlinkError: the kernel refuses; nothing is left.
    """
    for attempt in range(_ATTEMPTS):
        bridge, is_new = ensure_bridge(netlink, conf)
        name = random_veth_name()
        try:
            netlink.request(create_link(_compute_pair(conf, call, name, bridge["index"])))
        except NetlinkError as error:
            if is_new:
                remove_unused_bridge(netlink, conf.bridge)
            if error.is_exists:
                _refuse_taken_name(call)
            # Somebody's random name, or a bridge that its maker took away again.
            is_momentary = error.is_exists or error.errno == ENODEV
            if not is_momentary or attempt == _ATTEMPTS - 1:
                raise
        else:
            return Pair(bridge=bridge, is_new_bridge=is_new, name=name)
    raise AssertionError("the last attempt returns or raises")


def _compute_pair(conf: "BridgeConf", call: "Call", name: str, bridge: int) -> "LinkMessage":
    peer: LinkMessage = {"ifname": call.request.ifname, "net_ns_fd": call.namespace}
    host: LinkMessage = {"ifname": name, "master": bridge}
    if conf.mtu_bytes:
        peer["mtu"] = host["mtu"] = conf.mtu_bytes
    if conf.mac:
        peer["address"] = conf.mac
    return {**host, "linkinfo": {"kind": "veth", "data": {"peer": peer}}}


def _refuse_taken_name(call: "Call") -> None:
    from podway.plugins.container_links import refuse_taken_name  # noqa: PLC0415 - after an error

    with NetlinkSocket(netns_fd=call.namespace) as inside:
        refuse_taken_name(call, inside)


def set_up_port(netlink: NetlinkSocket, conf: "BridgeConf", name: str, mark: str) -> None:
    """Bring the host's end up, with its mark and what the bridge makes of it."""
    # A bridge takes all that arrives: addresses of the port's own would be of no use, and each
    # adds three routes, through which the kernel goes whenever a device comes or goes.
    write_sysctl_if_any(f"net/ipv6/conf/{name}/disable_ipv6", "1")
    message: LinkMessage = {
        "ifname": name,
        "flags": IFF_UP,
        "change": IFF_UP,
        "linkinfo": {"slave_kind": "bridge", "slave_data": compute_port(conf)},
    }
    if mark:
        message["ifalias"] = mark
    netlink.request(change_link(message))


def compute_port(conf: "BridgeConf") -> "dict[str, int]":
    """Return the settings of the port by the kernel's names."""
    return {"mode": int(conf.hairpin), "isolated": int(conf.isolated)}


def await_port(netlink: NetlinkSocket, name: str) -> "LinkMessage":
    """Return the host's end as soon as the bridge forwards what comes from there.

    Raises:
        CniError: IO_FAILURE, it does not.
    """
    deadline_s = monotonic() + _UP_WITHIN_S
    pause_s = _ASK_AGAIN_S
    while True:
        link = required_link(netlink, name)
        if link["operstate"] == IF_OPER_UP:
            return link
        if monotonic() > deadline_s:
            state = link["operstate"]
            raise CniError(
                IO_FAILURE, f"port {name} is not up after {_UP_WITHIN_S} s (state {state})"
            )
        sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)


def delete_if_any(netlink: NetlinkSocket, name: str) -> None:
    """Delete a device; none of that name is no error."""
    try:
        netlink.request(delete_link({"ifname": name}))
    except NetlinkError as error:
        if not error.is_not_found:
            raise


def required_link(netlink: NetlinkSocket, name: str) -> "LinkMessage":
    """Return a device that was just made.

    Raises:
        CniError: IO_FAILURE, it is gone: a GC did not count it as valid, say.
    """
    link = find_link(netlink, name)
    if link is None:
        raise CniError(IO_FAILURE, f"device {name} went away while it was being set up")
    return link
