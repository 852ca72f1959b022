"""The ``host-local`` plugin: addresses from pools of this node, kept in files.

In: a configuration with pools (`host_local_conf`). Out: one address from each pool, reserved on
disk (`host_local_files`) under container and interface. The files are the reference plugin's, so
that a node may change between the two. All or nothing: an ADD that fails has reserved nothing.
"""

from podway.plugins.skeleton import CniPlugin, OnDemand, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


PLUGIN: "Final" = CniPlugin(
    name="host-local",
    about="gives addresses from pools of this node, kept in files",
    add=OnDemand("host_local_add.add"),
    delete=OnDemand("host_local_removal.delete"),
    check=OnDemand("host_local_check.check"),
    gc=OnDemand("host_local_removal.gc"),
    status=OnDemand("host_local_check.status"),
    opens_netns=False,
)
