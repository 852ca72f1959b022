"""Errors: what they are instances of, what they ask to be tested by, and how they read."""

import errno
from typing import Any

import pytest

from podway.errors import PodwayError
from podway.netlink import (
    NamespaceLostError,
    NetlinkError,
    NetnsError,
    Request,
    change_bridge_port,
    create_address,
    create_fdb,
    create_link,
    create_neighbour,
    create_route,
    create_rule,
    delete_link,
    dump_links,
    dump_routes,
    dump_rules,
    get_netconf,
    pack_address,
)
from podway.netlink.constants import (
    AF_INET,
    AF_INET6,
    FIB_RULE_INVERT,
    NTF_PROXY,
    RTN_BLACKHOLE,
)
from podway.netlink.refusals import field_at_fault
from podway.netlink.wire import Ack

V4, V6 = pack_address("10.244.1.0"), pack_address("2001:db8::")
MAC = "0a:58:0a:f4:01:00"


def test_a_netlink_error_is_ours_and_an_oserror_with_its_errno() -> None:
    error = NetlinkError(errno.ENODEV, "delete link x", "", "")
    assert isinstance(error, PodwayError)
    assert isinstance(error, OSError)
    assert (error.errno, error.strerror) == (errno.ENODEV, "No such device")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(
            NetlinkError(errno.ENETUNREACH, "create route 10.0.0.0/8 dev eth0"),
            "cannot create route 10.0.0.0/8 dev eth0: Network is unreachable (ENETUNREACH)",
            id="errno alone",
        ),
        pytest.param(
            NetlinkError(errno.EINVAL, "create link x", "MTU too big", "mtu"),
            "cannot create link x: Invalid argument (EINVAL): MTU too big [field mtu]",
            id="with the kernel's words and field",
        ),
        pytest.param(
            NetlinkError(errno.EINVAL, "create link x", "", "linkinfo.data.id", is_missing=True),
            "cannot create link x: Invalid argument (EINVAL) [missing field linkinfo.data.id]",
            id="with a missing field",
        ),
        pytest.param(
            NetlinkError(4095, "read rule", ""),
            "cannot read rule: Unknown error 4095 (4095)",
            id="an errno without a name",
        ),
        pytest.param(
            NetnsError(errno.ENOENT, "open network namespace /run/netns/x"),
            "cannot open network namespace /run/netns/x: No such file or directory (ENOENT)",
            id="namespace",
        ),
        pytest.param(
            NetnsError(errno.EINVAL, "enter fd 3", "no namespace"),
            "cannot enter fd 3: Invalid argument (EINVAL); no namespace",
            id="namespace with a hint",
        ),
    ],
)
def test_an_error_reads(error: Exception, expected: str) -> None:
    assert str(error) == expected


@pytest.mark.parametrize("error_class", [NetlinkError, NetnsError])
@pytest.mark.parametrize(
    ("number", "is_not_found", "is_exists"),
    [
        (errno.ENODEV, True, False),
        (errno.ENOENT, True, False),
        (errno.ESRCH, True, False),
        (errno.EADDRNOTAVAIL, True, False),
        (errno.EEXIST, False, True),
        (errno.EPERM, False, False),
    ],
)
def test_predicates(error_class: Any, number: int, *, is_not_found: bool, is_exists: bool) -> None:
    error = error_class(number, "delete link x")
    assert (error.is_not_found, error.is_exists) == (is_not_found, is_exists)


