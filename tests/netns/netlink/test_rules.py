"""Routing policy rules and the netconf settings of devices."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from netns.conftest import Netns, ReadJson
from netns.netlink.conftest import IndexOf, pick
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    create_rule,
    delete_rule,
    dump_netconf,
    dump_rules,
    get_netconf,
    pack_address,
)
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    FIB_RULE_INVERT,
    FR_ACT_BLACKHOLE,
    NETCONFA_IFINDEX_ALL,
    NETCONFA_IFINDEX_DEFAULT,
)

if TYPE_CHECKING:
    from podway.netlink.rules import RuleMessage


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {
                "family": AF_INET,
                "priority": 100,
                "src": pack_address("10.244.0.0"),
                "src_len": 16,
                "fwmark": 0x10,
                "fwmask": 0xFF,
                "table": 1000,
                "protocol": 112,
            },
            {
                "priority": 100,
                "src": "10.244.0.0",
                "srclen": 16,
                "fwmark": "0x10",
                "fwmask": "0xff",
                "table": "1000",
                "protocol": "112",
            },
            id="mark and source, table above 255",
        ),
        pytest.param(
            {
                "family": AF_INET6,
                "priority": 101,
                "dst": pack_address("2001:db8::"),
                "dst_len": 32,
                "flags": FIB_RULE_INVERT,
                "iifname": "lo",
                "table": 100,
            },
            {"priority": 101, "dst": "2001:db8::", "not": None, "iif": "lo", "table": "100"},
            id="IPv6, inverted, by device",
        ),
        pytest.param(
            {
                "family": AF_INET,
                "priority": 102,
                "action": FR_ACT_BLACKHOLE,
                "ip_proto": 17,
                "dport_range": {"start": 8472, "end": 8473},
            },
            {"priority": 102, "action": "blackhole", "dport_start": 8472, "dport_end": 8473},
            id="blackhole by port",
        ),
        pytest.param(
            {"family": AF_INET, "priority": 103, "table": 254, "suppress_prefixlen": 0},
            {"priority": 103, "suppress_prefixlen": 0},
            id="main table without its default route",
        ),
    ],
)
def test_a_rule(
    netlink: NetlinkSocket,
    netns: Netns,
    ip_json: ReadJson,
    fields: RuleMessage,
    expected: dict[str, Any],
) -> None:
    netlink.request(create_rule(fields))
    family = "-6" if fields["family"] == AF_INET6 else "-4"
    (shown,) = ip_json(netns, family, "rule", "show", "pref", str(fields["priority"]))
    assert pick(shown, expected) == expected
    (read,) = [
        rule
        for rule in netlink.dump(dump_rules(fields["family"]))
        if rule.get("priority") == fields["priority"]
    ]
    assert pick(read, fields) == fields

    with pytest.raises(NetlinkError) as caught:
        netlink.request(create_rule(fields))
    assert caught.value.is_exists
    netlink.request(delete_rule(fields))
    with pytest.raises(NetlinkError) as caught:
        netlink.request(delete_rule(fields))
    assert (caught.value.errno, caught.value.is_not_found) == (errno.ENOENT, True)


def test_rules_of_all_families_are_listed(netlink: NetlinkSocket) -> None:
    families = {rule["family"] for rule in netlink.dump(dump_rules())}
    assert {AF_INET, AF_INET6} <= families


@pytest.mark.parametrize(("family", "word"), [(AF_INET, "ipv4"), (AF_INET6, "ipv6")])
def test_netconf_of_a_device(
    netlink: NetlinkSocket, netns: Netns, veth: int, family: int, word: str
) -> None:
    settings = netlink.request(get_netconf(family, veth))
    assert settings is not None
    assert (settings["ifindex"], settings["forwarding"]) == (veth, 0)
    netns.exec("sysctl", "-qw", f"net.{word}.conf.v0.forwarding=1")
    settings = netlink.request(get_netconf(family, veth))
    assert settings is not None
    assert settings["forwarding"] == 1


def test_netconf_of_all_devices(
    netlink: NetlinkSocket, netns: Netns, veth: int, index_of: IndexOf
) -> None:
    netns.exec("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2", "net.ipv4.conf.v0.proxy_arp=1")
    listed = {n["ifindex"]: n for n in netlink.dump(dump_netconf(AF_INET))}
    assert listed.keys() >= {
        NETCONFA_IFINDEX_ALL,
        NETCONFA_IFINDEX_DEFAULT,
        index_of("lo"),
        veth,
        index_of("v1"),
    }
    assert listed[NETCONFA_IFINDEX_ALL]["rp_filter"] == 2
    assert (listed[veth]["proxy_neigh"], listed[index_of("v1")]["proxy_neigh"]) == (1, 0)
