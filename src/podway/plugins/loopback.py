"""The ``loopback`` plugin: brings the container's ``lo`` up.

In: a namespace; CNI_IFNAME does not matter. Out: ``lo`` with the addresses that the kernel gives
it. Runtimes call it beside the main plugin, with a configuration of their own (containerd: version
0.3.1, no prevResult).
"""

from podway.cni.addresses import render_address
from podway.cni.errors import CHECK_FAILED, CniError
from podway.cni.results import Interface, Ip, Result, parse_result
from podway.netlink.loopback_device import LoopbackDevice
from podway.plugins.skeleton import Call, CniPlugin, keep_nothing, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def add(call: Call) -> Result:
    """Bring lo up; return its addresses, or prevResult if there is one."""
    config = call.config
    previous = config.prev_result and parse_result(config.prev_result, config.cni_version)
    with LoopbackDevice(call.namespace) as device:
        device.set_up(up=True)
        if previous:
            return previous
        addresses = device.list_addresses()
    ips = (
        Ip(address=f"{render_address(packed)}/{bits}", interface=0) for packed, bits in addresses
    )
    interface = Interface(name="lo", mac="00:00:00:00:00:00", sandbox=call.request.netns)
    return Result(interfaces=(interface,), ips=tuple(ips))


def delete(call: Call) -> None:
    """Take lo down, if the namespace is still there."""
    if call.netns is None:
        return
    with LoopbackDevice(call.netns) as device:
        device.set_up(up=False)


def check(call: Call) -> None:
    """See that lo is up."""
    with LoopbackDevice(call.namespace) as device:
        if not device.is_up():
            raise CniError(CHECK_FAILED, f"lo is down in {call.request.netns}")


PLUGIN: "Final" = CniPlugin(
    name="loopback",
    about="brings the container's lo up",
    add=add,
    delete=delete,
    check=check,
    gc=keep_nothing,
    status=keep_nothing,
)
