"""Requests, batches and listings when things go wrong."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netns.conftest import Netns
from netns.netlink.conftest import open_fds
from podway.netlink import (
    EncodeError,
    NetlinkError,
    NetlinkSocket,
    NetnsError,
    Request,
    change_link,
    create_address,
    create_link,
    create_neighbour,
    create_route,
    delete_route,
    dump_fdb,
    dump_links,
    dump_neighbours,
    dump_routes,
    get_link,
    pack_address,
    replace_route,
)
from podway.netlink import socket as socket_module
from podway.netlink.constants import (
    AF_INET,
    IFF_UP,
    NETLINK_ROUTE,
    RT_SCOPE_LINK,
    RT_TABLE_LOCAL,
    RTN_BLACKHOLE,
    RTPROT_KERNEL,
)

OURS = 112


def blackhole(number: int) -> Any:
    """Return the *number*-th of many /32 routes."""
    dst = (0x0B000000 + number).to_bytes(4, "big")
    return {
        "family": AF_INET,
        "dst": dst,
        "dst_len": 32,
        "type": RTN_BLACKHOLE,
        "protocol": OURS,
    }


def unreachable_hop(number: int) -> Any:
    """Return a route that the kernel refuses: its next hop is on no device."""
    fields = blackhole(number)
    del fields["type"]
    return fields | {"gateway": pack_address("203.0.113.1")}


@pytest.mark.parametrize(
    ("request_", "number", "reason", "field"),
    [
        pytest.param(
            create_link(
                {"ifname": "vx", "linkinfo": {"kind": "vxlan", "data": {"id": 1 << 24, "port": 1}}}
            ),
            errno.ERANGE,
            "VXLAN ID must be lower than 16777216",
            "linkinfo.data.id",
            id="value out of range",
        ),
        pytest.param(
            create_link({"ifname": "x", "linkinfo": {"kind": "nonsense"}}),
            errno.EOPNOTSUPP,
            "Unknown device type",
            "",
            id="unknown kind",
        ),
        pytest.param(
            create_route(unreachable_hop(1)),
            errno.ENETUNREACH,
            "Nexthop has invalid gateway",
            "",
            id="next hop out of reach",
        ),
        pytest.param(
            create_route(blackhole(1) | {"dst_len": 33}),
            errno.EINVAL,
            "Invalid prefix length",
            "",
            id="prefix too long",
        ),
        pytest.param(
            change_link({"ifname": "lo", "mtu": 10, "txqlen": 1 << 31, "ifalias": "a" * 300}),
            errno.ERANGE,
            "",
            "ifalias",
            id="attribute longer than its policy",
        ),
    ],
)
def test_the_kernels_reason_is_in_the_error(
    netlink: NetlinkSocket, request_: Request[Any], number: int, reason: str, field: str
) -> None:
    with pytest.raises(NetlinkError) as caught:
        netlink.request(request_)
    assert caught.value.errno == number
    assert reason in caught.value.reason
    assert caught.value.attribute == field


def test_an_error_names_devices_by_name(netlink: NetlinkSocket, veth: int) -> None:
    fields = unreachable_hop(0x0AF40000 - 0x0B000000) | {"dst_len": 24, "oif": veth}
    with pytest.raises(NetlinkError) as caught:
        netlink.request(create_route(fields))
    assert str(caught.value) == (
        "cannot create route 10.244.0.0/24 via 203.0.113.1 dev v0: "
        "Network is unreachable (ENETUNREACH): Nexthop has invalid gateway"
    )


def test_an_error_about_a_device_that_is_not_there_shows_its_number(netlink: NetlinkSocket) -> None:
    with pytest.raises(NetlinkError) as caught:
        netlink.request(create_route(blackhole(1) | {"type": 1, "oif": 4242}))
    assert caught.value.is_not_found
    assert caught.value.operation == "create route 11.0.0.1/32 dev #4242"


def test_reading_what_is_not_there(netlink: NetlinkSocket) -> None:
    with pytest.raises(NetlinkError) as caught:
        netlink.request(get_link({"ifname": "nope"}))
    assert (caught.value.errno, caught.value.is_not_found) == (errno.ENODEV, True)
    assert caught.value.operation == "read link nope"


def test_a_batch_of_5000_with_every_seventh_failing(netlink: NetlinkSocket) -> None:
    requests = [
        create_route(unreachable_hop(n) if n % 7 == 0 else blackhole(n)) for n in range(5000)
    ]
    results = netlink.batch(requests)
    assert len(results) == 5000
    failed = {n for n, result in enumerate(results) if result is not None}
    assert failed == set(range(0, 5000, 7))
    for n in failed:
        error = results[n]
        assert error is not None
        assert error.errno == errno.ENETUNREACH
        assert error.reason
        dst = socket.inet_ntoa((0x0B000000 + n).to_bytes(4, "big"))
        assert error.operation == f"create route {dst}/32 via 203.0.113.1"
    there = {r["dst"] for r in netlink.dump(dump_routes(AF_INET, protocol=OURS))}
    assert there == {blackhole(n)["dst"] for n in range(5000) if n % 7}


@pytest.mark.parametrize("failing", [{0}, {9}, {0, 9}, set(range(10))], ids=str)
def test_failures_at_the_edges_of_a_batch(netlink: NetlinkSocket, failing: set[int]) -> None:
    requests = [
        create_route(unreachable_hop(n) if n in failing else blackhole(n)) for n in range(10)
    ]
    results = netlink.batch(requests)
    assert {n for n, result in enumerate(results) if result} == failing
    assert len(netlink.dump(dump_routes(AF_INET, protocol=OURS))) == 10 - len(failing)


def test_an_empty_batch(netlink: NetlinkSocket) -> None:
    assert netlink.batch([]) == []


def test_a_batch_is_carried_out_in_order(netlink: NetlinkSocket) -> None:
    requests = [
        create_route(blackhole(1)),
        create_route(blackhole(1)),
        delete_route(blackhole(1)),
        create_route(blackhole(1)),
        replace_route(blackhole(1)),
    ]
    results = netlink.batch(iter(requests))
    assert [result and result.is_exists for result in results] == [None, True, None, None, None]


def test_a_batch_of_different_objects(netlink: NetlinkSocket, veth: int) -> None:
    results = netlink.batch(
        [
            change_link({"index": veth, "mtu": 1400}),
            create_address(
                {
                    "family": AF_INET,
                    "index": veth,
                    "prefixlen": 24,
                    "local": pack_address("10.0.0.1"),
                }
            ),
            create_route(
                {
                    "family": AF_INET,
                    "dst": pack_address("10.1.0.0"),
                    "dst_len": 16,
                    "oif": veth,
                    "scope": RT_SCOPE_LINK,
                }
            ),
            create_neighbour(
                {
                    "family": AF_INET,
                    "ifindex": veth,
                    "dst": pack_address("10.1.0.1"),
                    "lladdr": "0a:58:0a:01:00:01",
                }
            ),
        ]
    )
    assert results == [None] * 4


def test_an_impossible_message_stops_a_batch_before_it_begins(netlink: NetlinkSocket) -> None:
    bad = create_route(blackhole(2) | {"priority": -1})
    with pytest.raises(EncodeError) as caught:
        netlink.batch([create_route(blackhole(1)), bad])
    assert caught.value.field == "route.priority"
    assert netlink.dump(dump_routes(AF_INET, protocol=OURS)) == []


def test_a_small_queue_overflows_with_no_answer_lost(
    netns: Netns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_module, "_RECEIVE_QUEUE_BYTES", 16 * 1024)
    with NetlinkSocket(netns_fd=netns.fd) as netlink:
        assert netlink._answers_max <= 16
        results = netlink.batch([create_route(unreachable_hop(n)) for n in range(500)])
    assert [result.errno for result in results if result] == [errno.ENETUNREACH] * 500


def test_success_is_acknowledged_once_for_each_send(
    netlink: NetlinkSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive, send = NetlinkSocket._receive, NetlinkSocket._send
    calls: list[str] = []

    def count_receive(self: NetlinkSocket) -> bytes:
        calls.append("receive")
        return receive(self)

    def count_send(self: NetlinkSocket, data: bytes) -> None:
        calls.append("send")
        assert len(data) <= 64 * 1024
        send(self, data)

    monkeypatch.setattr(NetlinkSocket, "_receive", count_receive)
    monkeypatch.setattr(NetlinkSocket, "_send", count_send)
    assert netlink.batch([create_route(blackhole(n)) for n in range(3000)]) == [None] * 3000
    assert calls == ["send", "receive"] * (len(calls) // 2)
    assert len(calls) <= 10


def test_a_message_larger_than_a_send_goes_alone(netlink: NetlinkSocket, veth: int) -> None:
    hop = {"ifindex": veth, "gateway": pack_address("10.0.0.2"), "flags": 4}
    wide = {**blackhole(1), "type": 1, "multipath": [hop] * 4000}
    small = create_route(blackhole(2))
    results = netlink.batch([small, create_route(wide), create_route(blackhole(3))])  # type: ignore[arg-type]
    assert (results[0], results[2]) == (None, None)


def test_a_listing_torn_by_a_change_is_read_again(
    netlink: NetlinkSocket, netns: Netns, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = [create_link({"ifname": f"i{n}", "linkinfo": {"kind": "ifb"}}) for n in range(80)]
    assert netlink.batch(devices) == [None] * 80
    receive = NetlinkSocket._receive
    datagrams: list[int] = []

    def receive_and_disturb(self: NetlinkSocket) -> bytes:
        data = receive(self)
        if self is netlink:
            datagrams.append(len(data))
            if len(datagrams) == 1:
                netns.ip("link", "add", "late", "type", "ifb")
        return data

    monkeypatch.setattr(NetlinkSocket, "_receive", receive_and_disturb)
    names = {link["ifname"] for link in netlink.dump(dump_links(kind="ifb"))}
    assert names == {"late", *(f"i{n}" for n in range(80))}
    torn = len(datagrams)
    netlink.dump(dump_links(kind="ifb"))
    assert torn > len(datagrams) - torn > 1  # more than one reading, each in several pieces


def test_a_listing_that_is_always_torn_is_given_up(
    netlink: NetlinkSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_once = NetlinkSocket._list_once
    attempts: list[int] = []

    def torn(self: NetlinkSocket, request: Request[Any]) -> Any:
        attempts.append(1)
        datagrams, ack, _ = list_once(self, request)
        return datagrams, ack, True

    monkeypatch.setattr(NetlinkSocket, "_list_once", torn)
    with pytest.raises(NetlinkError) as caught:
        netlink.dump(dump_links())
    assert caught.value.errno == errno.EINTR
    assert len(attempts) == 20


def test_an_exchange_cut_short_does_not_disturb_the_next(
    netlink: NetlinkSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = NetlinkSocket._receive

    def interrupted(_self: NetlinkSocket) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(NetlinkSocket, "_receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        netlink.request(get_link({"ifname": "nope"}))
    with pytest.raises(KeyboardInterrupt):
        netlink.batch([create_route(unreachable_hop(n)) for n in range(5)])
    monkeypatch.setattr(NetlinkSocket, "_receive", receive)
    link = netlink.request(get_link({"ifname": "lo"}))
    assert link is not None
    assert link["ifname"] == "lo"
    assert netlink.batch([create_route(blackhole(1))]) == [None]


def test_a_listing_cut_short_closes_the_socket(
    netlink: NetlinkSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_self: NetlinkSocket) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(NetlinkSocket, "_receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        netlink.dump(dump_links())
    monkeypatch.undo()
    assert netlink.fileno() == -1
    with pytest.raises(NetlinkError) as caught:
        netlink.dump(dump_links())
    assert caught.value.errno == errno.EBADF


def test_a_lost_answer_is_an_error_and_no_hang(
    netlink: NetlinkSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeout = socket_module._TIMEVAL.pack(0, 20_000)
    netlink._socket.setsockopt(socket.SOL_SOCKET, socket_module._SO_RCVTIMEO, timeout)
    monkeypatch.setattr(NetlinkSocket, "_send", lambda _self, _data: None)
    with pytest.raises(NetlinkError) as caught:
        netlink.request(get_link({"ifname": "lo"}))
    assert caught.value.errno == errno.ETIMEDOUT


def test_what_another_process_sends_is_ignored() -> None:
    """Both sockets are in the initial namespace: the forger must reach its victim."""
    forged = b"\x14\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\xff\xff\xff\xff"  # "seq 1: EPERM"
    family, protocol = socket.AF_NETLINK, NETLINK_ROUTE
    with NetlinkSocket() as here, socket.socket(family, socket.SOCK_RAW, protocol) as forger:
        forger.sendto(forged, (here.port_id, 0))
        link = here.request(get_link({"ifname": "lo"}))
        assert link is not None
        assert link["ifname"] == "lo"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda _: dump_links(kind="veth"), id="links by kind"),
        pytest.param(lambda _: dump_routes(AF_INET, table=RT_TABLE_LOCAL), id="by table"),
        pytest.param(lambda _: dump_routes(AF_INET, protocol=RTPROT_KERNEL), id="by protocol"),
        pytest.param(lambda veth: dump_routes(AF_INET, oif=veth), id="routes by device"),
        pytest.param(
            lambda veth: dump_neighbours(AF_INET, ifindex=veth), id="neighbours by device"
        ),
        pytest.param(
            lambda veth: dump_neighbours(AF_INET, ifindex=veth, proxies=True), id="proxies"
        ),
        pytest.param(lambda veth: dump_fdb(ifindex=veth), id="fdb by device"),
    ],
)
def test_the_kernel_filters_by_itself(
    netlink: NetlinkSocket, netns: Netns, veth: int, make: Callable[[int], Request[Any]]
) -> None:
    netns.ip("addr", "add", "10.0.0.1/24", "dev", "v0")
    for dev in ("v0", "v1"):
        netns.ip("neigh", "add", "10.0.0.2", "lladdr", "0a:58:0a:f4:01:00", "dev", dev)
        netns.ip("neigh", "add", "proxy", "10.0.0.3", "dev", dev)
    unfiltered = make(veth)
    unfiltered.keep = None
    names = ("ifname", "ifindex", "lladdr", "dst", "dst_len")  # states change by themselves

    def identities(request: Request[Any]) -> list[list[Any]]:
        return [[message.get(name) for name in names] for message in netlink.dump(request)]

    assert identities(unfiltered) == identities(make(veth)) != []


def test_nothing_leaks_when_opening_fails(tmp_path: Path) -> None:
    regular = os.open(tmp_path / "file", os.O_CREAT | os.O_RDONLY)
    try:
        before = open_fds()
        with pytest.raises(NetnsError) as no_namespace:
            NetlinkSocket(netns_fd=regular)
        with pytest.raises(NetnsError) as no_fd:
            NetlinkSocket(netns_fd=9999)
        with pytest.raises(NetlinkError) as no_protocol:
            NetlinkSocket(protocol=31)
        assert no_namespace.value.errno == errno.EINVAL
        assert no_fd.value.errno == errno.EBADF
        assert no_protocol.value.errno == errno.EPROTONOSUPPORT
        assert open_fds() == before
    finally:
        os.close(regular)


def test_a_socket_is_closed_with_its_block(netns: Netns) -> None:
    before = open_fds()
    with NetlinkSocket(netns_fd=netns.fd) as netlink:
        assert os.get_inheritable(netlink.fileno()) is False
        netlink.request(change_link({"ifname": "lo", "flags": IFF_UP, "change": IFF_UP}))
    netlink.close()
    assert netlink.fileno() == -1
    assert open_fds() == before
