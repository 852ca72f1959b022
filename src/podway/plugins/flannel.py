"""The ``flannel`` plugin: another plugin's attachment, in the subnet that this node has.

In: a configuration, and the file ``subnet.env`` in which a flannel daemon (or podway's agent) says
which subnet this node has. Out: what the plugin that is delegated to says, ``bridge`` unless the
configuration names another one. Each attachment's configuration is kept (`flannel_files`): DEL
undoes what ADD did, whatever subnet the node has by then.
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
    """Attach the container by another plugin, and keep how."""
    from podway.plugins.flannel_calls import add

    return add(call)


def delete(call: Call) -> None:
    """Undo what ADD did; nothing kept means nothing to undo."""
    from podway.plugins.flannel_calls import delete

    delete(call)


def check(call: Call) -> None:
    """Pass on to the other plugin, as ADD configured it."""
    from podway.plugins.flannel_calls import check

    check(call)


def gc(call: Call) -> None:
    """Pass on to the other plugin; take away what was kept for attachments that are not valid."""
    from podway.plugins.flannel_calls import gc

    gc(call)


def status(call: Call) -> None:
    """See that the node has a subnet, and ask the other plugin."""
    from podway.plugins.flannel_calls import status

    status(call)


PLUGIN: "Final" = CniPlugin(
    name="flannel",
    about="attaches a container by another plugin, in the subnet that flannel gave the node",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
