"""ADD of ``bandwidth``: shapes the traffic of an attachment that another plugin has made.

In: a call with prevResult. Out: prevResult with the ifb device, if there is one.
"""

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.results import Interface
from podway.cni.values import replace
from podway.netlink.constants import IFF_UP, TC_H_INGRESS, TC_H_ROOT
from podway.netlink.links import change_link
from podway.netlink.socket import NetlinkSocket
from podway.netlink.traffic_control import delete_qdisc
from podway.plugins.bandwidth_conf import parse_conf
from podway.plugins.bandwidth_devices import find_host_end, make_ifb
from podway.plugins.bandwidth_plans import (
    DESTINATION,
    SOURCE,
    compute_shaper,
    ingress_request,
    redirection_request,
    shaper_requests,
)
from podway.plugins.interfaces import carry_out
from podway.plugins.lingering import LinkDeletion
from podway.plugins.previous import (
    find_interface,
    names_interfaces,
    required_previous_result,
)
from podway.plugins.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.results import Result
    from podway.netlink.link_messages import LinkMessage
    from podway.plugins.bandwidth_conf import BandwidthConf
    from podway.plugins.bandwidth_plans import Shaper
    from podway.plugins.skeleton import Call


def add(call: "Call") -> "Result":
    """Shape the traffic of the attachment; return prevResult with the ifb device.

    Raises:
        CniError: there is no pair of devices; nothing is left.
        NetlinkError: the kernel refuses, or somebody shapes that traffic already; nothing is left.
    """
    conf = parse_conf(call.config)
    result = required_previous_result(call.request)
    if not conf.limits:
        return result
    with NetlinkSocket() as host, Undo() as undo:
        outer = required_host_end(host, call, result)
        if conf.egress:
            ifb = _limit_egress(host, undo, call, conf, outer)
            result = replace(result, interfaces=(*result.interfaces, _told(ifb)))
        if conf.ingress:
            _put_shaper(host, undo, compute_shaper(conf.ingress, conf, SOURCE), outer["index"])
    return result


def required_host_end(host: NetlinkSocket, call: "Call", result: "Result") -> "LinkMessage":
    """Return the host's end of the attachment, which prevResult names.

    Raises:
        CniError: INVALID_CONFIG, the container's interface is no end of a pair, or the other end is
            none of prevResult's devices on the host (before 0.3.0 it names none).
    """
    ifname = call.request.ifname
    outer = find_host_end(host, call.namespace, ifname)
    if outer is None:
        raise CniError(
            INVALID_CONFIG,
            f"interface {ifname} in {call.request.netns} is no end of a veth pair of the host: "
            "bandwidth limits what plugins such as bridge and ptp attach",
        )
    is_named = find_interface(result, outer["ifname"], "") is not None
    if not is_named and names_interfaces(call.request):
        raise CniError(
            INVALID_CONFIG,
            f"prevResult does not name {outer['ifname']}, the host's end of {ifname}",
        )
    return outer


def _limit_egress(
    host: NetlinkSocket, undo: Undo, call: "Call", conf: "BandwidthConf", outer: "LinkMessage"
) -> "LinkMessage":
    """Lead what the container sends through an ifb device that shapes it; return that."""
    assert conf.egress  # the caller has looked
    ifb = make_ifb(host, call.request, outer)
    undo.push(_delete_link, ifb["index"])
    shaper = compute_shaper(conf.egress, conf, DESTINATION)
    carry_out(host, shaper_requests(shaper, ifb["index"]))
    host.request(change_link({"index": ifb["index"], "flags": IFF_UP, "change": IFF_UP}))
    host.request(ingress_request(outer["index"]))
    undo.push(host.request, delete_qdisc({"ifindex": outer["index"], "parent": TC_H_INGRESS}))
    host.request(redirection_request(outer["index"], ifb["index"]))
    return ifb


def _put_shaper(host: NetlinkSocket, undo: Undo, shaper: "Shaper", index: int) -> None:
    """Put a shaper on a device that has none."""
    qdisc, *others = shaper_requests(shaper, index)
    host.request(qdisc)
    undo.push(host.request, delete_qdisc({"ifindex": index, "parent": TC_H_ROOT}))
    carry_out(host, others)


def _delete_link(index: int) -> None:
    LinkDeletion(index).wait()


def _told(ifb: "LinkMessage") -> Interface:
    return Interface(name=ifb["ifname"], mac=ifb["address"], mtu=ifb["mtu"])
