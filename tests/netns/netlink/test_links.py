"""Devices of every kind this kernel has: made, read, changed, moved and deleted."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from netns.conftest import MakeNetns, Netns, ReadJson
from netns.netlink.conftest import pick
from podway.netlink import (
    EncodeError,
    NetlinkError,
    NetlinkSocket,
    change_bridge_port,
    change_link,
    create_link,
    delete_link,
    dump_bridge_ports,
    dump_links,
    get_link,
    pack_address,
)
from podway.netlink.constants import (
    AF_BRIDGE,
    ARPHRD_ETHER,
    BRIDGE_MODE_HAIRPIN,
    IFF_UP,
    IN6_ADDR_GEN_MODE_NONE,
    IPVLAN_MODE_L3,
    MACVLAN_MODE_BRIDGE,
    NLM_F_ECHO,
)

if TYPE_CHECKING:
    from podway.netlink.link_messages import LinkMessage

MAC = "0a:58:0a:f4:01:02"
IndexOf = Callable[[str], int]


def test_a_veth_pair_in_one_namespace(
    netlink: NetlinkSocket, netns: Netns, ip_json: ReadJson
) -> None:
    data = {"peer": {"ifname": "v1", "mtu": 1400, "address": MAC}}
    netlink.request(create_link({"ifname": "v0", "linkinfo": {"kind": "veth", "data": data}}))
    (shown,) = ip_json(netns, "link", "show", "v1")
    assert (shown["mtu"], shown["address"], shown["link"]) == (1400, MAC, "v0")


def test_a_veth_pair_whose_peer_is_in_another_namespace(
    netlink: NetlinkSocket, netns: Netns, make_netns: MakeNetns, ip_json: ReadJson
) -> None:
    pod = make_netns()
    peer = {"ifname": "eth0", "mtu": 1450, "address": MAC, "net_ns_fd": pod.fd}
    netlink.request(
        create_link(
            {
                "ifname": "pw0123456789a",
                "flags": IFF_UP,
                "change": IFF_UP,
                "linkinfo": {"kind": "veth", "data": {"peer": peer}},
            }
        )
    )
    (inside,) = ip_json(pod, "link", "show", "eth0")
    (outside,) = ip_json(netns, "link", "show", "pw0123456789a")
    assert (inside["mtu"], inside["address"]) == (1450, MAC)
    assert (outside["link_index"], inside["link_index"]) == (inside["ifindex"], outside["ifindex"])
    assert "UP" in outside["flags"]


def test_a_link_that_is_echoed_needs_no_second_request(
    netlink: NetlinkSocket, index_of: IndexOf
) -> None:
    request = create_link({"ifname": "v0", "linkinfo": {"kind": "veth"}})
    request.flags |= NLM_F_ECHO
    echoed = netlink.request(request)
    if echoed is None:
        pytest.skip("this kernel does not echo links (before Linux 6.2)")
    assert (echoed["ifname"], echoed["index"]) == ("v0", index_of("v0"))


def test_a_bridge(netlink: NetlinkSocket, netns: Netns, ip_json: ReadJson) -> None:
    data = {"stp_state": 0, "forward_delay": 0, "ageing_time": 10_000, "mcast_snooping": 0}
    netlink.request(
        create_link(
            {
                "ifname": "cni0",
                "address": MAC,
                "linkinfo": {"kind": "bridge", "data": data},
            }
        )
    )
    (shown,) = ip_json(netns, "link", "show", "cni0")
    shown_data = shown["linkinfo"]["info_data"]
    assert shown["linkinfo"]["info_kind"] == "bridge"
    assert shown_data["ageing_time"] == 10_000
    assert shown_data["forward_delay"] == 0
    assert shown_data["mcast_snooping"] == 0

    link = netlink.request(get_link({"ifname": "cni0"}))
    assert link is not None
    assert link["address"] == MAC
    assert pick(link["linkinfo"]["data"], data) == data
    assert link["linkinfo"]["data"]["group_addr"] == shown_data["group_addr"]


def test_a_bridge_port_with_hairpin_and_isolation(
    netlink: NetlinkSocket, netns: Netns, veth: int, index_of: IndexOf, bridge_json: ReadJson
) -> None:
    netlink.request(create_link({"ifname": "cni0", "linkinfo": {"kind": "bridge"}}))
    cni0 = index_of("cni0")
    netlink.request(change_link({"index": veth, "master": cni0}))
    port = {"mode": BRIDGE_MODE_HAIRPIN, "isolated": 1, "learning": 0}
    netlink.request(change_bridge_port({"index": veth, "protinfo": port}))

    (shown,) = bridge_json(netns, "link", "show", "dev", "v0")
    assert (shown["hairpin"], shown["isolated"], shown["learning"]) == (True, True, False)

    (as_port,) = netlink.dump(dump_bridge_ports())
    assert as_port["family"] == AF_BRIDGE
    assert pick(as_port["protinfo"], port) == port

    (as_link,) = netlink.dump(dump_links(master=cni0))
    info = as_link["linkinfo"]
    assert info["slave_kind"] == "bridge"
    assert pick(info["slave_data"], port) == port


def test_a_bridge_port_is_set_with_its_link(
    netlink: NetlinkSocket, netns: Netns, veth: int, index_of: IndexOf, bridge_json: ReadJson
) -> None:
    netlink.request(create_link({"ifname": "cni0", "linkinfo": {"kind": "bridge"}}))
    netlink.request(change_link({"index": veth, "master": index_of("cni0")}))
    info = {"slave_kind": "bridge", "slave_data": {"mode": BRIDGE_MODE_HAIRPIN}}
    netlink.request(change_link({"index": veth, "linkinfo": info}))  # type: ignore[typeddict-item]
    (shown,) = bridge_json(netns, "link", "show", "dev", "v0")
    assert shown["hairpin"] is True


@pytest.mark.parametrize(
    ("local_field", "local", "shown_as"),
    [
        pytest.param("local", "192.0.2.1", "local", id="over IPv4"),
        pytest.param("local6", "2001:db8::1", "local6", id="over IPv6"),
    ],
)
def test_a_vxlan_device(
    netlink: NetlinkSocket,
    netns: Netns,
    veth: int,
    ip_json: ReadJson,
    *,
    local_field: str,
    local: str,
    shown_as: str,
) -> None:
    data = {
        "id": 4096,
        "port": 8472,
        "learning": 0,
        "link": veth,
        "gbp": True,
        local_field: pack_address(local),
    }
    netlink.request(
        create_link(
            {
                "ifname": "podway.4096",
                "mtu": 1400,
                "address": MAC,
                "linkinfo": {"kind": "vxlan", "data": data},
            }
        )
    )
    (shown,) = ip_json(netns, "link", "show", "podway.4096")
    assert (shown["mtu"], shown["address"]) == (1400, MAC)
    assert shown["linkinfo"]["info_kind"] == "vxlan"
    shown_data = shown["linkinfo"]["info_data"]
    assert (shown_data["id"], shown_data["port"], shown_data["link"]) == (4096, 8472, "v0")
    assert (shown_data["learning"], shown_data["gbp"]) == (False, True)
    assert shown_data[shown_as] == local

    (link,) = netlink.dump(dump_links(kind="vxlan"))
    assert pick(link["linkinfo"]["data"], data) == data


def test_a_vxlan_device_without_flags_says_nothing_of_them(netlink: NetlinkSocket) -> None:
    data = {"id": 1, "port": 4789, "gbp": False}
    netlink.request(create_link({"ifname": "vx", "linkinfo": {"kind": "vxlan", "data": data}}))
    (link,) = netlink.dump(dump_links(kind="vxlan"))
    assert "gbp" not in link["linkinfo"]["data"]
    assert link["linkinfo"]["data"]["ttl_inherit"] is False


@pytest.mark.parametrize(
    ("kind", "data", "shown"),
    [
        pytest.param("macvlan", {"mode": MACVLAN_MODE_BRIDGE}, {"mode": "bridge"}, id="macvlan"),
        pytest.param("macvtap", {"mode": MACVLAN_MODE_BRIDGE}, {"mode": "bridge"}, id="macvtap"),
        pytest.param(
            "ipvlan",
            {"mode": IPVLAN_MODE_L3, "flags": 0},
            {"mode": "l3"},
            id="ipvlan",
            marks=pytest.mark.kernel("ipvlan"),
        ),
        pytest.param(
            "vlan",
            {"id": 100, "protocol": 0x8100},
            {"id": 100, "protocol": "802.1Q"},
            id="vlan",
            marks=pytest.mark.kernel("vlan"),
        ),
    ],
)
def test_a_device_above_another(
    netlink: NetlinkSocket,
    netns: Netns,
    veth: int,
    ip_json: ReadJson,
    *,
    kind: str,
    data: dict[str, Any],
    shown: dict[str, Any],
) -> None:
    netlink.request(
        create_link({"ifname": "x", "link": veth, "linkinfo": {"kind": kind, "data": data}})
    )
    (seen,) = ip_json(netns, "link", "show", "x")
    assert seen["link"] == "v0"
    assert seen["linkinfo"]["info_kind"] == kind
    assert pick(seen["linkinfo"]["info_data"], shown) == shown
    (link,) = netlink.dump(dump_links(kind=kind))
    assert link["link"] == veth
    assert pick(link["linkinfo"]["data"], data) == data


@pytest.mark.parametrize(
    "kind",
    [
        "ifb",
        pytest.param("dummy", marks=pytest.mark.kernel("dummy")),
        pytest.param("wireguard", marks=pytest.mark.kernel("wireguard")),
    ],
)
def test_a_device_without_parameters(
    netlink: NetlinkSocket,
    netns: Netns,
    ip_json: ReadJson,
    kind: str,
) -> None:
    netlink.request(create_link({"ifname": "x", "mtu": 1400, "linkinfo": {"kind": kind}}))
    (seen,) = ip_json(netns, "link", "show", "x")
    assert (seen["linkinfo"]["info_kind"], seen["mtu"]) == (kind, 1400)
    (link,) = netlink.dump(dump_links(kind=kind))
    assert (link["ifname"], link["mtu"]) == ("x", 1400)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param(kind, data, id=kind, marks=pytest.mark.kernel(kind))
        for kind, data in {
            "vrf": {"table": 1001},
            "ipip": {"local": pack_address("192.0.2.1"), "ttl": 64},
            "sit": {"local": pack_address("192.0.2.1"), "ttl": 64},
            "ip6tnl": {"local": pack_address("2001:db8::1"), "ttl": 64},
        }.items()
    ],
)
def test_a_device_with_parameters_of_its_own(
    netlink: NetlinkSocket,
    kind: str,
    data: dict[str, Any],
) -> None:
    netlink.request(create_link({"ifname": "x", "linkinfo": {"kind": kind, "data": data}}))
    link = netlink.request(get_link({"ifname": "x"}))
    assert link is not None
    assert pick(link["linkinfo"]["data"], data) == data


def test_a_tun_device_is_read(netlink: NetlinkSocket, netns: Netns) -> None:
    netns.ip("tuntap", "add", "dev", "tap0", "mode", "tap", "vnet_hdr")
    (link,) = netlink.dump(dump_links(kind="tun"))
    data = link["linkinfo"]["data"]
    assert (data["type"], data["vnet_hdr"], data["persist"]) == (2, 1, 1)


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
