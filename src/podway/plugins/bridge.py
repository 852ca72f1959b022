"""The ``bridge`` plugin: containers on a bridge of the node.

In: a configuration (`bridge_conf`). Out: a pair of devices, one end a port of the bridge, the other
the container's interface; with IPAM its addresses and routes, the bridge's addresses, masquerade
and spoof check. Order and results are the reference plugin's.

What DEL waits for is little (`lingering`): the container's device is deleted by a child while this
process takes the rules away, all in one transaction; addresses are given back when the device is
gone, not before.
"""

from podway.plugins.skeleton import CniPlugin, OnDemand, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


PLUGIN: "Final" = CniPlugin(
    name="bridge",
    about="attaches a container to a bridge of the node",
    add=OnDemand("bridge_add.add"),
    delete=OnDemand("bridge_removal.delete"),
    check=OnDemand("bridge_check.check"),
    gc=OnDemand("bridge_removal.gc"),
    status=OnDemand("bridge_check.status"),
)
