"""The ``host-local`` plugin: addresses from pools of this node, kept in files.

In: a configuration with pools (`host_local_conf`). Out: one address from each pool, reserved on
disk (`host_local_files`) under container and interface. The files are the reference plugin's, so
that a node may change between the two. All or nothing: an ADD that fails has reserved nothing.
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
    """Reserve an address from each pool."""
    from podway.plugins.host_local_add import add

    return add(call)


def delete(call: Call) -> None:
    """Give back what the attachment has; the pools may have changed meanwhile."""
    from podway.plugins.host_local_removal import delete

    delete(call)


def check(call: Call) -> None:
    """See that the attachment has an address of each pool, those of prevResult."""
    from podway.plugins.host_local_check import check

    check(call)


def gc(call: Call) -> None:
    """Give back what belongs to no valid attachment, and files that say nothing sensible."""
    from podway.plugins.host_local_removal import gc

    gc(call)


def status(call: Call) -> None:
    """See that each pool has a free address."""
    from podway.plugins.host_local_check import status

    status(call)


PLUGIN: "Final" = CniPlugin(
    name="host-local",
    about="gives addresses from pools of this node, kept in files",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
    opens_netns=False,
)
