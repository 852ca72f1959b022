"""Listings: whole although things change meanwhile, and filtered by the kernel."""

import errno
from collections.abc import Callable
from typing import Any

import pytest

from netns.conftest import Netns
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    Request,
    create_link,
    dump_fdb,
    dump_links,
    dump_neighbours,
    dump_routes,
)
from podway.netlink.constants import AF_INET, RT_TABLE_LOCAL, RTPROT_KERNEL


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
