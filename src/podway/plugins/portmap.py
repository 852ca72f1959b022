"""The ``portmap`` plugin: ports of the host that lead to a container.

In: a configuration (`portmap_conf`), the ports from the runtime (capability ``portMappings``), the
container's addresses from prevResult. Out: rules of netfilter by `portmap_iptables` or
`portmap_nftables`, ``route_localnet`` for connections to 127.0.0.1; prevResult, unchanged. A plugin
for the end of a list.

No program is started on a system whose iptables is of the nft kind, or by the nftables back end;
only conditions in the words of iptables or nft need theirs, once.
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
    """Publish the container's ports."""
    from podway.plugins.portmap_add import add

    return add(call)


def delete(call: Call) -> None:
    """Take the container's ports back."""
    from podway.plugins.portmap_removal import delete

    delete(call)


def check(call: Call) -> None:
    """See that what ADD made is there."""
    from podway.plugins.portmap_check import check

    check(call)


def gc(call: Call) -> None:
    """Take back the ports of attachments of this network that are not valid any more."""
    from podway.plugins.portmap_removal import gc

    gc(call)


def status(call: Call) -> None:
    """See that an ADD would find what it needs."""
    from podway.plugins.portmap_check import status

    status(call)


PLUGIN: "Final" = CniPlugin(
    name="portmap",
    about="publishes ports of a container on the host",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
    opens_netns=False,
)
