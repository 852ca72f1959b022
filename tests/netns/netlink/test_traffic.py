"""Queueing disciplines, classes and filters: written, and as `tc` sees them."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from netns.conftest import Netns
from netns.netlink.conftest import IndexOf
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    create_class,
    create_filter,
    create_qdisc,
    delete_class,
    delete_filter,
    delete_qdisc,
    dump_classes,
    dump_filters,
    dump_qdiscs,
    entered,
    get_qdisc,
    replace_qdisc,
)
from podway.netlink.constants import (
    ETH_P_ALL,
    ETH_P_IP,
    TC_H_CLSACT,
    TC_H_INGRESS,
    TC_H_MIN_EGRESS,
    TC_H_ROOT,
    TC_HTB_PROTOVER,
    TC_U32_TERMINAL,
)
from podway.netlink.traffic_control import make_handle
from podway.netlink.traffic_filters import filter_info, redirect_action, split_filter_info
from podway.netlink.traffic_rates import burst_ticks, htb_class_options, tbf_options

if TYPE_CHECKING:
    from podway.netlink.traffic_control import TrafficMessage

ROOT = make_handle(1)
INGRESS = make_handle(0xFFFF)
LATENCY_US = 25_000


def tc(netns: Netns, *words: str) -> list[dict[str, Any]]:
    """Return what `tc` lists, without what only the kernel needs."""
    listed: list[dict[str, Any]] = json.loads(netns.exec("tc", "-j", "-s", "-d", *words))
    return [each for each in listed if each.get("kind") != "noqueue"]


@pytest.fixture
def tbf(netlink: NetlinkSocket, veth: int) -> int:
    """Return the index of a device that sends 8 Mbit/s, 80 kbit of it at once."""
    options = tbf_options(1_000_000, 10_000, LATENCY_US)
    netlink.request(
        create_qdisc(
            {
                "ifindex": veth,
                "handle": ROOT,
                "parent": TC_H_ROOT,
                "kind": "tbf",
                "options": options,
            }
        )
    )
    return veth


def test_a_token_bucket(netlink: NetlinkSocket, netns: Netns, tbf: int) -> None:
    (shown,) = tc(netns, "qdisc", "show", "dev", "v0")
    assert (shown["kind"], shown["handle"], shown["root"]) == ("tbf", "1:", True)
    assert shown["options"]["rate"] == 1_000_000
    assert shown["options"]["burst"].startswith("10000b")
    assert shown["options"]["lat"] == LATENCY_US
    (read,) = netlink.dump(dump_qdiscs(tbf))
    assert read == netlink.request(get_qdisc({"ifindex": tbf, "parent": TC_H_ROOT}))
    parms = read["options"]["parms"]
    assert (parms["rate"], parms["buffer"], parms["limit"]) == (1_000_000, 156_250, 35_000)


def test_what_went_through_is_counted(netlink: NetlinkSocket, netns: Netns, tbf: int) -> None:
    netns.exec("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    netns.ip("addr", "add", "192.0.2.1/24", "dev", "v0")
    neighbour = ("192.0.2.2", "lladdr", "02:00:00:00:00:02", "dev", "v0")
    netns.ip("neigh", "add", *neighbour)
    before = netlink.request(get_qdisc({"ifindex": tbf, "parent": TC_H_ROOT}))
    with entered(netns.fd):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for _ in range(3):
            sender.sendto(bytes(1000), ("192.0.2.2", 9))
    after = netlink.request(get_qdisc({"ifindex": tbf, "parent": TC_H_ROOT}))
    assert before is not None
    assert after is not None
    sent = after["stats2"]["basic"]["packets"] - before["stats2"]["basic"]["packets"]
    assert sent == 3
    (shown,) = tc(netns, "qdisc", "show", "dev", "v0")
    assert shown["packets"] == after["stats2"]["basic"]["packets"]
    assert shown["bytes"] == after["stats2"]["basic"]["bytes"]
    assert shown["drops"] == after["stats2"]["queue"]["drops"]


def test_a_rate_above_32_bits(netlink: NetlinkSocket, netns: Netns, veth: int) -> None:
    options = tbf_options(10**10, 10**7, LATENCY_US)
    qdisc: TrafficMessage = {"ifindex": veth, "handle": ROOT, "parent": TC_H_ROOT, "kind": "tbf"}
    netlink.request(create_qdisc({**qdisc, "options": options}))
    (shown,) = tc(netns, "qdisc", "show", "dev", "v0")
    assert shown["options"]["rate"] == 10**10


def test_add_replace_delete(netlink: NetlinkSocket, netns: Netns, tbf: int) -> None:
    qdisc: TrafficMessage = {"ifindex": tbf, "handle": ROOT, "parent": TC_H_ROOT, "kind": "tbf"}
    other: TrafficMessage = {**qdisc, "options": tbf_options(2_000_000, 10_000, LATENCY_US)}
    with pytest.raises(NetlinkError) as caught:
        netlink.request(create_qdisc(other))
    assert caught.value.is_exists
    netlink.request(replace_qdisc(other))
    (shown,) = tc(netns, "qdisc", "show", "dev", "v0")
    assert shown["options"]["rate"] == 2_000_000
    netlink.request(delete_qdisc({"ifindex": tbf, "parent": TC_H_ROOT}))
    assert tc(netns, "qdisc", "show", "dev", "v0") == []
    with pytest.raises(NetlinkError) as caught:
        netlink.request(delete_qdisc({"ifindex": tbf, "parent": TC_H_ROOT}))
    assert caught.value.is_not_found


def test_classes_and_what_leads_to_them(netlink: NetlinkSocket, netns: Netns, veth: int) -> None:
    init = {"version": TC_HTB_PROTOVER, "rate2quantum": 10, "defcls": 0x30}
    netlink.request(
        create_qdisc(
            {
                "ifindex": veth,
                "handle": ROOT,
                "parent": TC_H_ROOT,
                "kind": "htb",
                "options": {"init": init},
            }
        )
    )
    shaped = make_handle(1, 0x30)
    options = htb_class_options(125_000, 250_000, burst_ticks(125_000, 12_500))
    shape: TrafficMessage = {"ifindex": veth, "handle": shaped, "parent": ROOT, "kind": "htb"}
    netlink.request(create_class({**shape, "options": options}))
    key = {"mask": 0xFFFFFF00, "val": 0x0A010000, "off": 16}
    sel = {"flags": TC_U32_TERMINAL, "keys": [key]}
    netlink.request(
        create_filter(
            {
                "ifindex": veth,
                "parent": ROOT,
                "info": filter_info(16, ETH_P_IP),
                "kind": "u32",
                "options": {"classid": shaped, "sel": sel},
            }
        )
    )
    (shown,) = tc(netns, "qdisc", "show", "dev", "v0")
    assert (shown["kind"], shown["options"]["default"]) == ("htb", "0x30")
    text = netns.exec("tc", "-d", "class", "show", "dev", "v0")
    assert "class htb 1:30 root prio 0 quantum 12500 rate 1Mbit ceil 2Mbit" in text
    assert "burst 12500b" in text
    *_, shown = tc(netns, "filter", "show", "dev", "v0", "parent", "1:")
    assert (shown["protocol"], shown["pref"], shown["options"]["flowid"]) == ("ip", 16, "1:30")
    assert shown["options"]["match"]["value"] == "a010000"
    assert shown["options"]["match"]["off"] == 16
    (read,) = netlink.dump(dump_classes(veth))
    assert (read["handle"], read["kind"]) == (shaped, "htb")
    (filter_,) = netlink.dump(dump_filters(veth, ROOT))
    assert split_filter_info(filter_["info"]) == (16, ETH_P_IP)
    assert filter_["options"]["sel"]["keys"] == [{**key, "offmask": 0}]
    key_fields = ("ifindex", "parent", "handle", "info", "kind")
    chosen: Any = {name: filter_[name] for name in key_fields}  # type: ignore[literal-required]
    netlink.request(delete_filter(chosen))
    assert netlink.dump(dump_filters(veth, ROOT)) == []
    netlink.request(delete_class(shape))
    assert netlink.dump(dump_classes(veth)) == []


@pytest.fixture
def pair(netns: Netns, veth: int, index_of: IndexOf) -> tuple[int, int]:
    """Return the indexes of ``v0`` and of an ifb device."""
    netns.ip("link", "add", "ifb0", "type", "ifb")
    return veth, index_of("ifb0")


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(("ingress", INGRESS, "ingress"), id="ingress"),
        pytest.param(("clsact", make_handle(0xFFFF, TC_H_MIN_EGRESS), "egress"), id="clsact"),
    ],
)
@pytest.mark.parametrize(
    "matcher",
    [
        pytest.param("u32", marks=pytest.mark.kernel("ifb")),
        pytest.param("matchall", marks=pytest.mark.kernel("ifb", "matchall")),
    ],
)
def test_a_redirection(
    netlink: NetlinkSocket,
    netns: Netns,
    pair: tuple[int, int],
    where: tuple[str, int, str],
    matcher: str,
) -> None:
    (veth, other), (kind, parent, hook) = pair, where
    assert TC_H_INGRESS == TC_H_CLSACT
    netlink.request(
        create_qdisc({"ifindex": veth, "handle": INGRESS, "parent": TC_H_INGRESS, "kind": kind})
    )
    options: dict[str, Any] = {"act": [redirect_action(other)]}
    if matcher == "u32":
        options["sel"] = {"flags": TC_U32_TERMINAL, "keys": [{}]}
    netlink.request(
        create_filter(
            {
                "ifindex": veth,
                "parent": parent,
                "info": filter_info(1, ETH_P_ALL),
                "kind": matcher,
                "options": options,
            }
        )
    )
    *_, shown = tc(netns, "filter", "show", "dev", "v0", hook)
    assert (shown["protocol"], shown["kind"]) == ("all", matcher)
    (action,) = shown["options"]["actions"]
    assert (action["mirred_action"], action["to_dev"]) == ("redirect", "ifb0")
    assert action["control_action"] == {"type": "stolen"}
    (read,) = netlink.dump(dump_filters(veth, parent))
    (done,) = read["options"]["act"]
    assert done["options"]["parms"]["ifindex"] == other


@pytest.mark.kernel("fq_codel")
def test_fair_queues(netlink: NetlinkSocket, netns: Netns, veth: int) -> None:
    options = {"limit": 1000, "flows": 512, "target": 5000, "interval": 100_000, "ecn": 1}
    netlink.request(
        create_qdisc({"ifindex": veth, "parent": TC_H_ROOT, "kind": "fq_codel", "options": options})
    )
    (shown,) = tc(netns, "qdisc", "show", "dev", "v0")
    assert shown["options"]["limit"] == 1000
    assert shown["options"]["flows"] == 512
    (read,) = netlink.dump(dump_qdiscs(veth))
    assert read["options"]["limit"] == 1000
    assert netlink.request(get_qdisc({"ifindex": veth, "parent": TC_H_ROOT})) == read


def test_what_this_kernel_lacks_is_not_found(netlink: NetlinkSocket, veth: int) -> None:
    with pytest.raises(NetlinkError) as caught:
        netlink.request(create_qdisc({"ifindex": veth, "parent": TC_H_ROOT, "kind": "nothing"}))
    assert caught.value.is_not_found
    assert "qdisc nothing dev v0 parent root" in str(caught.value)
