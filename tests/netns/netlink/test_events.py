"""Notifications of the kernel, and what happens when there are too many."""

import errno
import os
import select
import socket
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from netns.conftest import Netns, run
from netns.netlink.conftest import open_fds
from podway.netlink import (
    OVERRUN,
    DecodeError,
    Event,
    EventSocket,
    NetlinkError,
    NetlinkSocket,
    NetnsError,
    change_link,
    create_neighbour,
    create_route,
    format_address,
    pack_address,
)
from podway.netlink import events as events_module
from podway.netlink.constants import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    IFF_UP,
    NTF_PROXY,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWNETCONF,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    RTN_BLACKHOLE,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV4_NETCONF,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV4_RULE,
    RTNLGRP_IPV6_NETCONF,
    RTNLGRP_IPV6_ROUTE,
    RTNLGRP_LINK,
    RTNLGRP_NEIGH,
)

ALL_GROUPS = (
    RTNLGRP_LINK,
    RTNLGRP_NEIGH,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV4_RULE,
    RTNLGRP_IPV6_ROUTE,
    RTNLGRP_IPV4_NETCONF,
    RTNLGRP_IPV6_NETCONF,
)


def wait_for(events: EventSocket, matches: Callable[[Event], bool]) -> Event:
    """Return the first event that matches; the test's time limit ends a vain wait."""
    while True:
        select.select([events], [], [])
        for event in events.drain():
            if matches(event):
                return event


def test_links_come_and_go(netns: Netns) -> None:
    with EventSocket([RTNLGRP_LINK], netns_fd=netns.fd) as events:
        assert events.drain() == []
        netns.ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        made = wait_for(events, lambda e: e.fields.get("ifname") == "v0")
        assert (made.type, made.name) == (RTM_NEWLINK, "RTM_NEWLINK")
        assert made.fields["linkinfo"]["kind"] == "veth"
        netns.ip("link", "delete", "v0")
        gone = wait_for(events, lambda e: e.type == RTM_DELLINK and e.fields["ifname"] == "v0")
        assert gone.fields["index"] == made.fields["index"]


@pytest.mark.parametrize(
    ("command", "kind", "expected"),
    [
        pytest.param(
            "route add 10.244.1.0/24 dev v0 proto 112",
            RTM_NEWROUTE,
            {"family": AF_INET, "dst": pack_address("10.244.1.0"), "dst_len": 24, "protocol": 112},
            id="route",
        ),
        pytest.param(
            "-6 route add 2001:db8:1::/48 dev v0 table 70000",
            RTM_NEWROUTE,
            {"family": AF_INET6, "dst": pack_address("2001:db8:1::"), "table": 70_000},
            id="IPv6 route in a table above 255",
        ),
        pytest.param(
            "addr add 10.0.0.1/24 dev v0",
            RTM_NEWADDR,
            {"local": pack_address("10.0.0.1"), "prefixlen": 24},
            id="address",
        ),
        pytest.param(
            "neigh add 10.0.0.2 lladdr 0a:58:0a:f4:01:00 dev v0",
            RTM_NEWNEIGH,
            {"dst": pack_address("10.0.0.2"), "lladdr": "0a:58:0a:f4:01:00"},
            id="neighbour",
        ),
        pytest.param(
            "rule add from 10.244.0.0/16 lookup 1000",
            RTM_NEWRULE,
            {"src": pack_address("10.244.0.0"), "src_len": 16, "table": 1000},
            id="rule",
        ),
    ],
)
def test_an_event(
    netns: Netns, veth: int, command: str, kind: int, expected: dict[str, Any]
) -> None:
    assert veth
    with EventSocket(ALL_GROUPS, netns_fd=netns.fd) as events:
        netns.ip(*command.split())
        event = wait_for(events, lambda e: e.type == kind and expected.items() <= e.fields.items())
        assert event.port_id != 0


@pytest.mark.parametrize(
    ("group", "setting", "field"),
    [
        (RTNLGRP_IPV4_NETCONF, "net.ipv4.conf.v0.forwarding=1", "forwarding"),
        (RTNLGRP_IPV4_NETCONF, "net.ipv4.conf.v0.rp_filter=1", "rp_filter"),
        (RTNLGRP_IPV4_NETCONF, "net.ipv4.conf.v0.proxy_arp=1", "proxy_neigh"),
        (RTNLGRP_IPV6_NETCONF, "net.ipv6.conf.v0.forwarding=1", "forwarding"),
        (RTNLGRP_IPV6_NETCONF, "net.ipv6.conf.v0.proxy_ndp=1", "proxy_neigh"),
    ],
)
def test_a_sysctl_is_told(netns: Netns, veth: int, group: int, setting: str, field: str) -> None:
    with EventSocket([group], netns_fd=netns.fd) as events:
        netns.exec("sysctl", "-qw", setting)
        event = wait_for(events, lambda e: e.fields["ifindex"] == veth)
        assert (event.type, event.fields[field]) == (RTM_NEWNETCONF, 1)


def test_deleted_neighbours_and_routes_are_told(
    netlink: NetlinkSocket, netns: Netns, veth: int
) -> None:
    dst = pack_address("10.244.1.0")
    netlink.request(
        create_neighbour(
            {"family": AF_INET, "ifindex": veth, "dst": dst, "lladdr": "0a:58:0a:f4:01:00"}
        )
    )
    netlink.request(
        create_route(
            {"family": AF_INET, "dst": dst, "dst_len": 24, "gateway": dst, "oif": veth, "flags": 4}
        )
    )
    with EventSocket(ALL_GROUPS, netns_fd=netns.fd) as events:
        netns.ip("neigh", "del", "10.244.1.0", "dev", "v0")
        gone = wait_for(events, lambda e: e.type == RTM_DELNEIGH)
        assert format_address(gone.fields["dst"]) == "10.244.1.0"
        netns.ip("link", "set", "v0", "down")  # takes its routes along
        netns.ip("link", "delete", "v0")
        assert "RTM_DELLINK" in {event.name for event in events.drain()}


