"""The ``ipvlan`` plugin: an interface that shares the MAC address of a device of the host.

In: ``master``, ``mode``, ``mtu``, ``linkInContainer``. Out: one interface in the container. Behind
another plugin of the list, without a ``master`` of its own, the one interface of that plugin's
result is the master; without IPAM its addresses are this interface's.
"""

from podway.cni.errors import INVALID_CONFIG, CniError, broken_rule
from podway.cni.names import broken_ifname_rule
from podway.cni.results import Result
from podway.cni.values import replace
from podway.netlink.constants import IPVLAN_MODE_L2, IPVLAN_MODE_L3, IPVLAN_MODE_L3S
from podway.plugins.children import Child, add_child, check_child_available, child_plugin
from podway.plugins.delegation import ipam_type
from podway.plugins.link_fields import parse_device_name, parse_mtu, plugin_fields
from podway.plugins.previous import previous_result
from podway.plugins.single_interface import required_ipam
from podway.plugins.skeleton import Call, run_plugin
from podway.plugins.sysctls import ARP_NOTIFY, NDISC_NOTIFY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

KIND: "Final" = "ipvlan"
MODES: "Final" = {"l2": IPVLAN_MODE_L2, "l3": IPVLAN_MODE_L3, "l3s": IPVLAN_MODE_L3S}


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def parse_child(call: Call) -> Child:
    """Return the device that the configuration asks for; its master may stand in prevResult alone.

    Raises:
        CniError: INVALID_CONFIG.
    """
    fields = plugin_fields(call.config)
    return Child(
        kind=KIND,
        master=parse_device_name(fields, "master"),
        link_in_container=fields.boolean("linkInContainer"),
        mtu_bytes=parse_mtu(fields),
        data={"mode": MODES[fields.choice("mode", MODES) or "l2"]},
        notify=(ARP_NOTIFY, NDISC_NOTIFY),
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


def add(call: Call) -> Result:
    """Make the interface and give it its addresses, by IPAM or of the result before."""
    child = parse_child(call)
    previous = previous_result(call.request)
    child = replace(child, master=child.master or chained_master(previous))
    given = None
    if not ipam_type(call) and previous is not None and previous.ips:
        given = previous
    if given is None:
        required_ipam(call)
    return add_child(call, child, given)


def status(call: Call) -> None:
    """See that the master is there if the configuration names one, and that IPAM is well."""
    child = parse_child(call)
    # Without a name it may be that of a plugin before, which only an ADD knows.
    check_child_available(call, child, knows_master=bool(child.master))


PLUGIN: "Final" = child_plugin(
    KIND,
    "an interface that shares the MAC address of a device of the host",
    parse_child,
    add=add,
    status=status,
)
