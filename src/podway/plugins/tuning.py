"""The ``tuning`` plugin: kernel parameters and properties of an interface that is there already.

In: ``sysctl``, ``mac``, ``mtu``, ``promisc``, ``allmulti``, ``txQLen``, ``dataDir``, also by
``runtimeConfig.mac``, ``args.cni`` and CNI_ARGS; prevResult. Out: prevResult, with the new MAC
address and size. What the interface was before stands in a file (`tuning_backups`), for DEL.
"""

from podway.plugins.skeleton import CniPlugin, OnDemand, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


PLUGIN: "Final" = CniPlugin(
    name="tuning",
    about="kernel parameters and properties of an interface that is there already",
    add=OnDemand("tuning_add.add"),
    delete=OnDemand("tuning_removal.delete"),
    check=OnDemand("tuning_check.check"),
    gc=OnDemand("tuning_removal.gc"),
    status=OnDemand("tuning_check.status"),
)