def test_forwarding_entries_of_a_tunnel_are_told(netns: Netns) -> None:
    netns.ip("link", "add", "vx", "type", "vxlan", "id", "1", "dstport", "8472", "nolearning")
    entry = ("0a:58:0a:f4:01:00", "dev", "vx", "dst", "192.0.2.7")
    with EventSocket([RTNLGRP_NEIGH], netns_fd=netns.fd) as events:
        for verb, kind in (("append", RTM_NEWNEIGH), ("del", RTM_DELNEIGH)):
            run("bridge", "-n", netns.name, "fdb", verb, *entry)
            (event,) = events.drain()
            assert (event.type, event.fields["family"]) == (kind, AF_BRIDGE)
            assert event.fields["lladdr"] == "0a:58:0a:f4:01:00"
            assert event.fields["dst"] == pack_address("192.0.2.7")


def test_a_bridge_port_is_told_as_such(netns: Netns, veth: int) -> None:
    netns.ip("link", "add", "cni0", "type", "bridge")
    with EventSocket([RTNLGRP_LINK], netns_fd=netns.fd) as events:
        netns.ip("link", "set", "v0", "master", "cni0")
        event = wait_for(
            events,
            lambda e: e.fields["family"] == AF_BRIDGE and e.fields["index"] == veth,
        )
        assert event.fields["protinfo"]["mode"] == 0


def test_a_proxy_neighbour_is_told_by_nobody(
    netlink: NetlinkSocket, netns: Netns, veth: int
) -> None:
    """The kernel sends no notification for proxies: who relies on them must list them."""
    with EventSocket([RTNLGRP_NEIGH], netns_fd=netns.fd) as events:
        netlink.request(
            create_neighbour(
                {
                    "family": AF_INET,
                    "ifindex": veth,
                    "dst": pack_address("10.0.0.9"),
                    "flags": NTF_PROXY,
                }
            )
        )
        assert [e for e in events.drain() if e.fields["flags"] & NTF_PROXY] == []


def test_own_changes_are_recognized(netlink: NetlinkSocket, netns: Netns) -> None:
    with EventSocket([RTNLGRP_IPV4_ROUTE], netns_fd=netns.fd) as events:
        netlink.request(
            create_route(
                {
                    "family": AF_INET,
                    "dst": pack_address("10.0.0.0"),
                    "dst_len": 8,
                    "type": RTN_BLACKHOLE,
                }
            )
        )
        (event,) = events.drain()
        assert event.port_id == netlink.port_id
        netns.ip("route", "del", "blackhole", "10.0.0.0/8")
        (event,) = events.drain()
        assert event.type == RTM_DELROUTE
        assert event.port_id != netlink.port_id


def shrink_queue(events: EventSocket) -> None:
    with socket.socket(fileno=os.dup(events.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


def test_lost_events_are_reported_and_later_ones_are_not_lost(
    netlink: NetlinkSocket, netns: Netns, veth: int
) -> None:
    def blackholes(numbers: Sequence[int]) -> list[Any]:
        return [
            create_route(
                {
                    "family": AF_INET,
                    "dst": bytes([11, 0, n >> 8, n & 255]),
                    "dst_len": 32,
                    "type": RTN_BLACKHOLE,
                }
            )
            for n in numbers
        ]

    with EventSocket([RTNLGRP_IPV4_ROUTE, RTNLGRP_LINK], netns_fd=netns.fd) as events:
        shrink_queue(events)
        netlink.batch(blackholes(range(500)))
        drained = events.drain()
        assert [event for event in drained if event is OVERRUN] == [OVERRUN]
        assert len(drained) < 500
        assert events.drain() == []
        netlink.request(change_link({"index": veth, "flags": 0, "change": IFF_UP}))
        assert any(event.fields["ifname"] == "v0" for event in events.drain())


def test_a_limit_leaves_the_rest_for_later(netlink: NetlinkSocket, netns: Netns) -> None:
    with EventSocket([RTNLGRP_IPV4_ROUTE], netns_fd=netns.fd) as events:
        requests = [
            create_route({"family": AF_INET, "dst": bytes([11, 0, 0, n]), "dst_len": 32, "type": 6})
            for n in range(10)
        ]
        netlink.batch(requests)
        assert len(events.drain(limit=4)) == 4
        readable, _, _ = select.select([events], [], [], 0)
        assert readable == [events]
        assert [event.fields["dst"][3] for event in events.drain()] == [4, 5, 6, 7, 8, 9]


def test_a_notification_that_does_not_fit_is_an_error(
    netns: Netns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "_BUFFER_BYTES", 64)
    with EventSocket([RTNLGRP_LINK], netns_fd=netns.fd) as events:
        netns.ip("link", "add", "v0", "type", "veth")
        with pytest.raises(DecodeError):
            events.drain()


def test_an_unknown_group_is_an_error_and_leaks_nothing(netns: Netns) -> None:
    before = open_fds()
    with pytest.raises(NetlinkError) as caught:
        EventSocket([RTNLGRP_LINK, 9999], netns_fd=netns.fd)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(NetnsError):
        EventSocket([RTNLGRP_LINK], netns_fd=9999)
    assert open_fds() == before
