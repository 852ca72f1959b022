"""The ``flannel`` plugin: another plugin's attachment, in the subnet that this node has.

In: a configuration, and the file ``subnet.env`` in which a flannel daemon (or podway's agent) says
which subnet this node has. Out: what the plugin that is delegated to says, ``bridge`` unless the
configuration names another one. Each attachment's configuration is kept (`flannel_files`): DEL
undoes what ADD did, whatever subnet the node has by then.
"""

from podway.plugins.skeleton import CniPlugin, OnDemand, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


PLUGIN: "Final" = CniPlugin(
    name="flannel",
    about="attaches a container by another plugin, in the subnet that flannel gave the node",
    add=OnDemand("flannel_calls.add"),
    delete=OnDemand("flannel_calls.delete"),
    check=OnDemand("flannel_calls.check"),
    gc=OnDemand("flannel_calls.gc"),
    status=OnDemand("flannel_calls.status"),
)
