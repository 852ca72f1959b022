"""The ``sbr`` plugin: what a container sends from an address goes by that address' own routes.

In: ``table``, ``gateways``, ``addSourceHints``; prevResult. Out: prevResult, and in the container
rules and tables (`sbr_plans`).
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
    """Give each address of the interface its own routes."""
    from podway.plugins.sbr_add import add

    return add(call)


def delete(call: Call) -> None:
    """Take away the rules and tables of the interface's addresses."""
    from podway.plugins.sbr_removal import delete

    delete(call)


def check(call: Call) -> None:
    """See that rules and routes are as ADD made them."""
    from podway.plugins.sbr_check import check

    check(call)


def gc(call: Call) -> None:
    """Do nothing: all that ADD makes is in the container, and goes with it."""


def status(call: Call) -> None:
    """See that the configuration is one that ADD would take."""
    from podway.plugins.sbr_conf import parse_conf

    parse_conf(call.config)


PLUGIN: "Final" = CniPlugin(
    name="sbr",
    about="what a container sends from an address goes by that address' own routes",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
