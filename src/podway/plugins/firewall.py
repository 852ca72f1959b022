"""The ``firewall`` plugin: a container may send and be answered, whatever the host forwards else.

In: a configuration (`firewall_conf`), the container's addresses from prevResult. Out: rules by
`firewall_iptables` or `firewall_nftables`, or sources in a zone of firewalld
(`firewall_firewalld`); prevResult, unchanged. With ``ingressPolicy`` also rules that keep bridges,
or the containers of one, from each other.

The reference plugin's rules bear nobody's name, but for an address. Whose that is stands in a file
(`firewall_records`), by which GC and a DEL without prevResult find them, and by which a late DEL
leaves alone what the address's next owner has.
"""

from podway.plugins.skeleton import CniPlugin, OnDemand, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


PLUGIN: "Final" = CniPlugin(
    name="firewall",
    about="lets a container's traffic pass the host's firewall",
    add=OnDemand("firewall_add.add"),
    delete=OnDemand("firewall_removal.delete"),
    check=OnDemand("firewall_check.check"),
    gc=OnDemand("firewall_removal.gc"),
    status=OnDemand("firewall_check.status"),
    opens_netns=False,
)
