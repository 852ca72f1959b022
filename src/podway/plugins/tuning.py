"""The ``tuning`` plugin: kernel parameters and properties of an interface that is there already.

In: ``sysctl``, ``mac``, ``mtu``, ``promisc``, ``allmulti``, ``txQLen``, ``dataDir``, also by
``runtimeConfig.mac``, ``args.cni`` and CNI_ARGS; prevResult. Out: prevResult, with the new MAC
address and size. What the interface was before stands in a file (`tuning_backups`), for DEL.
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
    """Set parameters and properties."""
    from podway.plugins.tuning_add import add

    return add(call)


def delete(call: Call) -> None:
    """Give the interface back its properties."""
    from podway.plugins.tuning_removal import delete

    delete(call)


def check(call: Call) -> None:
    """See that parameters and properties are as configured."""
    from podway.plugins.tuning_check import check

    check(call)


def gc(call: Call) -> None:
    """Remove the files of attachments that are not valid any more."""
    from podway.plugins.tuning_removal import gc

    gc(call)


def status(call: Call) -> None:
    """See that the configuration is one that ADD would take."""
    from podway.plugins.tuning_conf import parse_conf
    from podway.plugins.tuning_sysctls import check_allowed

    check_allowed(parse_conf(call.request).sysctls)


PLUGIN: "Final" = CniPlugin(
    name="tuning",
    about="kernel parameters and properties of an interface that is there already",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
