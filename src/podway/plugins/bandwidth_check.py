"""CHECK and STATUS of ``bandwidth``: is traffic shaped as configured, could it be?

In: a call. Out: nothing, or what is missing or differs. An attachment that the reference plugin
made passes, too: since its version 1.6 it has classes where no subnets are given, and looks for
subnets at the destination of what the container receives.
"""

from errno import ENOENT

from podway.cni.errors import CHECK_FAILED, UNAVAILABLE, CniError
from podway.netlink.constants import IFF_UP, TC_H_INGRESS, TC_H_ROOT
from podway.netlink.errors import NetlinkError
from podway.netlink.socket import NetlinkSocket
from podway.netlink.traffic_control import create_qdisc, dump_classes, get_qdisc
from podway.netlink.traffic_filters import dump_filters
from podway.plugins.availability import check_device_kind
from podway.plugins.bandwidth_add import required_host_end
from podway.plugins.bandwidth_conf import parse_conf
from podway.plugins.bandwidth_devices import KIND, find_ifbs
from podway.plugins.bandwidth_plans import (
    DESTINATION,
    INGRESS,
    ROOT,
    SOURCE,
    Shaper,
    compute_classes,
    compute_redirection,
    compute_shaper,
)
from podway.plugins.previous import find_interface, required_previous_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from podway.cni.results import Result
    from podway.netlink.link_messages import LinkMessage
    from podway.netlink.traffic_control import TrafficMessage
    from podway.plugins.bandwidth_conf import BandwidthConf, Limit
    from podway.plugins.skeleton import Call

_GROUP_MAC: "Final" = "01:00:00:00:00:00"
_LO: "Final" = 1


def check(call: "Call") -> None:
    """See that what the container sends and receives is limited as configured.

    Raises:
        CniError: CHECK_FAILED, something is missing or differs.
    """
    conf = parse_conf(call.config)
    result = required_previous_result(call.request)
    if not conf.limits:
        return
    with NetlinkSocket() as host:
        outer = required_host_end(host, call, result)
        if conf.egress:
            ifb = _check_ifb(host, call, result, outer)
            _check_redirection(host, outer, ifb)
            _check_shaper(host, ifb, _possible(conf.egress, conf, DESTINATION))
        if conf.ingress:
            _check_shaper(host, outer, _possible(conf.ingress, conf, SOURCE))


def _possible(limit: "Limit", conf: "BandwidthConf", address: dict[int, int]) -> list[Shaper]:
    """Return what ADD may have made, the reference plugin's ADD too."""
    return [compute_shaper(limit, conf, address), compute_classes(limit, conf, DESTINATION)]


def _check_ifb(
    host: NetlinkSocket, call: "Call", result: "Result", outer: "LinkMessage"
) -> "LinkMessage":
    """See that the ifb device is there and up, and takes packets of the host's end; return it."""
    found = find_ifbs(host, call)
    if not found:
        raise CniError(CHECK_FAILED, f"the ifb device that limits {outer['ifname']} is missing")
    ifb = found[0]
    position = find_interface(result, ifb["ifname"], "")
    told = result.interfaces[position].mac.lower() if position is not None else ""
    if told and told != ifb["address"]:
        text = f"device {ifb['ifname']} has MAC address {ifb['address']}, must be {told}"
        raise CniError(CHECK_FAILED, text)
    if not ifb["flags"] & IFF_UP:
        raise CniError(CHECK_FAILED, f"device {ifb['ifname']} is down")
    if ifb["mtu"] < outer["mtu"]:
        text = f"device {ifb['ifname']} has mtu {ifb['mtu']}, must be {outer['mtu']}"
        raise CniError(CHECK_FAILED, text)
    return ifb


def _check_redirection(host: NetlinkSocket, outer: "LinkMessage", ifb: "LinkMessage") -> None:
    """See that what arrives at the host's end goes to the ifb device."""
    name, index = outer["ifname"], outer["index"]
    qdisc = _read_qdisc(host, index, TC_H_INGRESS)
    if qdisc is None or qdisc.get("kind") != "ingress":
        raise CniError(CHECK_FAILED, f"qdisc ingress is missing on {name}")
    wanted = compute_redirection(ifb["index"])
    filters = host.dump(dump_filters(index, INGRESS))
    if not filters or not _holds(filters[0], wanted):
        text = f"the filter that leads from {name} to {ifb['ifname']} is missing or not the first"
        raise CniError(CHECK_FAILED, text)


