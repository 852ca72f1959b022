"""What host-local reads in its configuration, and what it refuses."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from podway.cni.results import Dns, Route
from podway.plugins.host_local_conf import HostLocalConf, parse_host_local_conf
from podway.plugins.host_local_pools import Range, find_range, iter_candidates
from podway.plugins.ipam_keys import DEFAULT_DATA_DIR
from podway.plugins.resolv_conf import parse_resolv_conf
from unit.plugins.plugin_calls import call_of


def parse(ipam: Any, *, version: str = "1.1.0", args: str = "", **keys: Any) -> HostLocalConf:
    config = {"ipam": ipam, "cniVersion": version, **keys}
    return parse_host_local_conf(call_of(config, CNI_ARGS=args).request)


def shown(conf: HostLocalConf) -> list[list[tuple[str, str, str]]]:
    return [
        [(each.render(each.first), each.render(each.last), each.render(each.gateway)) for each in p]
        for p in conf.pools
    ]


@pytest.mark.parametrize(
    ("ipam", "pools"),
    [
        pytest.param(
            {"subnet": "10.1.0.0/24"}, [[("10.1.0.1", "10.1.0.254", "10.1.0.1")]], id="one subnet"
        ),
        pytest.param(
            {"ranges": [[{"subnet": "fd00::/64"}]]},
            [[("fd00::1", "fd00::ffff:ffff:ffff:ffff", "fd00::1")]],
            id="IPv6 has no broadcast address",
        ),
        pytest.param(
            {
                "subnet": "10.1.0.0/24",
                "rangeStart": "10.1.0.9",
                "rangeEnd": "10.1.0.20",
                "gateway": "10.1.0.254",
                "ranges": [
                    [{"subnet": "fd00::/64"}, {"subnet": "fd01::/64"}],
                    [{"subnet": "10.2.0.0/24"}],
                ],
            },
            [
                [("10.1.0.9", "10.1.0.20", "10.1.0.254")],
                [
                    ("fd00::1", "fd00::ffff:ffff:ffff:ffff", "fd00::1"),
                    ("fd01::1", "fd01::ffff:ffff:ffff:ffff", "fd01::1"),
                ],
                [("10.2.0.1", "10.2.0.254", "10.2.0.1")],
            ],
            id="the single range comes before ranges",
        ),
        pytest.param(
            {"subnet": "10.1.0.0/30"}, [[("10.1.0.1", "10.1.0.2", "10.1.0.1")]], id="the smallest"
        ),
        pytest.param(
            {"subnet": "10.1.0.0/24", "gateway": "192.0.2.1"},
            [[("10.1.0.1", "10.1.0.254", "192.0.2.1")]],
            id="a gateway elsewhere, as the original takes it",
        ),
        pytest.param(
            {"SubNet": "10.1.0.0/24", "RANGESTART": "10.1.0.5"},
            [[("10.1.0.5", "10.1.0.254", "10.1.0.1")]],
            id="keys without case",
        ),
    ],
)
def test_pools(ipam: dict[str, Any], pools: object) -> None:
    assert shown(parse(ipam)) == pools


def test_ranges_of_the_runtime_come_first() -> None:
    conf = parse(
        {"subnet": "10.1.0.0/24"}, runtimeConfig={"ipRanges": [[{"subnet": "10.9.0.0/24"}]]}
    )
    assert [pool[0][0] for pool in shown(conf)] == ["10.9.0.1", "10.1.0.1"]


def test_the_rest() -> None:
    conf = parse(
        {
            "subnet": "10.1.0.0/24",
            "dataDir": "/data/",
            "resolvConf": "/etc/resolv.conf",
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.0.0.0/8", "gw": "10.1.0.1", "mtu": 1400}],
        }
    )
    assert (conf.directory, conf.resolv_conf) == ("/data/net", "/etc/resolv.conf")
    assert conf.routes == (
        Route(dst="0.0.0.0/0"),
        Route(dst="10.0.0.0/8", gw="10.1.0.1", mtu=1400),
    )
    assert parse({"subnet": "10.1.0.0/24"}).directory == f"{DEFAULT_DATA_DIR}/net"


@pytest.mark.parametrize(
    ("keys", "requested"),
    [
        pytest.param({"args": "IP=10.1.0.5"}, ["10.1.0.5"], id="CNI_ARGS"),
        pytest.param({"args": "MAC=x;IgnoreUnknown=1;IP=10.1.0.5"}, ["10.1.0.5"], id="with MAC"),
        pytest.param(
            {"runtimeConfig": {"ips": ["10.1.0.6/24"]}}, ["10.1.0.6"], id="with prefix length"
        ),
        pytest.param(
            {"args": "IP=10.1.0.5", "runtimeConfig": {"ips": ["fd00::6"]}},
            ["10.1.0.5", "fd00::6"],
            id="several ways",
        ),
    ],
)
def test_requested(keys: dict[str, Any], requested: list[str]) -> None:
    conf = parse({"subnet": "10.1.0.0/24"}, **keys)
    assert [str(ip_address(ip.packed)) for ip in conf.requested] == requested


def test_requested_by_args_cni() -> None:
    call = call_of({"ipam": {"subnet": "10.1.0.0/24"}, "args": {"cni": {"ips": ["10.1.0.7"]}}})
    assert [ip.packed[-1] for ip in parse_host_local_conf(call.request).requested] == [7]


RANGE = {"subnet": "10.1.0.0/24"}
REFUSED: dict[str, Any] = {
    "no ipam": None,
    "ipam is no object": [],
    "no range": {},
    "ranges is no array": {"ranges": {}},
    "a pool is no array": {"ranges": [RANGE]},
    "a range is no object": {"ranges": [["10.1.0.0/24"]]},
    "an empty pool": {"ranges": [[]]},
    "gateway is a number, without subnet": {"ranges": [[RANGE]], "gateway": 7},
    "no subnet": {"ranges": [[{"rangeStart": "10.1.0.1"}]]},
    "subnet without length": {"subnet": "10.1.0.0"},
    "subnet with host bits": {"subnet": "10.1.0.5/24"},
    "subnet of one address": {"subnet": "10.1.0.0/32"},
    "subnet of two": {"subnet": "10.1.0.0/31"},
    "subnet is a number": {"subnet": 10},
    "start is no address": {**RANGE, "rangeStart": "10.1.0"},
    "start outside": {**RANGE, "rangeStart": "10.2.0.1"},
    "end outside": {**RANGE, "rangeEnd": "10.2.0.1"},
    "end before start": {**RANGE, "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8"},
    "start of another family": {**RANGE, "rangeStart": "fd00::1"},
    "gateway of another family": {**RANGE, "gateway": "fd00::1"},
    "a pool of two families": {"ranges": [[RANGE, {"subnet": "fd00::/64"}]]},
    "overlap within a pool": {"ranges": [[RANGE, {"subnet": "10.1.0.0/25"}]]},
    "overlap of pools": {"ranges": [[RANGE], [{"subnet": "10.1.0.128/25"}]]},
    "routes is no array": {**RANGE, "routes": "0.0.0.0/0"},
    "route without dst": {**RANGE, "routes": [{"gw": "10.1.0.1"}]},
    "route's mtu": {**RANGE, "routes": [{"dst": "0.0.0.0/0", "mtu": -1}]},
    "route's table": {**RANGE, "routes": [{"dst": "0.0.0.0/0", "table": 1 << 32}]},
    "route's scope": {**RANGE, "routes": [{"dst": "0.0.0.0/0", "scope": 256}]},
    "dataDir is relative": {**RANGE, "dataDir": "data"},
    "dataDir is a number": {**RANGE, "dataDir": 1},
    "dataDir with a zero byte": {**RANGE, "dataDir": "/da\0ta"},
    "resolvConf is relative": {**RANGE, "resolvConf": "resolv.conf"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(REFUSED[case])
    assert caught.value.code == INVALID_CONFIG


def test_two_addresses_of_a_family_need_lists() -> None:
    two = {"ranges": [[RANGE], [{"subnet": "10.2.0.0/24"}]]}
    assert len(parse(two, version="0.3.0").pools) == 2
    with pytest.raises(CniError) as caught:
        parse(two, version="0.2.0")
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize("args", ["IP=10.1.0", "WHAT=1", "IP"])
def test_arguments_refused(args: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(RANGE, args=args)
    assert caught.value.code == INVALID_ENVIRONMENT


@pytest.mark.parametrize(
    ("text", "dns"),
    [
        pytest.param("", Dns(), id="empty"),
        pytest.param(
            "# c\nnameserver 192.0.2.1\n;c\nnameserver fd00::1\ndomain d\nsearch a b\n"
            "options ndots:5 rotate\nsortlist x\nnameserver\n",
            Dns(
                nameservers=("192.0.2.1", "fd00::1"),
                domain="d",
                search=("a", "b"),
                options=("ndots:5", "rotate"),
            ),
            id="all keys",
        ),
    ],
)
def test_resolv_conf(text: str, dns: Dns) -> None:
    assert parse_resolv_conf(text) == dns


# --- pools --------------------------------------------------------------------------------------


def addresses(pool: tuple[Range, ...], last: str = "") -> list[str]:
    return [address for _, address in iter_candidates(pool, last)]


POOL = (
    {"subnet": "10.1.0.0/29", "gateway": "10.1.0.3"},
    {"subnet": "10.2.0.0/24", "rangeStart": "10.2.0.9", "rangeEnd": "10.2.0.10"},
)
ALL = ["10.1.0.1", "10.1.0.2", "10.1.0.4", "10.1.0.5", "10.1.0.6", "10.2.0.9", "10.2.0.10"]


@pytest.mark.parametrize(
    ("last", "first"),
    [
        pytest.param("", 0, id="nothing was given"),
        pytest.param("10.1.0.2", 2, id="behind the last, past the gateway"),
        pytest.param("10.1.0.6", 5, id="into the next range"),
        pytest.param("10.2.0.10", 0, id="around"),
        pytest.param("192.0.2.1", 0, id="an address of no range"),
        pytest.param("garbage", 0, id="no address"),
    ],
)
def test_order(last: str, first: int) -> None:
    pool = parse({"ranges": [POOL]}).pools[0]
    assert addresses(pool, last) == ALL[first:] + ALL[:first]


@given(
    st.integers(24, 30),
    st.integers(0, 255),
    st.integers(0, 255),
    st.one_of(st.none(), st.integers(0, 255)),
    st.integers(0, 255),
)
def test_every_address_is_offered_once(
    bits: int, start: int, end: int, gateway: int | None, last: int
) -> None:
    network = ip_network(f"10.1.0.0/{bits}")
    size = network.num_addresses
    start, end = sorted((start % size, end % size))
    document = {
        "subnet": str(network),
        "rangeStart": str(network[start]),
        "rangeEnd": str(network[end]),
    }
    if gateway is not None:
        document["gateway"] = str(network[gateway % size])
    (pool,) = parse(document).pools
    barred = {network[0], network[-1], network[1 if gateway is None else gateway % size]}
    expected = {str(network[n]) for n in range(start, end + 1) if network[n] not in barred}
    offered = addresses(pool, str(network[last % size]))
    assert len(offered) == len(set(offered))
    assert set(offered) == expected
    for address in offered:
        assert find_range(pool, ip_address(address).packed) == pool[0]


def test_a_network_is_a_directory_of_its_own(tmp_path: Path) -> None:
    call = call_of({"name": "a..b", "ipam": {"subnet": "10.1.0.0/24", "dataDir": str(tmp_path)}})
    assert parse_host_local_conf(call.request).directory == f"{tmp_path}/a..b"
