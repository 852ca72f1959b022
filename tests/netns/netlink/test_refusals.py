"""What the kernel refuses: its reason, the field that it points at, devices by name."""

import errno
from typing import Any

import pytest

from netns.netlink.many_routes import blackhole, unreachable_hop
from podway.netlink import (
    NetlinkError,
    NetlinkSocket,
    Request,
    change_link,
    create_link,
    create_route,
    get_link,
)


@pytest.mark.parametrize(
    ("request_", "number", "reason", "field"),
    [
        pytest.param(
            create_link(
                {"ifname": "vx", "linkinfo": {"kind": "vxlan", "data": {"id": 1 << 24, "port": 1}}}
            ),
            errno.ERANGE,
            "VXLAN ID must be lower than 16777216",
            "linkinfo.data.id",
            id="value out of range",
        ),
        pytest.param(
            create_link({"ifname": "x", "linkinfo": {"kind": "nonsense"}}),
            errno.EOPNOTSUPP,
            "Unknown device type",
            "",
            id="unknown kind",
        ),
        pytest.param(
            create_route(unreachable_hop(1)),
            errno.ENETUNREACH,
            "Nexthop has invalid gateway",
            "",
            id="next hop out of reach",
        ),
        pytest.param(
            create_route(blackhole(1) | {"dst_len": 33}),
            errno.EINVAL,
            "Invalid prefix length",
            "",
            id="prefix too long",
        ),
        pytest.param(
            change_link({"ifname": "lo", "mtu": 10, "txqlen": 1 << 31, "ifalias": "a" * 300}),
            errno.ERANGE,
            "",
            "ifalias",
            id="attribute longer than its policy",
        ),
    ],
)
def test_the_kernels_reason_is_in_the_error(
    netlink: NetlinkSocket, request_: Request[Any], number: int, reason: str, field: str
) -> None:
    with pytest.raises(NetlinkError) as caught:
        netlink.request(request_)
    assert caught.value.errno == number
    assert reason in caught.value.reason
    assert caught.value.attribute == field


def test_an_error_names_devices_by_name(netlink: NetlinkSocket, veth: int) -> None:
    fields = unreachable_hop(0x0AF40000 - 0x0B000000) | {"dst_len": 24, "oif": veth}
    with pytest.raises(NetlinkError) as caught:
        netlink.request(create_route(fields))
    assert str(caught.value) == (
        "cannot create route 10.244.0.0/24 via 203.0.113.1 dev v0: "
        "Network is unreachable (ENETUNREACH): Nexthop has invalid gateway"
    )


def test_an_error_about_a_device_that_is_not_there_shows_its_number(netlink: NetlinkSocket) -> None:
    with pytest.raises(NetlinkError) as caught:
        netlink.request(create_route(blackhole(1) | {"type": 1, "oif": 4242}))
    assert caught.value.is_not_found
    assert caught.value.operation == "create route 11.0.0.1/32 dev #4242"


def test_reading_what_is_not_there(netlink: NetlinkSocket) -> None:
    with pytest.raises(NetlinkError) as caught:
        netlink.request(get_link({"ifname": "nope"}))
    assert (caught.value.errno, caught.value.is_not_found) == (errno.ENODEV, True)
    assert caught.value.operation == "read link nope"
