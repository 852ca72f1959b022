"""The ``macvlan`` plugin: an interface with a MAC address of its own on a device of the host.

In: ``master``, ``mode``, ``mtu``, ``mac``, ``linkInContainer``, ``bcqueuelen``. Out: one interface
in the container. Frames go by the master's wire; with the host itself the container cannot speak
through it (macvlan's own rule). Without IPAM the interface is only brought up.
"""

from podway.cni.errors import broken_rule
from podway.netlink.constants import (
    MACVLAN_MODE_BRIDGE,
    MACVLAN_MODE_PASSTHRU,
    MACVLAN_MODE_PRIVATE,
    MACVLAN_MODE_VEPA,
)
from podway.plugins.children import Child, child_plugin
from podway.plugins.link_fields import parse_device_name, parse_mtu, plugin_fields
from podway.plugins.macs import requested_mac
from podway.plugins.orders import check_arguments
from podway.plugins.skeleton import Call, run_plugin
from podway.plugins.sysctls import ARP_NOTIFY, NDISC_NOTIFY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

KIND: "Final" = "macvlan"
MODES: "Final" = {
    "bridge": MACVLAN_MODE_BRIDGE,
    "private": MACVLAN_MODE_PRIVATE,
    "vepa": MACVLAN_MODE_VEPA,
    "passthru": MACVLAN_MODE_PASSTHRU,
}
_U32_MAX = (1 << 32) - 1


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def parse_child(call: Call) -> Child:
    """Return the device that the configuration asks for.

    Raises:
        CniError: INVALID_CONFIG or INVALID_ENVIRONMENT.
    """
    check_arguments(call.request)
    fields = plugin_fields(call.config)
    mode = fields.choice("mode", MODES) or "bridge"
    mac = requested_mac(call.request, fields.text("mac"))
    if mac and mode == "passthru":
        raise broken_rule("mac", mac, "must be absent in mode passthru: it is the master's")
    queue = fields.integer_within("bcqueuelen", 0, _U32_MAX)
    return Child(
        kind=KIND,
        master=parse_device_name(fields, "master"),
        link_in_container=fields.boolean("linkInContainer"),
        mtu_bytes=parse_mtu(fields),
        data={"mode": MODES[mode]},
        # Kernels before 5.11 do not know it; 0 is for their 1000.
        data_if_told={"bc_queue_len": queue} if queue else {},
        mac=mac,
        notify=(ARP_NOTIFY, NDISC_NOTIFY),
    )


PLUGIN: "Final" = child_plugin(
    KIND, "an interface with a MAC address of its own on a device of the host", parse_child
)
