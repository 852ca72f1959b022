"""Messages about devices that pyroute2 encodes are read as they were meant, field by field.

With the round trips this holds for our own encoding too. It is the only witness for device kinds
that the kernel at hand lacks.
"""

from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from podway.netlink.constants import (
    AF_BRIDGE,
    ETH_P_8021Q,
    IPPROTO_IPIP,
    IPVLAN_MODE_L3S,
    MACVLAN_MODE_BRIDGE,
)
from podway.netlink.links import LINK
from podway.netlink.text import pack_address
from unit.netlink.pyroute2_messages import decode_theirs, read_by_pyroute2

V4, V6 = pack_address("192.0.2.1"), pack_address("2001:db8::1")


def link_of_kind(kind: str, *attributes: tuple[str, Any]) -> ifinfmsg:
    message = ifinfmsg()
    data = {"attrs": list(attributes)}
    info = [("IFLA_INFO_KIND", kind), *([("IFLA_INFO_DATA", data)] if attributes else [])]
    message["attrs"] = [("IFLA_IFNAME", "x"), ("IFLA_LINKINFO", {"attrs": info})]
    return message


@pytest.mark.parametrize(
    ("kind", "attributes", "expected"),
    [
        pytest.param(
            "vxlan",
            [
                ("IFLA_VXLAN_ID", 4096),
                ("IFLA_VXLAN_LOCAL", "192.0.2.1"),
                ("IFLA_VXLAN_PORT", 8472),
                ("IFLA_VXLAN_LEARNING", 0),
                ("IFLA_VXLAN_GBP", True),
            ],
            {"id": 4096, "local": V4, "port": 8472, "learning": 0, "gbp": True},
            id="vxlan",
        ),
        pytest.param(
            "vxlan",
            [("IFLA_VXLAN_ID", 1), ("IFLA_VXLAN_LOCAL6", "2001:db8::1"), ("IFLA_VXLAN_LINK", 3)],
            {"id": 1, "local6": V6, "link": 3},
            id="vxlan over IPv6",
        ),
        pytest.param(
            "vlan",
            [("IFLA_VLAN_ID", 100), ("IFLA_VLAN_PROTOCOL", ETH_P_8021Q)],
            {"id": 100, "protocol": ETH_P_8021Q},
            id="vlan",
        ),
        pytest.param(
            "macvlan",
            [("IFLA_MACVLAN_MODE", "bridge")],
            {"mode": MACVLAN_MODE_BRIDGE},
            id="macvlan",
        ),
        pytest.param("ipvlan", [("IFLA_IPVLAN_MODE", 2)], {"mode": IPVLAN_MODE_L3S}, id="ipvlan"),
        pytest.param("vrf", [("IFLA_VRF_TABLE", 1001)], {"table": 1001}, id="vrf"),
        pytest.param(
            "ipip",
            [
                ("IFLA_IPIP_LOCAL", "192.0.2.1"),
                ("IFLA_IPIP_REMOTE", "192.0.2.1"),
                ("IFLA_IPIP_TTL", 64),
                ("IFLA_IPIP_PROTO", 4),
                ("IFLA_IPIP_PMTUDISC", 1),
                ("IFLA_IPIP_COLLECT_METADATA", True),
            ],
            {
                "local": V4,
                "remote": V4,
                "ttl": 64,
                "proto": IPPROTO_IPIP,
                "pmtudisc": 1,
                "collect_metadata": True,
            },
            id="ipip",
        ),
        pytest.param(
            "sit",
            [("IFLA_SIT_LOCAL", "192.0.2.1"), ("IFLA_SIT_ENCAP_DPORT", 5555)],
            {"local": V4, "encap_dport": 5555},
            id="sit",
        ),
        pytest.param(
            "ip6tnl",
            [("IFLA_IP6TNL_LOCAL", "2001:db8::1"), ("IFLA_IP6TNL_FLAGS", 0x10001)],
            {"local": V6, "flags": 0x10001},
            id="ip6tnl",
        ),
        pytest.param(
            "bridge",
            [("IFLA_BR_STP_STATE", 0), ("IFLA_BR_VLAN_PROTOCOL", ETH_P_8021Q)],
            {"stp_state": 0, "vlan_protocol": ETH_P_8021Q},
            id="bridge",
        ),
        pytest.param("tun", [("IFLA_TUN_TYPE", 2)], {"type": 2}, id="tun"),
    ],
)
def test_a_device_kind(kind: str, attributes: list[Any], expected: dict[str, Any]) -> None:
    link = decode_theirs(LINK, link_of_kind(kind, *attributes))
    assert link["linkinfo"] == {"kind": kind, "data": expected}

    fields = {"ifname": "x", "linkinfo": {"kind": kind, "data": expected}}
    info = read_by_pyroute2(LINK, ifinfmsg, fields).get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA")
    for name, value in attributes:
        assert data.get_attr(name) == value


@pytest.mark.parametrize("kind", ["dummy", "ifb", "wireguard"])
def test_a_device_kind_without_parameters(kind: str) -> None:
    link = decode_theirs(LINK, link_of_kind(kind))
    assert (link["ifname"], link["linkinfo"]) == ("x", {"kind": kind})


def test_a_veth_pair() -> None:
    peer = ("VETH_INFO_PEER", {"index": 7, "attrs": [("IFLA_IFNAME", "y"), ("IFLA_MTU", 1450)]})
    link = decode_theirs(LINK, link_of_kind("veth", peer))
    header = {"family": 0, "type": 0, "index": 7, "flags": 0, "change": 0}
    assert link["linkinfo"]["data"] == {"peer": header | {"ifname": "y", "mtu": 1450}}

    fields = {"linkinfo": {"kind": "veth", "data": {"peer": {"ifname": "y", "index": 7}}}}
    info = read_by_pyroute2(LINK, ifinfmsg, fields).get_attr("IFLA_LINKINFO")
    their_peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert (their_peer["index"], their_peer.get_attr("IFLA_IFNAME")) == (7, "y")


def test_fields_of_a_device() -> None:
    message = ifinfmsg()
    message |= {"family": 0, "ifi_type": 1, "index": 5, "flags": 0x1003, "change": 1}
    message["attrs"] = [
        ("IFLA_ADDRESS", "0a:58:0a:f4:01:02"),
        ("IFLA_MTU", 1450),
        ("IFLA_MASTER", 3),
        ("IFLA_GROUP", 9),
        ("IFLA_IFALIAS", "podway: pod default/web"),
        ("IFLA_LINK_NETNSID", -1),
        ("IFLA_NET_NS_FD", 12),
    ]
    assert decode_theirs(LINK, message) == {
        "family": 0,
        "type": 1,
        "index": 5,
        "flags": 0x1003,
        "change": 1,
        "address": "0a:58:0a:f4:01:02",
        "mtu": 1450,
        "master": 3,
        "group": 9,
        "ifalias": "podway: pod default/web",
        "link_netnsid": -1,
        "net_ns_fd": 12,
    }


def test_a_bridge_port() -> None:
    fields = {"family": AF_BRIDGE, "index": 5, "protinfo": {"mode": 1, "isolated": 1}}
    message = read_by_pyroute2(LINK, ifinfmsg, fields)
    protinfo = message.get_attr("IFLA_PROTINFO")
    assert protinfo.get_attr("IFLA_BRPORT_MODE") == 1
    assert protinfo.get_attr("IFLA_BRPORT_ISOLATED") == 1
