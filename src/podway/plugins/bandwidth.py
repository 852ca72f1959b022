"""The ``bandwidth`` plugin: limits what a container may receive and send.

In: ``ingressRate``, ``ingressBurst``, ``egressRate``, ``egressBurst`` (bits), ``shapedSubnets`` or
``unshapedSubnets``, of the configuration or of ``runtimeConfig.bandwidth``; prevResult, which has a
veth pair. Out: prevResult, and queueing disciplines on the host (`bandwidth_plans`).
"""

from podway.plugins.skeleton import CniPlugin, OnDemand, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


PLUGIN: "Final" = CniPlugin(
    name="bandwidth",
    about="limits what a container may receive and send",
    add=OnDemand("bandwidth_add.add"),
    delete=OnDemand("bandwidth_removal.delete"),
    check=OnDemand("bandwidth_check.check"),
    gc=OnDemand("bandwidth_removal.gc"),
    status=OnDemand("bandwidth_check.status"),
)
