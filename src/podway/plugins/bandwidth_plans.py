"""How traffic is shaped: queueing disciplines, classes and filters as values.

In: limits. Out: netlink messages without a device. Pure. What the host sends into the pair of
devices the container receives, so that limit stands on the host's end. What the container sends
arrives there, where nothing can wait; so it is led through an ifb device, where it can::

    host ── tbf ──> host's end ──────────> container        ingressRate
    host <── ifb: tbf <── ffff: <── host's end <── container    egressRate

With subnets the tbf is an htb with two classes, 1:30 with the limit and 1:1 without, to which
filters lead by the address of the other end of the connection. Handles, classes, priorities and
numbers are those of the reference plugin.
"""

from podway.cni.addresses import first_address
from podway.cni.values import Value
from podway.netlink.constants import (
    ETH_P_ALL,
    ETH_P_IP,
    ETH_P_IPV6,
    TC_H_INGRESS,
    TC_H_ROOT,
    TC_HTB_PROTOVER,
    TC_U32_TERMINAL,
)
from podway.netlink.traffic_control import create_class, create_qdisc, make_handle
from podway.netlink.traffic_filters import create_filter, filter_info, redirect_action
from podway.netlink.traffic_rates import burst_ticks, htb_class_options, tbf_options
from podway.plugins.bandwidth_conf import BandwidthConf, Limit, Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from podway.netlink.messages import Request
    from podway.netlink.traffic_control import TrafficMessage

ROOT: "Final" = make_handle(1)
INGRESS: "Final" = make_handle(0xFFFF)
SHAPED: "Final" = make_handle(1, 0x30)
UNSHAPED: "Final" = make_handle(1, 1)
# How long what exceeds the burst may wait.
LATENCY_US: "Final" = 25_000
_UNSHAPED_BYTES_PS: "Final" = 100_000_000_000
# A millisecond of it, so that nothing waits for the class without a limit.
_UNSHAPED_BURST_BYTES: "Final" = _UNSHAPED_BYTES_PS // 1000
_RATE_TO_QUANTUM: "Final" = 10
# Where the addresses stand, in bytes from the network header: RFC 791, RFC 8200. One priority holds
# filters of one protocol.
SOURCE: "Final" = {4: 12, 16: 8}
DESTINATION: "Final" = {4: 16, 16: 24}
_PROTOCOL: "Final" = {4: ETH_P_IP, 16: ETH_P_IPV6}
_PRIORITY: "Final" = {4: 16, 16: 15}
_WORD_BYTES: "Final" = 4
REDIRECTION: "Final" = filter_info(1, ETH_P_ALL)


class Shaper(Value):
    """What limits the traffic out of one device; messages without ``ifindex``.

    Attributes:
        qdisc: at the root.
        classes: of it.
        filters: in which class a packet is counted; the others are in the default one.
    """

    qdisc: "TrafficMessage"
    classes: "tuple[TrafficMessage, ...]" = ()
    filters: "tuple[TrafficMessage, ...]" = ()


def compute_shaper(limit: Limit, conf: BandwidthConf, address: dict[int, int]) -> Shaper:
    """Return what holds traffic to *limit*.

    Args:
        limit: of this direction.
        conf: which traffic is meant.
        address: where in a packet the other end's address stands: `SOURCE` or `DESTINATION`.
    """
    if conf.subnets:
        return compute_classes(limit, conf, address)
    options = tbf_options(limit.rate_bytes_ps, limit.burst_bytes, LATENCY_US)
    return Shaper(
        qdisc={"handle": ROOT, "parent": TC_H_ROOT, "kind": "tbf", "options": options},
    )


def compute_classes(limit: Limit, conf: BandwidthConf, address: dict[int, int]) -> Shaper:
    """Return the same by classes, which the reference plugin uses always since its version 1.6."""
    listed, others = (SHAPED, UNSHAPED) if conf.shapes_subnets else (UNSHAPED, SHAPED)
    init = {
        "version": TC_HTB_PROTOVER,
        "rate2quantum": _RATE_TO_QUANTUM,
        "defcls": others & 0xFFFF,
    }
    ticks = burst_ticks(limit.rate_bytes_ps, limit.burst_bytes)
    free, free_ticks = _UNSHAPED_BYTES_PS, burst_ticks(_UNSHAPED_BYTES_PS, _UNSHAPED_BURST_BYTES)
    return Shaper(
        qdisc={"handle": ROOT, "parent": TC_H_ROOT, "kind": "htb", "options": {"init": init}},
        classes=(
            _class(SHAPED, htb_class_options(limit.rate_bytes_ps, 2 * limit.rate_bytes_ps, ticks)),
            _class(UNSHAPED, htb_class_options(free, free, free_ticks)),
        ),
        filters=tuple(_compute_filter(each, address, listed) for each in conf.subnets),
    )


def _class(handle: int, options: dict[str, object]) -> "TrafficMessage":
    return {"handle": handle, "parent": ROOT, "kind": "htb", "options": options}


def _compute_filter(subnet: Subnet, address: dict[int, int], target: int) -> "TrafficMessage":
    """Return what counts packets of *subnet* in class *target*."""
    size = len(subnet.packed)
    mask = first_address(b"\xff" * size, subnet.bits)  # ones, and no host bits
    keys = [
        {
            "mask": int.from_bytes(mask[start : start + _WORD_BYTES], "big"),
            "val": int.from_bytes(subnet.packed[start : start + _WORD_BYTES], "big"),
            "off": address[size] + start,
        }
        for start in range(0, size, _WORD_BYTES)
        if any(mask[start : start + _WORD_BYTES])
    ]
    return {
        "parent": ROOT,
        "info": filter_info(_PRIORITY[size], _PROTOCOL[size]),
        "kind": "u32",
        "options": {"classid": target, "sel": _selector(keys)},
    }


def _selector(keys: "list[dict[str, int]]") -> "dict[str, Any]":
    """Return a match of all *keys*; without any, of whatever there is."""
    return {"flags": TC_U32_TERMINAL, "keys": keys or [{"mask": 0, "val": 0, "off": 0}]}


def compute_redirection(ifb_index: int) -> "TrafficMessage":
    """Return the filter that sends all that comes in out of another device."""
    return {
        "parent": INGRESS,
        "info": REDIRECTION,
        "kind": "u32",
        "options": {
            "classid": UNSHAPED,
            "sel": _selector([]),
            "act": [redirect_action(ifb_index)],
        },
    }


def ingress_request(index: int) -> "Request[TrafficMessage]":
    """Return the request for the place where filters of what comes in are."""
    return create_qdisc(
        {"ifindex": index, "handle": INGRESS, "parent": TC_H_INGRESS, "kind": "ingress"}
    )


def redirection_request(index: int, ifb_index: int) -> "Request[TrafficMessage]":
    """Return the request for the filter of `compute_redirection`."""
    return create_filter({**compute_redirection(ifb_index), "ifindex": index})


def shaper_requests(shaper: Shaper, index: int) -> "list[Request[TrafficMessage]]":
    """Return the requests that put *shaper* on a device; the first is the qdisc's."""
    return [
        create_qdisc({**shaper.qdisc, "ifindex": index}),
        *(create_class({**each, "ifindex": index}) for each in shaper.classes),
        *(create_filter({**each, "ifindex": index}) for each in shaper.filters),
    ]
