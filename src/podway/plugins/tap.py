"""The ``tap`` plugin: a tap device in the container, for a virtual machine or another process.

In: ``multiQueue``, ``owner``, ``group``, ``selinuxContext``, ``bridge``, ``mac``, ``mtu``. Out: one
interface in the container, as a port of its ``bridge`` if one is named. Without IPAM it is only
brought up. It stays, without carrier, until a process opens it.
"""

from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, UNAVAILABLE, CniError, broken_rule
from podway.cni.values import Value
from podway.netlink.links import change_link
from podway.netlink.netns import entered
from podway.netlink.socket import NetlinkSocket
from podway.plugins.container_links import delete_if_any, read_link, refuse_taken_name
from podway.plugins.delegation import pass_to_ipam
from podway.plugins.dns import configured_dns
from podway.plugins.interfaces import find_link
from podway.plugins.link_fields import parse_device_name, parse_mtu, plugin_fields
from podway.plugins.macs import requested_mac
from podway.plugins.orders import check_arguments
from podway.plugins.single_interface import (
    Shape,
    add_interface,
    check_shape,
    delete_interface,
)
from podway.plugins.skeleton import Call, CniPlugin, run_plugin
from podway.plugins.sysctls import ARP_NOTIFY
from podway.plugins.taps import TUN_PATH, Tap, make_tap, tap_exists
from podway.plugins.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

    from podway.cni.fields import Fields
    from podway.cni.results import Result
    from podway.netlink.link_messages import LinkMessage

# As `ip link` and the kernel call what tun.c makes.
KIND: "Final" = "tun"
# (uid_t)-1 means nobody at all.
MAX_ID: "Final" = (1 << 32) - 2
_IFF_TAP = 2


class TapConf(Value):
    """What the configuration asks for.

    Attributes:
        tap: the device.
        bridge: of the container, whose port it becomes; "" for none.
        mac: "" for a random one.
        mtu_bytes: 0 for the kernel's 1500.
    """

    tap: Tap
    bridge: str
    mac: str
    mtu_bytes: int

    @property
    def shape(self) -> Shape:
        """The interface as CHECK sees it; owner and group are told only when set."""
        ids = {"owner": self.tap.owner, "group": self.tap.group}
        told = {name: number for name, number in ids.items() if number is not None}
        data = {"type": _IFF_TAP, "persist": 1, "multi_queue": int(self.tap.has_queues), **told}
        return Shape(kind=KIND, data=data, mtu_bytes=self.mtu_bytes, notify=(ARP_NOTIFY,))


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def parse_conf(call: Call) -> TapConf:
    """Return the configuration.

    Raises:
        CniError: INVALID_CONFIG or INVALID_ENVIRONMENT.
    """
    check_arguments(call.request)
    fields = plugin_fields(call.config)
    return TapConf(
        tap=Tap(
            name=call.request.ifname,
            owner=fields.integer_within("owner", 0, MAX_ID),
            group=fields.integer_within("group", 0, MAX_ID),
            has_queues=fields.boolean("multiQueue"),
            selinux_context=_parse_context(fields),
        ),
        bridge=parse_device_name(fields, "bridge"),
        mac=requested_mac(call.request, fields.text("mac")),
        mtu_bytes=parse_mtu(fields),
    )


def compute_change(conf: TapConf, index: int, bridge: "LinkMessage | None") -> "LinkMessage | None":
    """Return what is to be changed in the new device number *index*; None for nothing."""
    change: LinkMessage = {"index": index}
    if conf.mac:
        change["address"] = conf.mac
    if conf.mtu_bytes:
        change["mtu"] = conf.mtu_bytes
    if bridge is not None:
        change["master"] = bridge["index"]
    return change if len(change) > 1 else None


def add(call: Call) -> "Result":
    """Make the device; with IPAM give it addresses."""
    conf = parse_conf(call)
    dns = configured_dns(call.config)
    return add_interface(call, conf.shape, lambda: _make(call, conf), dns=dns)


def delete(call: Call) -> None:
    """Remove the device and give its addresses back."""
    delete_interface(call, KIND)


def check(call: Call) -> None:
    """See that the device is as ADD made it, and still the port of its bridge."""
    conf = parse_conf(call)
    link = check_shape(call, conf.shape)
    with NetlinkSocket(netns_fd=call.namespace) as inside:
        bridge = _find_bridge(inside, conf)
    if bridge is not None and link.get("master") != bridge["index"]:
        raise CniError(CHECK_FAILED, f"{link['ifname']} is not a port of bridge {conf.bridge}")


def status(call: Call) -> None:
    """See that there can be tap devices, and that IPAM is well."""
    parse_conf(call)
    if not tap_exists():
        raise CniError(UNAVAILABLE, f"{TUN_PATH} is missing: load the module tun")
    pass_to_ipam(call)


def _parse_context(fields: "Fields") -> str:
    context = fields.text("selinuxContext")
    if not context.isprintable():
        raise fields.refused("selinuxContext", context, "must be text of one line")
    return context


def _make(call: Call, conf: TapConf) -> "LinkMessage":
    with entered(call.namespace), NetlinkSocket() as inside, Undo() as undo:
        bridge = _find_bridge(inside, conf)
        refuse_taken_name(call, inside)
        make_tap(conf.tap)
        link = read_link(inside, call.request.ifname)
        undo.push(delete_if_any, inside, link["index"])
        change = compute_change(conf, link["index"], bridge)
        if change is None:
            return link
        inside.request(change_link(change))
        return read_link(inside, call.request.ifname)


def _find_bridge(inside: NetlinkSocket, conf: TapConf) -> "LinkMessage | None":
    """Return the container's bridge; None where the configuration names none."""
    if not conf.bridge:
        return None
    bridge = find_link(inside, conf.bridge)
    if bridge is None:
        rule = "must be a bridge in the container's namespace"
        raise broken_rule("bridge", conf.bridge, rule, INVALID_CONFIG)
    return bridge


PLUGIN: "Final" = CniPlugin(
    name="tap",
    about="a tap device in the container, for a virtual machine or another process",
    add=add,
    delete=delete,
    check=check,
    gc=pass_to_ipam,
    status=status,
)
