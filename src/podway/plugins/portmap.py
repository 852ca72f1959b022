"""The ``portmap`` plugin: ports of the host that lead to a container.

In: a configuration (`portmap_conf`), the ports from the runtime (capability ``portMappings``), the
container's addresses from prevResult. Out: rules of netfilter by `portmap_iptables` or
`portmap_nftables`, ``route_localnet`` for connections to 127.0.0.1; prevResult, unchanged. A plugin
for the end of a list.

No program is started on a system whose iptables is of the nft kind, or by the nftables back end;
only conditions in the words of iptables or nft need theirs, once.
"""

from podway.plugins.skeleton import CniPlugin, OnDemand, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


PLUGIN: "Final" = CniPlugin(
    name="portmap",
    about="publishes ports of a container on the host",
    add=OnDemand("portmap_add.add"),
    delete=OnDemand("portmap_removal.delete"),
    check=OnDemand("portmap_check.check"),
    gc=OnDemand("portmap_removal.gc"),
    status=OnDemand("portmap_check.status"),
    opens_netns=False,
)
