"""Devices of every kind that this kernel has: made, and read with their parameters."""

from __future__ import annotations

from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns, ReadJson
from netns.netlink.conftest import IndexOf, pick
from podway.netlink import (
    NetlinkSocket,
    change_bridge_port,
    change_link,
    create_link,
    dump_bridge_ports,
    dump_links,
    get_link,
    pack_address,
)
from podway.netlink.constants import (
    AF_BRIDGE,
    BRIDGE_MODE_HAIRPIN,
    IFF_UP,
    IPVLAN_MODE_L3,
    MACVLAN_MODE_BRIDGE,
)

MAC = "0a:58:0a:f4:01:02"


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
