"""Whole messages, byte for byte.

The bytes are what iproute2 6.1 sends for the command in the id (read with strace), but for two
things: ours marks nests as such (bit 15 of nla_type, as strict kernels want them), and says a
routing table in the attribute as well as in the header.
"""

import sys
from typing import Any

import pytest

from podway.netlink import (
    Request,
    append_fdb,
    create_address,
    create_link,
    create_neighbour,
    create_route,
    create_rule,
    pack_address,
    replace_neighbour,
    replace_route,
)
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    NTF_PROXY,
    RTN_BLACKHOLE,
    RTNH_F_ONLINK,
    RTPROT_BOOT,
)

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the bytes are little-endian")

POD_CIDR = pack_address("10.244.1.0")
MAC = "0a:58:0a:f4:01:00"


@pytest.mark.parametrize(
    ("request_", "type_and_flags", "expected"),
    [
        pytest.param(
            create_link(
                {
                    "mtu": 1450,
                    "address": MAC,
                    "ifname": "podway.1",
                    "linkinfo": {
                        "kind": "vxlan",
                        "data": {
                            "id": 1,
                            "local": pack_address("192.0.2.1"),
                            "learning": 0,
                            "port": 8472,
                        },
                    },
                }
            ),
            (16, 0x601),
            "00000000 00000000 00000000 00000000"
            "0800 0400 aa050000"
            "0a00 0100 0a580af40100 0000"
            "0d00 0300 706f647761792e3100 000000"
            "3400 1280"
            " 0a00 0100 76786c616e00 0000"
            " 2400 0280"
            "  0800 0100 01000000"
            "  0800 0400 c0000201"
            "  0500 0700 00 000000"
            "  0600 0f00 2118 0000",
            id="ip link add podway.1 mtu 1450 address MAC type vxlan id 1 local 192.0.2.1 "
            "dstport 8472 nolearning",
        ),
        pytest.param(
            replace_route(
                {
                    "family": AF_INET,
                    "dst_len": 24,
                    "protocol": 112,
                    "flags": RTNH_F_ONLINK,
                    "dst": POD_CIDR,
                    "gateway": POD_CIDR,
                    "oif": 3,
                }
            ),
            (24, 0x501),
            "02180000 fe700001 04000000"
            "0800 0f00 fe000000"
            "0800 0100 0af40100"
            "0800 0500 0af40100"
            "0800 0400 03000000",
            id="ip route replace 10.244.1.0/24 via 10.244.1.0 dev v0 onlink proto 112",
        ),
        pytest.param(
            create_route(
                {
                    "family": AF_INET,
                    "dst_len": 16,
                    "protocol": 112,
                    "dst": pack_address("10.9.0.0"),
                    "table": 1000,
                    "multipath": [
                        {"flags": RTNH_F_ONLINK, "ifindex": 3, "gateway": POD_CIDR},
                        {
                            "flags": RTNH_F_ONLINK,
                            "hops": 1,
                            "ifindex": 2,
                            "gateway": pack_address("10.244.1.1"),
                        },
                    ],
                }
            ),
            (24, 0x601),
            "02100000 00700001 00000000"
            "0800 0f00 e8030000"
            "0800 0100 0a090000"
            "2400 0900"
            " 1000 04 00 03000000 0800 0500 0af40100"
            " 1000 04 01 02000000 0800 0500 0af40101",
            id="ip route add 10.9.0.0/16 proto 112 table 1000 nexthop via 10.244.1.0 dev v0 onlink "
            "nexthop via 10.244.1.1 dev v1 weight 2 onlink",
        ),
        pytest.param(
            create_route(
                {
                    "family": AF_INET6,
                    "dst_len": 32,
                    "protocol": RTPROT_BOOT,
                    "type": RTN_BLACKHOLE,
                    "dst": pack_address("2001:db8::"),
                    "priority": 5,
                }
            ),
            (24, 0x601),
            "0a200000 fe030006 00000000"
            "0800 0f00 fe000000"
            "1400 0100 20010db8000000000000000000000000"
            "0800 0600 05000000",
            id="ip -6 route add blackhole 2001:db8::/32 metric 5",
        ),
        pytest.param(
            replace_neighbour({"family": AF_INET, "ifindex": 3, "dst": POD_CIDR, "lladdr": MAC}),
            (28, 0x501),
            "02000000 03000000 800000000800 0100 0af401000a00 0200 0a580af40100 0000",
            id="ip neigh replace 10.244.1.0 lladdr MAC dev v0 nud permanent",
        ),
        pytest.param(
            create_neighbour(
                {
                    "family": AF_INET,
                    "ifindex": 3,
                    "flags": NTF_PROXY,
                    "dst": pack_address("10.244.0.9"),
                }
            ),
            (28, 0x601),
            "02000000 03000000 80000800 0800 0100 0af40009",
            id="ip neigh add proxy 10.244.0.9 dev v0",
        ),
        pytest.param(
            append_fdb({"ifindex": 4, "lladdr": MAC, "dst": pack_address("192.0.2.2")}),
            (28, 0xC01),
            "07000000 04000000 c00002000a00 0200 0a580af40100 00000800 0100 c0000202",
            id="bridge fdb append MAC dev podway.1 dst 192.0.2.2",
        ),
        pytest.param(
            create_address(
                {
                    "family": AF_INET,
                    "prefixlen": 24,
                    "index": 3,
                    "local": pack_address("10.244.0.1"),
                    "address": pack_address("10.244.0.1"),
                }
            ),
            (20, 0x601),
            "02180000 03000000 0800 0200 0af40001 0800 0100 0af40001",
            id="ip addr add 10.244.0.1/24 dev v0",
        ),
        pytest.param(
            create_rule(
                {
                    "family": AF_INET,
                    "src_len": 16,
                    "src": pack_address("10.244.0.0"),
                    "fwmark": 0x10,
                    "fwmask": 0xFF,
                    "table": 1000,
                    "priority": 100,
                    "protocol": 112,
                }
            ),
            (32, 0x601),
            "02001000 00000001 00000000"
            "0800 0200 0af40000"
            "0800 0a00 10000000"
            "0800 1000 ff000000"
            "0800 0f00 e8030000"
            "0800 0600 64000000"
            "0500 1500 70 000000",
            id="ip rule add from 10.244.0.0/16 fwmark 0x10/0xff lookup 1000 priority 100 "
            "protocol 112",
        ),
    ],
)
def test_a_request(request_: Request[Any], type_and_flags: tuple[int, int], expected: str) -> None:
    assert (request_.type, request_.flags) == type_and_flags
    assert request_.schema.encode(request_.fields).hex() == bytes.fromhex(expected).hex()
