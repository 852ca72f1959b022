"""The ``vlan`` plugin: an interface for one VLAN of a device of the host.

In: ``master``, ``vlanId``, ``mtu``, ``linkInContainer``. Out: one interface in the container. A
VLAN of a master can be in one place only: a second container with the same configuration is refused
by the kernel (EEXIST).
"""

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.plugins.children import Child, add_child, child_plugin
from podway.plugins.link_fields import parse_device_name, parse_mtu, plugin_fields
from podway.plugins.single_interface import required_ipam
from podway.plugins.skeleton import Call, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

    from podway.cni.results import Result

KIND: "Final" = "vlan"
# 802.1Q: 0 tags a priority alone, 4095 is reserved.
MAX_VLAN_ID: "Final" = 4094


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def parse_child(call: Call) -> Child:
    """Return the device that the configuration asks for.

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
    return Child(
        kind=KIND,
        master=master,
        link_in_container=fields.boolean("linkInContainer"),
        mtu_bytes=parse_mtu(fields),
        data={"id": vlan_id},
    )


def add(call: Call) -> "Result":
    """Make the interface and give it the addresses of IPAM."""
    child = parse_child(call)
    required_ipam(call)
    return add_child(call, child)


PLUGIN: "Final" = child_plugin(
    KIND, "an interface for one VLAN of a device of the host", parse_child, add=add
)
