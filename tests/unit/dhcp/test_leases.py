"""What a server gave, as a lease and as a result; hostile values among it."""

from collections.abc import Callable
from ipaddress import IPv4Address
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.dhcp_conf import DEFAULT_DHCP_SOCKET, DhcpConf
from podway.cni.results import Ip, Result, Route, parse_result, result_document
from podway.cni.values import replace
from podway.dhcp.errors import LeaseError
from podway.dhcp.leases import Lease, compute_times, parse_lease, result_of
from podway.dhcp.options import read_classless_routes, read_prefix_bits, read_static_routes
from podway.dhcp.packets import Kind
from unit.dhcp.servers import (
    ADDRESS,
    OTHER_ADDRESS,
    SERVER,
    SERVER_MAC,
    said,
    seconds,
    usual,
)

CONF = DhcpConf(
    socket_path=DEFAULT_DHCP_SOCKET,
    requested=(3, 1),
    provided=(),
    priority=0,
    suppresses_gateway=False,
)


def lease_of(options: dict[int, bytes], address: IPv4Address = ADDRESS) -> Lease:
    message = said(Kind.ACK, options=options, address=address).message
    return parse_lease(message, None, SERVER_MAC, 100.0)


def test_a_lease() -> None:
    assert lease_of({}) == Lease(
        address=ADDRESS,
        prefix_bits=24,
        server=SERVER,
        server_mac=SERVER_MAC,
        options=usual(),
        renewal_s=600.0,
        rebinding_s=950.0,
        expiry_s=1100.0,
    )


@pytest.mark.parametrize(
    ("options", "address"),
    [
        pytest.param({54: b""}, ADDRESS, id="no server"),
        pytest.param({54: b"\0\0\0\0"}, ADDRESS, id="server 0.0.0.0"),
        pytest.param({1: b""}, ADDRESS, id="no mask"),
        pytest.param({1: b"\xff\0\xff\0"}, ADDRESS, id="mask with a hole"),
        pytest.param({1: b"\0\0\0\0"}, ADDRESS, id="mask of nothing"),
        pytest.param({1: b"\xff\xff"}, ADDRESS, id="half a mask"),
        pytest.param({51: seconds(0)}, ADDRESS, id="for no time"),
        pytest.param({}, IPv4Address("0.0.0.0"), id="no address"),
        pytest.param({}, IPv4Address("127.0.0.1"), id="loopback"),
        pytest.param({}, IPv4Address("224.0.0.1"), id="multicast"),
        pytest.param({}, IPv4Address("255.255.255.255"), id="broadcast"),
    ],
)
def test_of_no_use(options: dict[int, bytes], address: IPv4Address) -> None:
    with pytest.raises(LeaseError):
        lease_of(options, address)


def test_another_address_than_the_containers() -> None:
    with pytest.raises(LeaseError):
        parse_lease(said(Kind.ACK).message, OTHER_ADDRESS, SERVER_MAC, 0.0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({51: seconds(100)}, (50, 85, 100), id="shares of the lease"),
        pytest.param({}, (1800, 3060, 3600), id="no time told"),
        pytest.param({51: b"\0\1"}, (1800, 3060, 3600), id="half a time"),
        pytest.param({51: b"\xff" * 4, 58: seconds(5)}, (inf, inf, inf), id="for ever"),
        pytest.param({51: seconds(100), 58: seconds(10), 59: seconds(20)}, (10, 20, 100),
                     id="as told"),
        pytest.param({51: seconds(100), 58: seconds(90), 59: seconds(80)}, (50, 80, 100),
                     id="renewal after rebinding"),
        pytest.param({51: seconds(100), 59: seconds(101)}, (50, 85, 100),
                     id="rebinding after expiry"),
        pytest.param({51: seconds(100), 59: seconds(30)}, (30, 30, 100),
                     id="rebinding before the usual renewal"),
        pytest.param({51: seconds(100), 58: seconds(0)}, (50, 85, 100), id="renewal at once"),
        pytest.param({51: seconds(1)}, (0.85, 0.85, 1), id="a second"),
        pytest.param({51: seconds(2)}, (1, 1.7, 2), id="two seconds"),
    ],
)  # fmt: skip
def test_times(options: dict[int, bytes], expected: tuple[float, float, float]) -> None:
    assert compute_times(options) == expected


@given(st.dictionaries(st.sampled_from([51, 58, 59]), st.binary(min_size=3, max_size=5)))
def test_times_are_in_order(options: dict[int, bytes]) -> None:
    renewal_s, rebinding_s, expiry_s = compute_times(options)
    assert 0 <= renewal_s <= rebinding_s <= expiry_s


