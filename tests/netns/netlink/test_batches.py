"""Many requests at once: in order, each with a result of its own, whatever fails."""

import errno
import socket

import pytest

from netns.conftest import Netns
from netns.netlink.many_routes import OURS, blackhole, unreachable_hop
from podway.netlink import (
    EncodeError,
    NetlinkSocket,
    change_link,
    create_address,
    create_neighbour,
    create_route,
    delete_route,
    dump_routes,
    pack_address,
    replace_route,
)
from podway.netlink import socket as socket_module
from podway.netlink.constants import AF_INET, RT_SCOPE_LINK


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
