"""The ``macvlan`` plugin: an interface with a MAC address of its own on a device of the host.

In: ``master``, ``mode``, ``mtu``, ``mac``, ``linkInContainer``, ``bcqueuelen``. Out: one interface
in the container. Frames go by the master's wire; with the host itself the container cannot speak
through it (macvlan's own rule). Without IPAM the interface is only brought up.
"""

from podway.cni.errors import CHECK_FAILED, CniError, broken_rule
from podway.cni.values import Value
from podway.netlink.constants import (
    MACVLAN_MODE_BRIDGE,
    MACVLAN_MODE_PASSTHRU,
    MACVLAN_MODE_PRIVATE,
    MACVLAN_MODE_VEPA,
)
from podway.plugins.container_links import check_master, make_child
from podway.plugins.delegation import pass_to_ipam
from podway.plugins.dns import configured_dns
from podway.plugins.link_fields import parse_device_name, parse_mtu, plugin_fields
from podway.plugins.macs import requested_mac
from podway.plugins.masters import check_mtu_fits
from podway.plugins.orders import check_arguments
from podway.plugins.single_interface import (
    ARP_NOTIFY,
    NDISC_NOTIFY,
    Shape,
    add_interface,
    check_available,
    check_shape,
    delete_interface,
)
from podway.plugins.skeleton import Call, CniPlugin, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

    from podway.cni.results import Result
    from podway.netlink.links import LinkMessage

KIND: "Final" = "macvlan"
MODES: "Final" = {
    "bridge": MACVLAN_MODE_BRIDGE,
    "private": MACVLAN_MODE_PRIVATE,
    "vepa": MACVLAN_MODE_VEPA,
    "passthru": MACVLAN_MODE_PASSTHRU,
}
_U32_MAX = (1 << 32) - 1


class MacvlanConf(Value):
    """What the configuration asks for.

    Attributes:
        master: device, "" for the one of the default route.
        mode: MACVLAN_MODE_*.
        mtu_bytes: 0 for the master's.
        mac: "" for a random one.
        link_in_container: the master is in the container's namespace.
        bc_queue_len: length of the master's queue of broadcasts, 0 for the kernel's 1000.
    """

    master: str
    mode: int
    mtu_bytes: int
    mac: str
    link_in_container: bool
    bc_queue_len: int

    @property
    def shape(self) -> Shape:
        """The interface as CHECK sees it."""
        notify = (ARP_NOTIFY, NDISC_NOTIFY)
        return Shape(kind=KIND, data={"mode": self.mode}, mtu_bytes=self.mtu_bytes, notify=notify)


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def parse_conf(call: Call) -> MacvlanConf:
    """Return the configuration.

    Raises:
        CniError: INVALID_CONFIG or INVALID_ENVIRONMENT.
    """
    check_arguments(call.request)
    fields = plugin_fields(call.config)
    mode = fields.text("mode") or "bridge"
    if mode not in MODES:
        raise fields.refused("mode", mode, f"must be one of {', '.join(MODES)}")
    mac = requested_mac(call.request, fields.text("mac"))
    if mac and mode == "passthru":
        raise broken_rule("mac", mac, "must be absent in mode passthru: it is the master's")
    return MacvlanConf(
        master=parse_device_name(fields, "master"),
        mode=MODES[mode],
        mtu_bytes=parse_mtu(fields),
        mac=mac,
        link_in_container=fields.boolean("linkInContainer"),
        bc_queue_len=fields.integer_within("bcqueuelen", 0, _U32_MAX) or 0,
    )


def compute_link(conf: MacvlanConf, master: "LinkMessage") -> "LinkMessage":
    """Return the interface to be made, without name and namespace.

    Raises:
        CniError: INVALID_CONFIG, the master cannot carry packets of that size.
    """
    check_mtu_fits(conf.mtu_bytes, master)
    data = {"mode": conf.mode}
    if conf.bc_queue_len:
        data["bc_queue_len"] = conf.bc_queue_len
    message: LinkMessage = {"link": master["index"], "linkinfo": {"kind": KIND, "data": data}}
    if conf.mtu_bytes:
        message["mtu"] = conf.mtu_bytes
    if conf.mac:
        message["address"] = conf.mac
    return message


def add(call: Call) -> "Result":
    """Make the interface; with IPAM give it addresses."""
    conf = parse_conf(call)

    def make() -> "LinkMessage":
        return make_child(
            call,
            conf.master,
            lambda master: compute_link(conf, master),
            link_in_container=conf.link_in_container,
        )

    return add_interface(call, conf.shape, make, dns=configured_dns(call.config))


def delete(call: Call) -> None:
    """Remove the interface and give its addresses back."""
    delete_interface(call, KIND)


def check(call: Call) -> None:
    """See that the interface is as ADD made it."""
    conf = parse_conf(call)
    link = check_shape(call, conf.shape)
    check_master(call, link, conf.master, link_in_container=conf.link_in_container)
    # Kernels before 5.11 neither know nor tell it.
    found = link["linkinfo"]["data"].get("bc_queue_len", conf.bc_queue_len)
    if conf.bc_queue_len and found != conf.bc_queue_len:
        text = f"bcqueuelen of {link['ifname']} is {found}, must be {conf.bc_queue_len}"
        raise CniError(CHECK_FAILED, text)


def gc(call: Call) -> None:
    """Give back what IPAM holds for attachments that are gone."""
    pass_to_ipam(call)


def status(call: Call) -> None:
    """See that there is a master, and that IPAM is well."""
    conf = parse_conf(call)
    check_available(conf.master, link_in_container=conf.link_in_container)
    pass_to_ipam(call)


PLUGIN: "Final" = CniPlugin(
    name="macvlan",
    about="an interface with a MAC address of its own on a device of the host",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