def test_a_lost_thread_ends_whatever_is_caught() -> None:
    assert issubclass(NamespaceLostError, SystemExit)
    assert not issubclass(NamespaceLostError, Exception)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(
            create_link({"ifname": "x", "linkinfo": {"kind": "veth"}, "master": 3}),
            "create link x kind veth master dev3",
            id="link",
        ),
        pytest.param(delete_link({"index": 3}), "delete link dev3", id="link by index"),
        pytest.param(dump_links(), "list every link with ext_mask 8", id="links"),
        pytest.param(change_bridge_port({"index": 3}), "change link dev3", id="bridge port"),
        pytest.param(
            create_address({"family": AF_INET, "local": V4, "prefixlen": 24, "index": 3}),
            "create address 10.244.1.0/24 dev dev3",
            id="address",
        ),
        pytest.param(
            create_route({"dst": V4, "dst_len": 24, "gateway": V4, "oif": 3}),
            "create route 10.244.1.0/24 via 10.244.1.0 dev dev3",
            id="route",
        ),
        pytest.param(
            create_route({"family": AF_INET6, "oif": 3, "table": 1000, "priority": 5}),
            "create route default dev dev3 table 1000 metric 5",
            id="default route",
        ),
        pytest.param(
            create_route({"type": RTN_BLACKHOLE, "dst": V6, "dst_len": 32}),
            "create route blackhole 2001:db8::/32",
            id="blackhole",
        ),
        pytest.param(
            create_route(
                {
                    "dst": V4,
                    "dst_len": 24,
                    "multipath": [
                        {"ifindex": 3, "gateway": V4},
                        {"ifindex": 4, "via": {"family": AF_INET6, "addr": V6}},
                    ],
                }
            ),
            "create route 10.244.1.0/24 via 10.244.1.0 dev dev3 via 2001:db8:: dev dev4",
            id="multipath",
        ),
        pytest.param(
            create_route({"dst": b"\1", "dst_len": 8}), r"create route b'\x01'/8", id="no address"
        ),
        pytest.param(
            dump_routes(AF_INET, protocol=112),
            "list every route with family 2, protocol 112",
            id="routes",
        ),
        pytest.param(dump_rules(), "list every rule", id="rules"),
        pytest.param(
            create_neighbour({"ifindex": 3, "dst": V4, "lladdr": MAC}),
            f"create neighbour 10.244.1.0 lladdr {MAC} dev dev3",
            id="neighbour",
        ),
        pytest.param(
            create_neighbour({"ifindex": 3, "dst": V4, "flags": NTF_PROXY}),
            "create proxy 10.244.1.0 dev dev3",
            id="proxy",
        ),
        pytest.param(
            create_fdb({"ifindex": 3, "dst": V4, "lladdr": MAC}),
            f"create fdb {MAC} dst 10.244.1.0 dev dev3",
            id="fdb",
        ),
        pytest.param(
            create_rule(
                {
                    "flags": FIB_RULE_INVERT,
                    "priority": 9,
                    "src": V4,
                    "src_len": 24,
                    "dst": V4,
                    "dst_len": 32,
                    "fwmark": 16,
                    "iifname": "eth0",
                    "table": 7,
                }
            ),
            "create rule priority 9 not from 10.244.1.0/24 to 10.244.1.0/32 "
            "fwmark 0x10/0xffffffff iif eth0 lookup 7",
            id="rule",
        ),
        pytest.param(get_netconf(AF_INET, 3), "read netconf dev dev3", id="netconf"),
        pytest.param(get_netconf(AF_INET, -1), "read netconf", id="netconf of all"),
    ],
)
def test_an_operation_in_words(request_: Request[Any], expected: str) -> None:
    assert request_.describe(lambda index: f"dev{index}") == expected


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        pytest.param({}, "", id="the kernel points nowhere"),
        pytest.param({"offs": 32}, "ifname", id="first attribute"),
        pytest.param({"offs": 40}, "linkinfo", id="a nest"),
        pytest.param({"offs": 60}, "linkinfo.data.id", id="deep inside"),
        pytest.param({"offs": 4000}, "", id="past the end"),
        pytest.param({"miss_type": 4}, "mtu", id="missing in the message"),
        pytest.param({"miss_type": 1, "miss_nest": 40}, "linkinfo.kind", id="missing in a nest"),
        pytest.param({"miss_type": 99}, "IFLA#99", id="missing, and unknown to us"),
    ],
)
def test_thefield_at_fault(details: dict[str, Any], expected: str) -> None:
    request = create_link({"ifname": "x", "linkinfo": {"kind": "vxlan", "data": {"id": 1 << 24}}})
    assert field_at_fault(request, Ack(errno.EINVAL, details)) == expected
