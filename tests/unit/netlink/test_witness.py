"""Messages that pyroute2 encodes are read as they were meant, field by field.

With the round trips this holds for our own encoding too. It is the only witness for device kinds
that the kernel at hand lacks.
"""

import sys
from typing import Any

import pytest
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from podway.netlink.addresses import ADDRESS_OF_LINK
from podway.netlink.constants import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    ETH_P_8021Q,
    FR_ACT_TO_TBL,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IPPROTO_IPIP,
    IPVLAN_MODE_L3S,
    MACVLAN_MODE_BRIDGE,
    NTF_SELF,
    NUD_PERMANENT,
    RTNH_F_ONLINK,
)
from podway.netlink.links import LINK
from podway.netlink.messages import Schema
from podway.netlink.neighbours import NEIGHBOUR
from podway.netlink.routes import ROUTE
from podway.netlink.rules import RULE
from podway.netlink.text import pack_address

V4, V6 = pack_address("192.0.2.1"), pack_address("2001:db8::1")


def decode_theirs(schema: Schema[Any], message: Any) -> dict[str, Any]:
    """Encode with pyroute2 and decode with ours."""
    message.encode()
    data = bytes(message.data)
    fields: dict[str, Any] = schema.decode(data, 16, len(data))
    return fields


def read_by_pyroute2(schema: Schema[Any], message_class: Any, fields: dict[str, Any]) -> Any:
    """Encode with ours and decode with pyroute2."""
    payload = schema.encode(fields)
    data = (16 + len(payload)).to_bytes(4, sys.byteorder) + bytes(12) + payload
    message = message_class(data)
    message.decode()
    return message


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


@pytest.mark.parametrize(
    ("header", "attributes", "expected"),
    [
        pytest.param(
            {"family": AF_INET, "dst_len": 24, "table": 254, "proto": 112, "type": 1, "flags": 4},
            [("RTA_DST", "192.0.2.1"), ("RTA_GATEWAY", "192.0.2.1"), ("RTA_OIF", 5)],
            {"dst": V4, "gateway": V4, "oif": 5, "flags": RTNH_F_ONLINK, "protocol": 112},
            id="onlink",
        ),
        pytest.param(
            {"family": AF_INET6, "dst_len": 128, "table": 252},
            [("RTA_DST", "2001:db8::1"), ("RTA_TABLE", 70_000), ("RTA_PRIORITY", 1024)],
            {"dst": V6, "table": 70_000, "priority": 1024},
            id="table above 255",
        ),
        pytest.param(
            {"family": AF_INET},
            [
                ("RTA_PREFSRC", "192.0.2.1"),
                ("RTA_METRICS", {"attrs": [("RTAX_MTU", 1400), ("RTAX_ADVMSS", 1360)]}),
            ],
            {"prefsrc": V4, "metrics": {"mtu": 1400, "advmss": 1360}},
            id="metrics",
        ),
        pytest.param(
            {"family": AF_INET},
            [("RTA_VIA", {"family": AF_INET6, "addr": "2001:db8::1"})],
            {"via": {"family": AF_INET6, "addr": V6}},
            id="next hop of the other family",
        ),
        pytest.param(
            {"family": AF_INET},
            [
                (
                    "RTA_MULTIPATH",
                    [
                        {"oif": 3, "hops": 1, "attrs": [("RTA_GATEWAY", "192.0.2.1")]},
                        {"oif": 4, "flags": 4},
                    ],
                )
            ],
            {
                "multipath": [
                    {"ifindex": 3, "hops": 1, "flags": 0, "gateway": V4},
                    {"ifindex": 4, "hops": 0, "flags": 4},
                ]
            },
            id="multipath",
        ),
    ],
)
def test_a_route(header: dict[str, int], attributes: list[Any], expected: dict[str, Any]) -> None:
    message = rtmsg()
    message |= header
    message["attrs"] = attributes
    route = decode_theirs(ROUTE, message)
    assert route | expected == route


def test_a_neighbour_and_a_forwarding_entry() -> None:
    message = ndmsg()
    message |= {"family": AF_BRIDGE, "ifindex": 5, "state": NUD_PERMANENT, "flags": NTF_SELF}
    message["attrs"] = [
        ("NDA_DST", "192.0.2.1"),
        ("NDA_LLADDR", "0a:58:0a:f4:01:02"),
        ("NDA_PORT", 8472),
        ("NDA_VNI", 1),
        ("NDA_IFINDEX", 2),
        ("NDA_MASTER", 3),
    ]
    assert decode_theirs(NEIGHBOUR, message) == {
        "family": AF_BRIDGE,
        "ifindex": 5,
        "state": NUD_PERMANENT,
        "flags": NTF_SELF,
        "type": 0,
        "dst": V4,
        "lladdr": "0a:58:0a:f4:01:02",
        "port": 8472,
        "vni": 1,
        "nda_ifindex": 2,
        "master": 3,
    }


def test_an_address() -> None:
    message = ifaddrmsg()
    message |= {"family": AF_INET6, "prefixlen": 64, "flags": IFA_F_NODAD, "index": 5}
    flags = IFA_F_NODAD | IFA_F_NOPREFIXROUTE
    message["attrs"] = [("IFA_ADDRESS", "2001:db8::1"), ("IFA_FLAGS", flags), ("IFA_PROTO", 112)]
    assert decode_theirs(ADDRESS_OF_LINK, message) == {
        "family": AF_INET6,
        "prefixlen": 64,
        "flags": flags,
        "scope": 0,
        "index": 5,
        "address": V6,
        "proto": 112,
    }


def test_a_rule() -> None:
    message = fibmsg()
    message |= {"family": AF_INET, "src_len": 24, "action": FR_ACT_TO_TBL}
    message["attrs"] = [
        ("FRA_SRC", "192.0.2.1"),
        ("FRA_TABLE", 1000),
        ("FRA_PRIORITY", 99),
        ("FRA_FWMARK", 0x10),
        ("FRA_FWMASK", 0xFF),
        ("FRA_IIFNAME", "eth0"),
        ("FRA_PROTOCOL", 112),
        ("FRA_SPORT_RANGE", "1:9"),
    ]
    assert decode_theirs(RULE, message) == {
        "family": AF_INET,
        "dst_len": 0,
        "src_len": 24,
        "tos": 0,
        "table": 1000,
        "action": FR_ACT_TO_TBL,
        "flags": 0,
        "src": V4,
        "priority": 99,
        "fwmark": 0x10,
        "fwmask": 0xFF,
        "iifname": "eth0",
        "protocol": 112,
        "sport_range": {"start": 1, "end": 9},
    }
