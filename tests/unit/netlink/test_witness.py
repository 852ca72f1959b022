"""Routes, neighbours, addresses and rules that pyroute2 encodes are read as they were meant.

With the round trips this holds for our own encoding too. Devices: see `test_link_witness`.
"""

from typing import Any

import pytest
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from podway.netlink.addresses import ADDRESS_OF_LINK
from podway.netlink.constants import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    FR_ACT_TO_TBL,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    NTF_SELF,
    NUD_PERMANENT,
    RTNH_F_ONLINK,
)
from podway.netlink.neighbours import NEIGHBOUR
from podway.netlink.routes import ROUTE
from podway.netlink.rules import RULE
from podway.netlink.text import pack_address
from unit.netlink.pyroute2_messages import decode_theirs

V4, V6 = pack_address("192.0.2.1"), pack_address("2001:db8::1")


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
