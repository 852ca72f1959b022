"""The ``vrf`` plugin: puts a container's interface into a routing domain of its own.

In: ``vrfname``, ``table``; prevResult. Out: prevResult, and in the container a VRF device, of which
the interface is part.
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
    """Make the interface part of the VRF."""
    from podway.plugins.vrf_add import add

    return add(call)


def delete(call: Call) -> None:
    """Take the interface out of the VRF, and the VRF away with its last interface."""
    from podway.plugins.vrf_removal import delete

    delete(call)


def check(call: Call) -> None:
    """See that the interface is part of the VRF, with its addresses and routes."""
    from podway.plugins.vrf_check import check

    check(call)


def gc(call: Call) -> None:
    """Do nothing: all that ADD makes is in the container, and goes with it."""


def status(call: Call) -> None:
    """See that this kernel has VRF devices."""
    from podway.plugins.vrf_check import status

    status(call)


PLUGIN: "Final" = CniPlugin(
    name="vrf",
    about="puts a container's interface into a routing domain of its own",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