DEFAULT = Route(dst="0.0.0.0/0", gw="10.1.0.1")
GATEWAY = bytes([10, 1, 0, 1])


@pytest.mark.parametrize(
    ("options", "routes"),
    [
        pytest.param({}, (DEFAULT,), id="router"),
        pytest.param({3: b""}, (), id="no router"),
        pytest.param({3: bytes(4) + GATEWAY}, (DEFAULT,), id="the first router that is one"),
        pytest.param({3: GATEWAY + b"\1"}, (), id="router and a bit"),
        pytest.param(
            {33: bytes([192, 168, 7, 0]) + GATEWAY + bytes([172, 16, 0, 0]) + GATEWAY},
            (Route(dst="192.168.7.0/24", gw="10.1.0.1"), Route(dst="172.16.0.0/16", gw="10.1.0.1"),
             DEFAULT),
            id="static routes by class, and the router",
        ),
        pytest.param({33: bytes([10, 2, 3, 4]) + GATEWAY}, (Route(dst="10.0.0.0/8", gw="10.1.0.1"),
                     DEFAULT), id="static route to a host"),
        pytest.param({33: bytes(4) + GATEWAY}, (DEFAULT,), id="static default is none"),
        pytest.param({33: bytes([240, 0, 0, 0]) + GATEWAY}, (DEFAULT,), id="static class E"),
        pytest.param({33: bytes([192, 168, 7, 0]) + GATEWAY + b"\1"}, (DEFAULT,), id="static torn"),
        pytest.param(
            {121: bytes([24, 192, 168, 7]) + GATEWAY + bytes([0]) + GATEWAY + bytes([32, 10, 9, 8,
             7]) + bytes(4), 33: bytes([10, 2, 3, 4]) + GATEWAY},
            (Route(dst="192.168.7.0/24", gw="10.1.0.1"), DEFAULT,
             Route(dst="10.9.8.7/32", scope=253)),
            id="classless routes alone",
        ),
        pytest.param({121: bytes([8, 10]) + GATEWAY}, (Route(dst="10.0.0.0/8", gw="10.1.0.1"),),
                     id="classless without default"),
        pytest.param({121: bytes([20, 10, 1, 255]) + GATEWAY},
                     (Route(dst="10.1.240.0/20", gw="10.1.0.1"),), id="bits beyond the length"),
        pytest.param({121: bytes([33, 1, 2, 3, 4, 5]) + GATEWAY}, (DEFAULT,), id="too long"),
        pytest.param({121: bytes([24, 192, 168])}, (DEFAULT,), id="classless torn"),
        pytest.param({121: bytes([8, 10, 255, 255, 255, 255])}, (DEFAULT,), id="no gateway"),
    ],
)  # fmt: skip
def test_routes(options: dict[int, bytes], routes: tuple[Route, ...]) -> None:
    assert result_of(lease_of(options), CONF).routes == routes


def test_the_result() -> None:
    assert result_of(lease_of({}), CONF) == Result(
        ips=(Ip(address="10.1.0.50/24", gateway="10.1.0.1"),), routes=(DEFAULT,)
    )


def test_the_result_without_gateway() -> None:
    options = {121: bytes([0]) + GATEWAY + bytes([8, 20]) + GATEWAY}
    result = result_of(lease_of(options), replace(CONF, suppresses_gateway=True))
    assert result.ips == (Ip(address="10.1.0.50/24"),)
    assert result.routes == (Route(dst="20.0.0.0/8", gw="10.1.0.1"),)


def test_the_routes_metric() -> None:
    result = result_of(lease_of({}), replace(CONF, priority=50))
    assert result.routes == (Route(dst="0.0.0.0/0", gw="10.1.0.1", priority=50),)


@given(st.dictionaries(st.sampled_from([1, 3, 33, 121, 51, 54]), st.binary(max_size=40)))
def test_whatever_a_server_says_is_a_result_or_of_no_use(options: dict[int, bytes]) -> None:
    try:
        result = result_of(lease_of(options), CONF)
    except LeaseError:
        return
    assert parse_result(result_document(result, "1.1.0")) == result


@pytest.mark.parametrize("read", [read_classless_routes, read_static_routes])
@given(value=st.binary(max_size=80))
def test_any_bytes_are_routes_or_none(read: Callable[[bytes], object], value: bytes) -> None:
    assert isinstance(read(value), tuple)


@given(st.integers(1, 32))
def test_masks(bits: int) -> None:
    mask = ((1 << 32) - (1 << (32 - bits))).to_bytes(4, "big")
    assert read_prefix_bits({1: mask}) == bits
