"""The ``dhcp`` plugin: leases from DHCP servers, kept by a daemon.

In: a configuration (`podway.cni.dhcp_conf`). Out: an address and routes, as a server on the
container's link gives them. The executable asks the daemon (`podway.dhcp`), which renews the lease
for as long as the container lives; ``dhcp daemon`` is that daemon, as with the reference plugin.
"""

from sys import argv

from podway.plugins.skeleton import Call, CniPlugin, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

    from podway.cni.results import Result


def main() -> "NoReturn":
    """Answer one CNI call and end the process; or be the daemon."""
    if argv[1:2] == ["daemon"]:
        from podway.plugins.dhcp_daemon import run_daemon

        run_daemon(argv[2:])
    run_plugin(PLUGIN)


# Each command loads what it needs, and no more.
# ruff: noqa: PLC0415


def add(call: Call) -> "Result":
    """Get a lease."""
    from podway.plugins.dhcp_calls import add

    return add(call)


def delete(call: Call) -> None:
    """Give the lease back."""
    from podway.plugins.dhcp_calls import ask

    ask(call)


def check(call: Call) -> None:
    """See that the lease is still held."""
    from podway.plugins.dhcp_calls import ask

    ask(call)


def gc(call: Call) -> None:
    """Give back the leases of attachments that are not valid any more."""
    from podway.plugins.dhcp_calls import ask

    ask(call)


def status(call: Call) -> None:
    """See that the daemon answers."""
    from podway.plugins.dhcp_calls import ask

    ask(call)


PLUGIN: "Final" = CniPlugin(
    name="dhcp",
    about="gives addresses that DHCP servers lease, kept by its daemon",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
)
