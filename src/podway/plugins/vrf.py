"""The ``vrf`` plugin: puts a container's interface into a routing domain of its own.

In: ``vrfname``, ``table``; prevResult. Out: prevResult, and in the container a VRF device, of which
the interface is part.
"""

from podway.plugins.skeleton import CniPlugin, OnDemand, keep_nothing, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


PLUGIN: "Final" = CniPlugin(
    name="vrf",
    about="puts a container's interface into a routing domain of its own",
    add=OnDemand("vrf_add.add"),
    delete=OnDemand("vrf_removal.delete"),
    check=OnDemand("vrf_check.check"),
    gc=keep_nothing,  # all that ADD makes is in the container, and goes with it
    status=OnDemand("vrf_check.status"),
)
