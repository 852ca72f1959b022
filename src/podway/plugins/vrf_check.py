"""CHECK and STATUS of ``vrf``: is the interface part of the VRF, could one be?

In: a call. Out: nothing, or what is missing or differs.
"""

from podway.cni.errors import CHECK_FAILED, CniError
from podway.netlink.constants import IFF_UP
from podway.netlink.socket import NetlinkSocket
from podway.plugins.availability import check_device_kind
from podway.plugins.interface_checks import check_interface
from podway.plugins.interfaces import compute_interface_plan, required_link
from podway.plugins.previous import find_interface, required_previous_result
from podway.plugins.vrf_conf import KIND, check_vrf, parse_conf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.plugins.skeleton import Call


def check(call: "Call") -> None:
    """See that the interface is part of the VRF, and has its addresses and routes.

    Raises:
        CniError: CHECK_FAILED, something is missing or differs.
    """
    conf, ifname = parse_conf(call.request), call.request.ifname
    result = required_previous_result(call.request)
    with NetlinkSocket(netns_fd=call.namespace) as inside:
        vrf = required_link(inside, conf.name, call.request.netns)
        link = required_link(inside, ifname, call.request.netns)
        check_vrf(vrf, conf, CHECK_FAILED)
        if link.get("master") != vrf["index"]:
            raise CniError(CHECK_FAILED, f"interface {ifname} is not part of VRF {conf.name}")
        if not vrf["flags"] & IFF_UP:
            raise CniError(CHECK_FAILED, f"VRF {conf.name} is down")
        position = find_interface(result, ifname, call.request.netns)
        if position is not None:
            check_interface(inside, link, compute_interface_plan(result, position))


def status(call: "Call") -> None:
    """See that this kernel has VRF devices.

    Raises:
        CniError: INVALID_CONFIG; or UNAVAILABLE, it has none.
    """
    parse_conf(call.request)
    check_device_kind(KIND)
