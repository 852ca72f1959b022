"""The ``dummy`` plugin: an interface that leads nowhere, to hold addresses.

In: nothing but IPAM, which is required. Out: one interface in the container. What a process binds
to such an address is reached through the container's other interfaces.
"""

from podway.netlink.socket import NetlinkSocket
from podway.plugins.availability import check_device_kind
from podway.plugins.container_links import make_link
from podway.plugins.delegation import pass_to_ipam
from podway.plugins.single_interface import (
    Shape,
    add_interface,
    check_shape,
    delete_interface,
    required_ipam,
)
from podway.plugins.skeleton import Call, CniPlugin, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

    from podway.cni.results import Result
    from podway.netlink.link_messages import LinkMessage

KIND: "Final" = "dummy"
SHAPE: "Final" = Shape(kind=KIND, data={}, mtu_bytes=0)


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


def add(call: Call) -> "Result":
    """Make the interface and give it the addresses of IPAM, whose ``dns`` stays."""
    required_ipam(call)

    def make() -> "LinkMessage":
        with NetlinkSocket(netns_fd=call.namespace) as inside:
            return make_link(call, inside, {"linkinfo": {"kind": KIND}})

    return add_interface(call, SHAPE, make, dns=None)


def delete(call: Call) -> None:
    """Remove the interface and give its addresses back."""
    delete_interface(call, KIND)


def check(call: Call) -> None:
    """See that the interface is as ADD made it."""
    required_ipam(call)
    check_shape(call, SHAPE)


def status(call: Call) -> None:
    """See that the kernel has such devices, and that IPAM is well."""
    required_ipam(call)
    check_device_kind(KIND)
    pass_to_ipam(call)


PLUGIN: "Final" = CniPlugin(
    name="dummy",
    about="an interface that leads nowhere, to hold addresses",
    add=add,
    delete=delete,
    check=check,
    gc=pass_to_ipam,
    status=status,
)
