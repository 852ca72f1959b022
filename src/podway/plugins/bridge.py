"""The ``bridge`` plugin: containers on a bridge of the node.

In: a configuration (`bridge_conf`). Out: a pair of devices, one end a port of the bridge, the other
the container's interface; with IPAM its addresses and routes, the bridge's addresses, masquerade
and spoof check. Order and results are the reference plugin's.

What DEL waits for is little (`lingering`): the container's device is deleted by a child while this
process takes the rules away, all in one transaction; addresses are given back when the device is
gone, not before.
"""

from podway.plugins.skeleton import Call, CniPlugin, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

    from podway.cni.results import Result


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


# Each command loads what it needs, and no more.
# ruff: noqa: PLC0415


def add(call: Call) -> "Result":
    """Attach the container to the bridge."""
    from podway.plugins.bridge_add import add

    return add(call)


def delete(call: Call) -> None:
    """Detach the container from the bridge."""
    from podway.plugins.bridge_removal import delete

    delete(call)


def check(call: Call) -> None:
    """See that what ADD made is there."""
    from podway.plugins.bridge_check import check

    check(call)


def gc(call: Call) -> None:
    """Take away what belongs to attachments of this network that are not valid any more."""
    from podway.plugins.bridge_removal import gc

    gc(call)


def status(call: Call) -> None:
    """See that an ADD would find what it needs."""
    from podway.plugins.bridge_check import status

    status(call)


PLUGIN: "Final" = CniPlugin(
    name="bridge",
    about="attaches a container to a bridge of the node",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
