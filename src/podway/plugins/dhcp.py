"""The ``dhcp`` plugin: leases from DHCP servers, kept by a daemon.

In: a configuration (`podway.cni.dhcp_conf`). Out: an address and routes, as a server on the
container's link gives them. The executable asks the daemon (`podway.dhcp`), which renews the lease
for as long as the container lives; ``dhcp daemon`` is that daemon, as with the reference plugin.
"""

from sys import argv

from podway.plugins.skeleton import CniPlugin, OnDemand, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process; or be the daemon."""
    if argv[1:2] == ["daemon"]:
        from podway.plugins.dhcp_daemon import run_daemon  # noqa: PLC0415 - calls do without

        run_daemon(argv[2:])
    run_plugin(PLUGIN)


PLUGIN: "Final" = CniPlugin(
    name="dhcp",
    about="gives addresses that DHCP servers lease, kept by its daemon",
    add=OnDemand("dhcp_calls.add"),
    delete=OnDemand("dhcp_calls.ask"),
    check=OnDemand("dhcp_calls.ask"),
    gc=OnDemand("dhcp_calls.ask"),
    status=OnDemand("dhcp_calls.ask"),
)
