"""Forwarding of a node's namespace: switched on where it is off.

In: a netlink socket, addresses. Called by ADD of main plugins whose containers are routed. Read by
netlink, because the parameter's path takes 0.6 ms on a machine with 1,000 namespaces: the kernel
looks at those of all others on the way (proc_sys_compare).
"""

from podway.netlink.constants import AF_INET, AF_INET6
from podway.netlink.errors import NetlinkError
from podway.netlink.netconf import get_netconf
from podway.plugins.sysctls import FORWARDING, write_sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from podway.netlink.socket import NetlinkSocket

# NETCONFA_IFINDEX_ALL, include/uapi/linux/netconf.h.
_ALL: "Final" = -1


def enable_forwarding(netlink: "NetlinkSocket", cidrs: "Iterable[str]") -> None:
    """Let a namespace forward packets of the families of *cidrs*.

    Args:
        netlink: a socket of the namespace that the calling thread is in.
        cidrs: addresses.

    Raises:
        OSError: the kernel does not take it.
    """
    for is_ipv6 in {":" in cidr for cidr in cidrs}:
        if not _is_on(netlink, AF_INET6 if is_ipv6 else AF_INET):
            write_sysctl(FORWARDING[is_ipv6], "1")


def _is_on(netlink: "NetlinkSocket", family: int) -> bool:
    """Tell whether it is on; a kernel that does not say has it written again."""
    try:
        answer = netlink.request(get_netconf(family, _ALL))
    except NetlinkError:
        return False
    return answer is not None and answer.get("forwarding") == 1
