"""The ``bandwidth`` plugin: limits what a container may receive and send.

In: ``ingressRate``, ``ingressBurst``, ``egressRate``, ``egressBurst`` (bits), ``shapedSubnets`` or
``unshapedSubnets``, of the configuration or of ``runtimeConfig.bandwidth``; prevResult, which has a
veth pair. Out: prevResult, and queueing disciplines on the host (`bandwidth_plans`).
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
    """Shape the traffic of the attachment."""
    from podway.plugins.bandwidth_add import add

    return add(call)


def delete(call: Call) -> None:
    """Take away what shapes the attachment's traffic."""
    from podway.plugins.bandwidth_removal import delete

    delete(call)


def check(call: Call) -> None:
    """See that the attachment's traffic is shaped as configured."""
    from podway.plugins.bandwidth_check import check

    check(call)


def gc(call: Call) -> None:
    """Take away the devices of attachments that are not valid any more."""
    from podway.plugins.bandwidth_removal import gc

    gc(call)


def status(call: Call) -> None:
    """See that the kernel can do what the configuration asks for."""
    from podway.plugins.bandwidth_check import status

    status(call)


PLUGIN: "Final" = CniPlugin(
    name="bandwidth",
    about="limits what a container may receive and send",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
    # Before 0.3.0 results name no interface.
)
