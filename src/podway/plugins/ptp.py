"""The ``ptp`` plugin: a pair of devices between container and host, and routes on both ends.

In: ``ipMasq``, ``ipMasqBackend``, ``mtu``, and IPAM, which is required. Out: the container's
interface, whose gateway is the host's end (`ptp_plans`), and rules that masquerade what it sends to
the outside.
"""

from podway.plugins.skeleton import CniPlugin, OnDemand, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


PLUGIN: "Final" = CniPlugin(
    name="ptp",
    about="a pair of devices between container and host, and routes on both ends",
    add=OnDemand("ptp_add.add"),
    delete=OnDemand("ptp_removal.delete"),
    check=OnDemand("ptp_check.check"),
    gc=OnDemand("ptp_removal.gc"),
    status=OnDemand("ptp_check.status"),
)
