"""The ``vlan`` plugin: an interface for one VLAN of a device of the host.

In: ``master``, ``vlanId``, ``mtu``, ``linkInContainer``. Out: one interface in the container. A
VLAN of a master can be in one place only: a second container with the same configuration is refused
by the kernel (EEXIST).
"""

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.values import Value
from podway.plugins.container_links import check_master, make_child
from podway.plugins.delegation import pass_to_ipam
from podway.plugins.dns import configured_dns
from podway.plugins.link_fields import parse_device_name, parse_mtu, plugin_fields
from podway.plugins.masters import check_mtu_fits
from podway.plugins.single_interface import (
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

    from podway.cni.results import Result
    from podway.netlink.links import LinkMessage

KIND: "Final" = "vlan"
# 802.1Q: 0 tags a priority alone, 4095 is reserved.
MAX_VLAN_ID: "Final" = 4094


class VlanConf(Value):
    """What the configuration asks for.

    Attributes:
        master: device.
        vlan_id: number of the VLAN.
        mtu_bytes: 0 for the master's.
        link_in_container: the master is in the container's namespace.
    """

    master: str
    vlan_id: int
    mtu_bytes: int
    link_in_container: bool

    @property
    def shape(self) -> Shape:
        """The interface as CHECK sees it."""
        return Shape(kind=KIND, data={"id": self.vlan_id}, mtu_bytes=self.mtu_bytes)


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def parse_conf(call: Call) -> VlanConf:
    """Return the configuration.

    Raises:
        CniError: INVALID_CONFIG.
    """
    fields = plugin_fields(call.config)
    master = parse_device_name(fields, "master")
    if not master:
        raise CniError(INVALID_CONFIG, "master is missing: name the device whose VLAN it is")
    vlan_id = fields.integer_within("vlanId", 0, MAX_VLAN_ID)
    if vlan_id is None:
        raise CniError(INVALID_CONFIG, f"vlanId is missing: must be 0 to {MAX_VLAN_ID}")
    return VlanConf(
        master=master,
        vlan_id=vlan_id,
        mtu_bytes=parse_mtu(fields),
        link_in_container=fields.boolean("linkInContainer"),
    )


def compute_link(conf: VlanConf, master: "LinkMessage") -> "LinkMessage":
    """Return the interface to be made, without name and namespace.

    Raises:
        CniError: INVALID_CONFIG, the master cannot carry packets of that size.
    """
    check_mtu_fits(conf.mtu_bytes, master)
    message: LinkMessage = {
        "link": master["index"],
        "linkinfo": {"kind": KIND, "data": {"id": conf.vlan_id}},
    }
    if conf.mtu_bytes:
        message["mtu"] = conf.mtu_bytes
    return message


def add(call: Call) -> "Result":
    """Make the interface and give it the addresses of IPAM."""
    conf = parse_conf(call)
    required_ipam(call)

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


def gc(call: Call) -> None:
    """Give back what IPAM holds for attachments that are gone."""
    pass_to_ipam(call)


def status(call: Call) -> None:
    """See that there is the master, and that IPAM is well."""
    conf = parse_conf(call)
    check_available(conf.master, link_in_container=conf.link_in_container)
    pass_to_ipam(call)


PLUGIN: "Final" = CniPlugin(
    name="vlan",
    about="an interface for one VLAN of a device of the host",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