def _check_shaper(host: NetlinkSocket, link: "LinkMessage", possible: list[Shaper]) -> None:
    """See that a device has one of *possible*; complain of the difference to the first."""
    found = _read_shaper(host, link["index"])
    differences = [_difference(found, shaper) for shaper in possible]
    if all(differences):
        raise CniError(CHECK_FAILED, f"{differences[0]} on {link['ifname']}")


def _read_shaper(host: NetlinkSocket, index: int) -> Shaper:
    qdisc = _read_qdisc(host, index, TC_H_ROOT) or {}
    if qdisc.get("kind") != "htb":
        return Shaper(qdisc=qdisc)
    return Shaper(
        qdisc=qdisc,
        classes=tuple(sorted(host.dump(dump_classes(index)), key=lambda each: -each["handle"])),
        filters=tuple(host.dump(dump_filters(index, ROOT))),
    )


def _read_qdisc(host: NetlinkSocket, index: int, parent: int) -> "TrafficMessage | None":
    try:
        return host.request(get_qdisc({"ifindex": index, "parent": parent}))
    except NetlinkError as error:
        if error.is_not_found:
            return None
        raise


def _difference(found: Shaper, wanted: Shaper) -> str:
    """Return in which part *found* is not *wanted*, "" if it is."""
    kind = wanted.qdisc["kind"]
    if not _holds(_without_version(found.qdisc), _without_version(wanted.qdisc)):
        return f"qdisc {kind} 1: is missing or has other parameters"
    if not _hold_all(found.classes, tuple(_comparable(each) for each in wanted.classes)):
        return f"the classes of qdisc {kind} 1: are missing or have other rates"
    order = sorted(wanted.filters, key=lambda each: each["info"] >> 16)
    if not _hold_all(found.filters, tuple(order)):
        return f"the filters of qdisc {kind} 1: are missing or lead elsewhere"
    return ""


def _without_version(qdisc: "TrafficMessage") -> "TrafficMessage":
    """Return an htb without its version, which the kernel tells in more detail than it is asked."""
    options = qdisc.get("options")
    if not isinstance(options, dict) or "init" not in options:
        return qdisc
    init = {key: value for key, value in options["init"].items() if key != "version"}
    return {**qdisc, "options": {**options, "init": init}}


def _comparable(tclass: "TrafficMessage") -> "TrafficMessage":
    """Return what CHECK compares of a class: its rate and burst.

    The kernel calls the parent of such a class root; the class without a limit may have any burst.
    """
    parms = tclass["options"]["parms"]
    told = ("rate", "buffer") if "rate64" not in tclass["options"] else ("rate",)
    options = {**tclass["options"], "parms": {key: parms[key] for key in told}}
    return {"handle": tclass["handle"], "kind": tclass["kind"], "options": options}


def _hold_all(found: "tuple[TrafficMessage, ...]", wanted: "tuple[TrafficMessage, ...]") -> bool:
    return len(found) == len(wanted) and all(map(_holds, found, wanted))


def _holds(found: "Any", wanted: "Any") -> bool:
    """Tell whether *found* has all that *wanted* has; the kernel tells more than it was told.

    Of a list it is the beginning that counts: the reference plugin's filter has the action twice.
    """
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            _holds(found.get(key), value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return len(found or ()) >= len(wanted) and all(map(_holds, found, wanted))
    return bool(found == wanted)


def status(call: "Call") -> None:
    """See that the kernel has what the configuration asks for.

    Raises:
        CniError: INVALID_CONFIG; or UNAVAILABLE, it has not.
    """
    conf = parse_conf(call.config)
    if not conf.limits:
        return
    kind = compute_shaper(conf.limits[0], conf, SOURCE).qdisc["kind"]
    # It cannot be made: it has no parameters.
    qdisc = create_qdisc({"ifindex": _LO, "handle": ROOT, "parent": TC_H_ROOT, "kind": kind})
    with NetlinkSocket() as host:
        (error,) = host.batch([qdisc])
    if error and error.errno == ENOENT:
        raise CniError(UNAVAILABLE, f"this kernel has no qdisc {kind}: load its module")
    if conf.egress:
        check_device_kind(KIND)
