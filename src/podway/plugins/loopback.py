"""The ``loopback`` plugin: brings the container's ``lo`` up.

In: a namespace; CNI_IFNAME does not matter. Out: ``lo`` with the addresses that the kernel gives
it. Runtimes call it beside the main plugin, with a configuration of their own (containerd: version
0.3.1, no prevResult).
"""

from podway.cni.errors import CHECK_FAILED, CniError
from podway.cni.results import Interface, Ip, Result
from podway.netlink.addresses import dump_addresses
from podway.netlink.constants import IFF_UP
from podway.netlink.links import change_link, get_link
from podway.netlink.socket import NetlinkSocket
from podway.netlink.text import format_prefix
from podway.plugins.previous import previous_result
from podway.plugins.skeleton import Call, CniPlugin, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

    from podway.netlink.addresses import AddressMessage

# LOOPBACK_IFINDEX, include/net/flow.h.
LO_INDEX: "Final" = 1


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def add(call: Call) -> Result:
    """Bring lo up; return its addresses, or prevResult if there is one."""
    previous = previous_result(call.request)
    with NetlinkSocket(netns_fd=call.namespace) as netlink:
        netlink.request(change_link({"index": LO_INDEX, "flags": IFF_UP, "change": IFF_UP}))
        if previous is not None:
            return previous
        addresses = netlink.dump(dump_addresses(index=LO_INDEX))
    interface = Interface(name="lo", mac="00:00:00:00:00:00", sandbox=call.request.netns)
    return Result(interfaces=(interface,), ips=tuple(_ip(each) for each in addresses))


def delete(call: Call) -> None:
    """Take lo down, if the namespace is still there."""
    if call.netns is None:
        return
    with NetlinkSocket(netns_fd=call.netns) as netlink:
        netlink.request(change_link({"index": LO_INDEX, "flags": 0, "change": IFF_UP}))


def check(call: Call) -> None:
    """See that lo is up."""
    with NetlinkSocket(netns_fd=call.namespace) as netlink:
        link = netlink.request(get_link({"index": LO_INDEX}))
    if link is None or not link["flags"] & IFF_UP:
        raise CniError(CHECK_FAILED, f"lo is down in {call.request.netns}")


def keep_nothing(call: Call) -> None:
    """Do nothing: the plugin keeps no state, and an ADD needs nothing that could be missing."""
    del call


def _ip(address: "AddressMessage") -> Ip:
    packed = address.get("local", address["address"])
    return Ip(address=format_prefix(packed, address["prefixlen"]), interface=0)


PLUGIN: "Final" = CniPlugin(
    name="loopback",
    about="brings the container's lo up",
    add=add,
    delete=delete,
    check=check,
    gc=keep_nothing,
    status=keep_nothing,
)
