"""The ``sbr`` plugin: what a container sends from an address goes by that address' own routes.

In: ``table``, ``gateways``, ``addSourceHints``; prevResult. Out: prevResult, and in the container
rules and tables (`sbr_plans`).
"""

from podway.plugins.skeleton import CniPlugin, OnDemand, keep_nothing, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


PLUGIN: "Final" = CniPlugin(
    name="sbr",
    about="what a container sends from an address goes by that address' own routes",
    add=OnDemand("sbr_add.add"),
    delete=OnDemand("sbr_removal.delete"),
    check=OnDemand("sbr_check.check"),
    gc=keep_nothing,  # all that ADD makes is in the container, and goes with it
    status=OnDemand("sbr_check.status"),
)
