"""Routes of both families, compared with `ip -j route` and pyroute2."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pyroute2 import IPRoute

from netns.conftest import Netns, ReadJson
from netns.netlink.conftest import IndexOf
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    append_route,
    create_route,
    delete_route,
    dump_routes,
    format_address,
    get_route,
    pack_address,
    replace_route,
)
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    RT_SCOPE_LINK,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTM_F_FIB_MATCH,
    RTN_BLACKHOLE,
    RTN_UNREACHABLE,
    RTNH_F_ONLINK,
    RTPROT_KERNEL,
)

if TYPE_CHECKING:
    from podway.netlink.route_messages import RouteMessage

OURS = 112


def route(prefix: str, **more: Any) -> RouteMessage:
    """Return a route of ours to *prefix*."""
    address, _, length = prefix.partition("/")
    packed = pack_address(address)
    family = AF_INET if len(packed) == 4 else AF_INET6
    fields: Any = {"family": family, "dst": packed, "dst_len": int(length), "protocol": OURS}
    message: RouteMessage = fields | more
    return message


@pytest.fixture
def addressed(netns: Netns, veth: int) -> int:
    """Return the index of v0 with 10.0.0.1/24 and 2001:db8::1/64."""
    netns.ip("addr", "add", "10.0.0.1/24", "dev", "v0")
    netns.ip("addr", "add", "2001:db8::1/64", "dev", "v0", "nodad")
    return veth


CASES = [
    pytest.param(
        "10.244.1.0/24",
        {"gateway": "10.0.0.2"},
        {"dst": "10.244.1.0/24", "gateway": "10.0.0.2", "dev": "v0"},
        id="by a next hop",
    ),
    pytest.param(
        "10.244.1.0/24",
        {"gateway": "10.244.1.0", "flags": RTNH_F_ONLINK},
        {"gateway": "10.244.1.0", "flags": ["onlink"]},
        id="by a next hop that no prefix covers",
    ),
    pytest.param(
        "10.244.0.7/32",
        {"scope": RT_SCOPE_LINK, "prefsrc": "10.0.0.1"},
        {"dst": "10.244.0.7", "scope": "link", "prefsrc": "10.0.0.1"},
        id="to a pod on the link",
    ),
    pytest.param(
        "10.244.1.0/24",
        {"gateway": "10.0.0.2", "priority": 77, "metrics": {"mtu": 1400, "advmss": 1360}},
        {"metric": 77, "metrics": [{"mtu": 1400, "advmss": 1360}]},
        id="with a metric, MTU and advertised MSS",
    ),
    pytest.param(
        "2001:db8:1::/48",
        {"gateway": "2001:db8::2", "priority": 1024},
        {"dst": "2001:db8:1::/48", "gateway": "2001:db8::2", "metric": 1024},
        id="IPv6 by a next hop",
    ),
    pytest.param(
        "2001:db8:1::/48",
        {"gateway": "2001:db8:ffff::2", "flags": RTNH_F_ONLINK},
        {"gateway": "2001:db8:ffff::2", "flags": ["onlink"]},
        id="IPv6 by a next hop that no prefix covers",
    ),
    pytest.param(
        "10.244.1.0/24",
        {"via": {"family": AF_INET6, "addr": pack_address("2001:db8::2")}},
        {"via": {"family": "inet6", "host": "2001:db8::2"}},
        id="IPv4 by an IPv6 next hop",
    ),
    pytest.param(
        "0.0.0.0/0",
        {"gateway": "10.0.0.2"},
        {"dst": "default", "gateway": "10.0.0.2"},
        id="default",
    ),
]


@pytest.mark.parametrize("write", [create_route, replace_route], ids=["create", "replace"])
@pytest.mark.parametrize(("prefix", "more", "expected"), CASES)
def test_a_route(
    netlink: NetlinkSocket,
    netns: Netns,
    addressed: int,
    ip_json: ReadJson,
    *,
    write: Callable[[RouteMessage], Any],
    prefix: str,
    more: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    packed = {k: pack_address(v) if isinstance(v, str) else v for k, v in more.items()}
    fields = route(prefix, oif=addressed, **packed)
    netlink.request(write(fields))
    family = "-4" if fields["family"] == AF_INET else "-6"
    (shown,) = ip_json(netns, family, "route", "show", "proto", str(OURS))
    assert {key: shown.get(key) for key in expected} == expected

    (read,) = netlink.dump(dump_routes(fields["family"], protocol=OURS))
    if fields["dst_len"] == 0:
        del fields["dst"]  # the kernel does not say 0.0.0.0/0
    assert {key: read.get(key) for key in fields} == fields
    assert read["table"] == RT_TABLE_MAIN


@pytest.mark.parametrize(
    ("kind", "shown_as"),
    [
        pytest.param(RTN_BLACKHOLE, "blackhole", id="blackhole"),
        pytest.param(RTN_UNREACHABLE, "unreachable", id="unreachable"),
    ],
)
@pytest.mark.parametrize("prefix", ["10.244.0.0/16", "2001:db8:f::/48"])
def test_a_route_to_nowhere(
    netlink: NetlinkSocket,
    netns: Netns,
    ip_json: ReadJson,
    *,
    kind: int,
    shown_as: str,
    prefix: str,
) -> None:
    netlink.request(create_route(route(prefix, type=kind)))
    family = "-6" if ":" in prefix else "-4"
    (shown,) = ip_json(netns, family, "route", "show", "proto", str(OURS))
    assert (shown["type"], shown["dst"]) == (shown_as, prefix)


@pytest.mark.parametrize(
    ("prefix", "hops"),
    [
        pytest.param("10.244.1.0/24", ("10.9.0.1", "10.9.0.2"), id="IPv4"),
        pytest.param("2001:db8:1::/48", ("2001:db8:9::1", "2001:db8:9::2"), id="IPv6"),
    ],
)
def test_a_multipath_route(
    netlink: NetlinkSocket,
    netns: Netns,
    addressed: int,
    index_of: IndexOf,
    ip_json: ReadJson,
    *,
    prefix: str,
    hops: tuple[str, str],
) -> None:
    fields = route(
        prefix,
        multipath=[
            {
                "ifindex": index,
                "gateway": pack_address(hop),
                "hops": weight - 1,
                "flags": RTNH_F_ONLINK,
            }
            for hop, index, weight in zip(hops, (addressed, index_of("v1")), (1, 3), strict=True)
        ],
    )
    netlink.request(replace_route(fields))
    family = "-6" if ":" in prefix else "-4"
    (shown,) = ip_json(netns, family, "route", "show", "proto", str(OURS))
    assert [(hop["gateway"], hop["dev"], hop["weight"]) for hop in shown["nexthops"]] == [
        (hops[0], "v0", 1),
        (hops[1], "v1", 3),
    ]
    (read,) = netlink.dump(dump_routes(fields["family"], protocol=OURS))
    assert read["multipath"] == fields["multipath"]
    assert netlink.dump(dump_routes(protocol=OURS, oif=index_of("v1"))) == [read]


def test_a_table_above_255(
    netlink: NetlinkSocket, netns: Netns, addressed: int, ip_json: ReadJson
) -> None:
    for table in (100, 100_000):
        netlink.request(create_route(route("10.244.1.0/24", oif=addressed, table=table)))
    (shown,) = ip_json(netns, "route", "show", "table", "100000")
    assert shown["dst"] == "10.244.1.0/24"
    for table in (100, 100_000):
        (read,) = netlink.dump(dump_routes(AF_INET, table=table))
        assert read["table"] == table
        netlink.request(delete_route(route("10.244.1.0/24", table=table)))
        assert netlink.dump(dump_routes(AF_INET, table=table)) == []


def test_listing_routes_is_filtered(netlink: NetlinkSocket, addressed: int) -> None:
    netlink.request(create_route(route("10.244.1.0/24", oif=addressed)))
    netlink.request(create_route(route("2001:db8:1::/48", oif=addressed)))

    def prefixes(*families: int, **filters: int) -> set[str]:
        return {
            f"{format_address(r['dst'])}/{r['dst_len']}"
            for r in netlink.dump(dump_routes(*families, **filters))
            if "dst" in r
        }

    ours = {"10.244.1.0/24", "2001:db8:1::/48"}
    assert prefixes(protocol=OURS) == ours
    assert prefixes(AF_INET, protocol=OURS) == {"10.244.1.0/24"}
    assert ours < prefixes(oif=addressed)
    assert "127.0.0.0/8" in prefixes(AF_INET, table=RT_TABLE_LOCAL)
    assert prefixes(AF_INET, table=RT_TABLE_LOCAL, protocol=OURS) == set()
    assert prefixes(AF_INET, protocol=RTPROT_KERNEL, table=RT_TABLE_MAIN) == {"10.0.0.0/24"}


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_a_table_that_does_not_exist_is_empty(netlink: NetlinkSocket, family: int) -> None:
    assert netlink.dump(dump_routes(family, table=4242)) == []


def test_create_replace_append_and_delete(netlink: NetlinkSocket, addressed: int) -> None:
    fields = route("10.244.1.0/24", oif=addressed, gateway=pack_address("10.0.0.2"))
    other = route("10.244.1.0/24", oif=addressed, gateway=pack_address("10.0.0.3"))
    netlink.request(create_route(fields))
    with pytest.raises(NetlinkError) as caught:
        netlink.request(create_route(other))
    assert caught.value.is_exists
    netlink.request(replace_route(other))
    netlink.request(append_route(fields))

    def gateways() -> list[str]:
        return [format_address(r["gateway"]) for r in netlink.dump(dump_routes(protocol=OURS))]

    assert gateways() == ["10.0.0.3", "10.0.0.2"]
    netlink.request(delete_route(fields))
    assert gateways() == ["10.0.0.3"]
    netlink.request(delete_route(route("10.244.1.0/24")))
    with pytest.raises(NetlinkError) as caught:
        netlink.request(delete_route(route("10.244.1.0/24")))
    assert (caught.value.errno, caught.value.is_not_found) == (errno.ESRCH, True)


def test_deleting_matches_only_what_is_given(netlink: NetlinkSocket, addressed: int) -> None:
    netlink.request(create_route(route("10.244.1.0/24", oif=addressed, scope=RT_SCOPE_LINK)))
    wrong = route("10.244.1.0/24", oif=addressed)
    wrong["protocol"] = OURS + 1
    with pytest.raises(NetlinkError):
        netlink.request(delete_route(wrong))
    netlink.request(delete_route({"family": AF_INET, "dst": wrong["dst"], "dst_len": 24}))
    assert netlink.dump(dump_routes(protocol=OURS)) == []


def test_the_route_that_a_packet_would_take(netlink: NetlinkSocket, addressed: int) -> None:
    netlink.request(
        create_route(route("10.244.1.0/24", oif=addressed, gateway=pack_address("10.0.0.2")))
    )
    target: RouteMessage = {"family": AF_INET, "dst": pack_address("10.244.1.5"), "dst_len": 32}
    found = netlink.request(get_route(target))
    assert found is not None
    assert (found["oif"], found["gateway"]) == (addressed, pack_address("10.0.0.2"))
    assert found["prefsrc"] == pack_address("10.0.0.1")
    matched = netlink.request(get_route({**target, "flags": RTM_F_FIB_MATCH}))
    assert matched is not None
    assert (matched["dst"], matched["dst_len"]) == (pack_address("10.244.1.0"), 24)
    with pytest.raises(NetlinkError) as caught:
        netlink.request(get_route({**target, "dst": pack_address("203.0.113.1")}))
    assert caught.value.errno == errno.ENETUNREACH


def test_cached_routes_are_not_listed(netlink: NetlinkSocket, netns: Netns, addressed: int) -> None:
    netns.exec("bash", "-c", "echo x > /dev/udp/2001:db8::1/9 || true")
    listed = netlink.dump(dump_routes(AF_INET6, oif=addressed))
    assert not [r for r in listed if r["flags"] & 0x200]


def test_pyroute2_sees_the_same_routes(
    netlink: NetlinkSocket, netns: Netns, addressed: int
) -> None:
    """All of IPv4, and of IPv6 ours alone: its link-local routes come when they like."""
    netlink.request(create_route(route("10.244.1.0/24", oif=addressed, table=1000)))
    netlink.request(create_route(route("2001:db8:1::/48", oif=addressed, priority=9)))
    with IPRoute(netns=netns.name) as witness:
        theirs = {
            (r["dst_len"], r.get_attr("RTA_DST"), r.get_attr("RTA_TABLE"), r["proto"])
            for family in (AF_INET, AF_INET6)
            for r in witness.get_routes(family=family)
            if family == AF_INET or r["proto"] == OURS
        }
    ours = {
        (r["dst_len"], format_address(r["dst"]) if "dst" in r else None, r["table"], r["protocol"])
        for r in netlink.dump(dump_routes())
        if r["family"] == AF_INET or r["protocol"] == OURS
    }
    assert ours == theirs
    assert {length for length, *_ in ours} >= {8, 24, 32, 48}
