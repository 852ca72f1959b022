"""The ``firewall`` plugin: a container may send and be answered, whatever the host forwards else.

In: a configuration (`firewall_conf`), the container's addresses from prevResult. Out: rules by
`firewall_iptables` or `firewall_nftables`, or sources in a zone of firewalld
(`firewall_firewalld`); prevResult, unchanged. With ``ingressPolicy`` also rules that keep bridges,
or the containers of one, from each other.

The reference plugin's rules bear nobody's name, but for an address. Whose that is stands in a file
(`firewall_records`), by which GC and a DEL without prevResult find them, and by which a late DEL
leaves alone what the address's next owner has.
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
    """Let the container's traffic pass."""
    from podway.plugins.firewall_add import add

    return add(call)


def delete(call: Call) -> None:
    """Take back what ADD made."""
    from podway.plugins.firewall_removal import delete

    delete(call)


def check(call: Call) -> None:
    """See that what ADD made is there."""
    from podway.plugins.firewall_check import check

    check(call)


def gc(call: Call) -> None:
    """Take back what attachments of this network have that are not valid any more."""
    from podway.plugins.firewall_removal import gc

    gc(call)


def status(call: Call) -> None:
    """See that an ADD would find what it needs."""
    from podway.plugins.firewall_check import status

    status(call)


PLUGIN: "Final" = CniPlugin(
    name="firewall",
    about="lets a container's traffic pass the host's firewall",
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
    opens_netns=False,
)
