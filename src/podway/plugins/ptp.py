"""The ``ptp`` plugin: a pair of devices between container and host, and routes on both ends.

In: ``ipMasq``, ``ipMasqBackend``, ``mtu``, and IPAM, which is required. Out: the container's
interface, whose gateway is the host's end (`ptp_plans`), and rules that masquerade what it sends to
the outside.
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
    """Attach the container to the host."""
    from podway.plugins.ptp_add import add

    return add(call)


def delete(call: Call) -> None:
    """Take away both devices, the rules, and give the addresses back."""
    from podway.plugins.ptp_removal import delete

    delete(call)


def check(call: Call) -> None:
    """See that both ends, their routes and the rules are as ADD made them."""
    from podway.plugins.ptp_check import check

    check(call)


def gc(call: Call) -> None:
    """Take away what belongs to attachments of this network that are not valid any more."""
    from podway.plugins.ptp_removal import gc

    gc(call)


def status(call: Call) -> None:
    """See that what the configuration asks for can be had, and that IPAM is well."""
    from podway.plugins.ptp_check import status

    status(call)


PLUGIN: "Final" = CniPlugin(
    name="ptp",
    about="a pair of devices between container and host, and routes on both ends",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
