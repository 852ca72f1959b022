"""Devices whatever their kind: listed, changed, moved to another namespace and deleted."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from netns.conftest import MakeNetns, Netns, ReadJson
from netns.netlink.conftest import IndexOf
from podway.netlink import (
    EncodeError,
    NetlinkError,
    NetlinkSocket,
    change_link,
    create_link,
    delete_link,
    dump_links,
    get_link,
)
from podway.netlink.constants import ARPHRD_ETHER, IFF_UP, IN6_ADDR_GEN_MODE_NONE, NLM_F_ECHO

if TYPE_CHECKING:
    from podway.netlink.link_messages import LinkMessage

MAC = "0a:58:0a:f4:01:02"


def test_a_link_that_is_echoed_needs_no_second_request(
    netlink: NetlinkSocket, index_of: IndexOf
) -> None:
    request = create_link({"ifname": "v0", "linkinfo": {"kind": "veth"}})
    request.flags |= NLM_F_ECHO
    echoed = netlink.request(request)
    if echoed is None:
        pytest.skip("this kernel does not echo links (before Linux 6.2)")
    assert (echoed["ifname"], echoed["index"]) == ("v0", index_of("v0"))


def test_changes_of_a_device(
    netlink: NetlinkSocket, netns: Netns, veth: int, ip_json: ReadJson
) -> None:
    down: LinkMessage = {"index": veth, "flags": 0, "change": IFF_UP}
    netlink.request(change_link(down))  # before Linux 6.2 a device is renamed only while down
    netlink.request(
        change_link(
            {
                "index": veth,
                "ifname": "renamed",
                "mtu": 1300,
                "address": MAC,
                "ifalias": "podway: pod default/web-0",
                "group": 7,
                "txqlen": 50,
                "af_spec": {"inet6": {"addr_gen_mode": IN6_ADDR_GEN_MODE_NONE}},
            }
        )
    )
    (shown,) = ip_json(netns, "link", "show", "renamed")
    assert (shown["mtu"], shown["address"], shown["txqlen"]) == (1300, MAC, 50)
    assert (shown["ifalias"], shown["group"]) == ("podway: pod default/web-0", "7")
    assert "UP" not in shown["flags"]
    assert shown["inet6_addr_gen_mode"] == "none"
    link = netlink.request(get_link({"index": veth}))
    assert link is not None
    assert link["af_spec"]["inet6"]["addr_gen_mode"] == IN6_ADDR_GEN_MODE_NONE


@pytest.mark.parametrize("field", ["ifalias", "af_spec", "protinfo"])
def test_what_the_kernel_ignores_at_creation_is_refused(field: str) -> None:
    with pytest.raises(EncodeError) as caught:
        create_link({"ifname": "x", field: ""})  # type: ignore[misc]
    assert caught.value.field == f"link.{field}"


def test_a_device_moves_to_another_namespace(
    netlink: NetlinkSocket, veth: int, make_netns: MakeNetns, ip_json: ReadJson
) -> None:
    other = make_netns()
    netlink.request(change_link({"index": veth, "net_ns_fd": other.fd, "ifname": "eth0"}))
    (shown,) = ip_json(other, "link", "show", "eth0")
    assert shown["linkinfo"]["info_kind"] == "veth"
    (left,) = netlink.dump(dump_links(kind="veth"))
    assert left["link_netnsid"] >= 0


def test_listing_devices_by_kind_and_master(
    netlink: NetlinkSocket, veth: int, index_of: IndexOf
) -> None:
    netlink.request(create_link({"ifname": "cni0", "linkinfo": {"kind": "bridge"}}))
    netlink.request(change_link({"index": veth, "master": index_of("cni0")}))

    def names(**filters: Any) -> list[str]:
        return sorted(link["ifname"] for link in netlink.dump(dump_links(**filters)))

    assert {*names()} >= {"cni0", "lo", "v0", "v1"}
    assert names(kind="veth") == ["v0", "v1"]
    assert names(master=index_of("cni0")) == ["v0"]
    assert names(kind="bridge", master=index_of("cni0")) == []
    assert names(kind="no-such-kind") == []


def test_counters(netlink: NetlinkSocket, netns: Netns, ip_json: ReadJson) -> None:
    netns.exec("bash", "-c", "echo hello > /dev/udp/127.0.0.1/9")
    (link,) = [link for link in netlink.dump(dump_links()) if link["ifname"] == "lo"]
    (shown,) = ip_json(netns, "-s", "link", "show", "lo")
    assert link["stats64"]["rx_packets"] == shown["stats64"]["rx"]["packets"] > 0
    assert link["stats64"]["tx_bytes"] == shown["stats64"]["tx"]["bytes"]


def test_deleting_a_device(netlink: NetlinkSocket, veth: int) -> None:
    netlink.request(delete_link({"index": veth}))
    assert netlink.dump(dump_links(kind="veth")) == []
    with pytest.raises(NetlinkError) as caught:
        netlink.request(delete_link({"ifname": "v0"}))
    assert (caught.value.errno, caught.value.is_not_found) == (errno.ENODEV, True)


def test_what_ip_sees_is_what_is_read(
    netlink: NetlinkSocket, netns: Netns, veth: int, ip_json: ReadJson
) -> None:
    assert veth
    ours = {link["ifname"]: link for link in netlink.dump(dump_links())}
    for shown in ip_json(netns, "link", "show"):
        link = ours.pop(shown["ifname"])
        assert link["index"] == shown["ifindex"]
        assert link["mtu"] == shown["mtu"]
        if link["type"] == ARPHRD_ETHER:  # iproute2 shows those of tunnels as IP addresses
            assert link["address"] == shown["address"]
        assert link["min_mtu"] == shown["min_mtu"]
        assert link["num_tx_queues"] == shown["num_tx_queues"]
        assert link["gso_max_size"] == shown["gso_max_size"]
        assert link.get("linkinfo", {}).get("kind") == shown.get("linkinfo", {}).get("info_kind")
    assert not ours


@pytest.mark.parametrize("value", [1, 0])
def test_arp_notify_is_written_and_read(value: int, netlink: NetlinkSocket, netns: Netns) -> None:
    data = {"peer": {"ifname": "v1"}}
    netlink.request(create_link({"ifname": "v0", "linkinfo": {"kind": "veth", "data": data}}))
    netns.exec("sysctl", "-qw", f"net.ipv4.conf.v0.arp_notify={1 - value}")
    conf = {"inet": {"conf": {"arp_notify": value}}}
    netlink.request(change_link({"ifname": "v0", "af_spec": conf}))
    assert netns.exec("sysctl", "-n", "net.ipv4.conf.v0.arp_notify") == f"{value}\n"
    link = netlink.request(get_link({"ifname": "v0"}))
    assert link is not None
    assert link["af_spec"]["inet"]["conf"] == {"arp_notify": value}
