"""A socket when things go wrong: answers that are lost, forged or left unread, and its end."""

import errno
import os
import socket
from pathlib import Path

import pytest

from netns.conftest import Netns
from netns.netlink.conftest import open_fds
from netns.netlink.many_routes import blackhole, unreachable_hop
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    NetnsError,
    change_link,
    create_route,
    get_link,
)
from podway.netlink import socket as socket_module
from podway.netlink.constants import IFF_UP, NETLINK_ROUTE


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
