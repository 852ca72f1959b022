"""Numbers of other namespaces, and devices read over there."""

import pytest

from netns.conftest import MakeNetns, Netns
from podway.netlink import NetlinkError, NetlinkSocket, get_link
from podway.netlink.netns_ids import read_netns_id


def test_a_namespace_to_which_a_device_leads(
    netlink: NetlinkSocket, netns: Netns, make_netns: MakeNetns
) -> None:
    pod, stranger = make_netns(), make_netns()
    peer = ("peer", "name", "eth0", "netns", pod.name)
    netns.ip("link", "add", "v0", "type", "veth", *peer)
    number = read_netns_id(netlink, pod.fd)
    outer = netlink.request(get_link({"ifname": "v0"}))
    assert number is not None
    assert outer is not None
    assert outer["link_netnsid"] == number
    inner = netlink.request(get_link({"ifname": "eth0", "target_netnsid": number}))
    assert inner is not None
    assert (inner["index"], inner["link"]) == (outer["link"], outer["index"])
    assert read_netns_id(netlink, stranger.fd) is None


def test_no_namespace(netlink: NetlinkSocket) -> None:
    with open("/dev/null", "rb") as file, pytest.raises(NetlinkError):  # noqa: PTH123
        read_netns_id(netlink, file.fileno())
