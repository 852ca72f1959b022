"""The ``ipvlan`` plugin: an interface that shares the MAC address of a device of the host.

In: ``master``, ``mode``, ``mtu``, ``linkInContainer``. Out: one interface in the container. Behind
another plugin of the list, without a ``master`` of its own, the one interface of that plugin's
result is the master; without IPAM its addresses are this interface's.
"""

from podway.cni.errors import INVALID_CONFIG, CniError, broken_rule
from podway.cni.names import broken_ifname_rule
from podway.cni.results import Result
from podway.cni.values import Value
from podway.netlink.constants import IPVLAN_MODE_L2, IPVLAN_MODE_L3, IPVLAN_MODE_L3S
from podway.plugins.container_links import check_master, make_child
from podway.plugins.delegation import ipam_type, pass_to_ipam
from podway.plugins.dns import configured_dns
from podway.plugins.link_fields import parse_device_name, parse_mtu, plugin_fields
from podway.plugins.masters import check_mtu_fits
from podway.plugins.previous import previous_result
from podway.plugins.single_interface import (
    ARP_NOTIFY,
    NDISC_NOTIFY,
    Shape,
    add_interface,
    check_available,
    check_shape,
    delete_interface,
    required_ipam,
)
from podway.plugins.skeleton import Call, CniPlugin, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

    from podway.netlink.links import LinkMessage

KIND: "Final" = "ipvlan"
MODES: "Final" = {"l2": IPVLAN_MODE_L2, "l3": IPVLAN_MODE_L3, "l3s": IPVLAN_MODE_L3S}


class IpvlanConf(Value):
    """What the configuration asks for.

    Attributes:
        master: device, "" for the one of the result before, or of the default route.
        mode: IPVLAN_MODE_*.
        mtu_bytes: 0 for the master's.
        link_in_container: the master is in the container's namespace.
    """

    master: str
    mode: int
    mtu_bytes: int
    link_in_container: bool

    @property
    def shape(self) -> Shape:
        """The interface as CHECK sees it."""
        notify = (ARP_NOTIFY, NDISC_NOTIFY)
        return Shape(kind=KIND, data={"mode": self.mode}, mtu_bytes=self.mtu_bytes, notify=notify)


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def parse_conf(call: Call) -> IpvlanConf:
    """Return the configuration.

    Raises:
        CniError: INVALID_CONFIG.
    """
    fields = plugin_fields(call.config)
    mode = fields.text("mode") or "l2"
    if mode not in MODES:
        raise fields.refused("mode", mode, f"must be one of {', '.join(MODES)}")
    return IpvlanConf(
        master=parse_device_name(fields, "master"),
        mode=MODES[mode],
        mtu_bytes=parse_mtu(fields),
        link_in_container=fields.boolean("linkInContainer"),
    )


def chained_master(previous: Result | None) -> str:
    """Return the master that the result of the plugin before gives, "" without such a result.

    Raises:
        CniError: INVALID_CONFIG, it has not exactly one interface with a name.
    """
    if previous is None:
        return ""
    names = [interface.name for interface in previous.interfaces]
    if len(names) != 1:
        raise CniError(
            INVALID_CONFIG,
            f"master is missing, and prevResult has {len(names)} interfaces to take it from: "
            "name the master",
        )
    rule = broken_ifname_rule(names[0])
    if rule:
        raise broken_rule("prevResult.interfaces[0].name", names[0], rule)
    return names[0]


def compute_link(conf: IpvlanConf, master: "LinkMessage") -> "LinkMessage":
    """Return the interface to be made, without name and namespace.

    Raises:
        CniError: INVALID_CONFIG, the master cannot carry packets of that size.
    """
    check_mtu_fits(conf.mtu_bytes, master)
    message: LinkMessage = {
        "link": master["index"],
        "linkinfo": {"kind": KIND, "data": {"mode": conf.mode}},
    }
    if conf.mtu_bytes:
        message["mtu"] = conf.mtu_bytes
    return message


def add(call: Call) -> Result:
    """Make the interface and give it its addresses, by IPAM or of the result before."""
    conf = parse_conf(call)
    previous = previous_result(call.request)
    master = conf.master or chained_master(previous)
    given = None
    if not ipam_type(call) and previous is not None and previous.ips:
        given = previous
    if given is None:
        required_ipam(call)

    def make() -> "LinkMessage":
        return make_child(
            call,
            master,
            lambda found: compute_link(conf, found),
            link_in_container=conf.link_in_container,
        )

    return add_interface(call, conf.shape, make, dns=configured_dns(call.config), given=given)


def delete(call: Call) -> None:
    """Remove the interface and give its addresses back."""
    delete_interface(call, KIND)


def check(call: Call) -> None:
    """See that the interface is as ADD made it."""
    conf = parse_conf(call)
    link = check_shape(call, conf.shape)
    check_master(call, link, conf.master, link_in_container=conf.link_in_container)


def gc(call: Call) -> None:
    """Give back what IPAM holds for attachments that are gone."""
    pass_to_ipam(call)


def status(call: Call) -> None:
    """See that there is the master that the configuration names, and that IPAM is well."""
    conf = parse_conf(call)
    # Without a name it may be that of a plugin before, which only an ADD knows.
    if conf.master:
        check_available(conf.master, link_in_container=conf.link_in_container)
    pass_to_ipam(call)


PLUGIN: "Final" = CniPlugin(
    name="ipvlan",
    about="an interface that shares the MAC address of a device of the host",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
