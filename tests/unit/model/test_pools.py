"""Several prefixes in one network: what net-conf.json may say, and what it may not."""

import json
from typing import Any

import pytest

from podway.errors import ConfigError
from podway.model.addresses import Family
from podway.model.networks import parse_network
from podway.model.pools import Pool
from podway.store.codec import encode_network

IPV4 = {"Network": "10.244.0.0/16"}
DUAL = {**IPV4, "EnableIPv6": True, "IPv6Network": "fd00:10:244::/48"}


def pools(document: dict[str, Any]) -> list[str]:
    return [describe(pool) for pool in parse_network(json.dumps(document)).pools]


def describe(pool: Pool) -> str:
    low, high = pool.subnet_min.network_address, pool.subnet_max.network_address
    drains = " drains" if pool.drain else ""
    return f"{pool.prefix} /{pool.subnet_len} {low} {high} {pool.room}{drains}"


FIRST = "10.244.0.0/16 /24 10.244.1.0 10.244.255.0 255"
FIRST_IPV6 = "fd00:10:244::/48 /64 fd00:10:244:1:: fd00:10:244:ffff:: 65535"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param({**IPV4, "Networks": []}, [FIRST], id="none"),
        pytest.param({**IPV4, "Networks": None}, [FIRST], id="null is absent"),
        pytest.param(
            {**IPV4, "Networks": ["10.99.0.0/16", "10.0.0.0/22"]},
            [
                FIRST,
                "10.99.0.0/16 /24 10.99.1.0 10.99.255.0 255",
                "10.0.0.0/22 /24 10.0.1.0 10.0.3.0 3",
            ],
            id="in their own order, cut by flannel's rule",
        ),
        pytest.param(
            {**DUAL, "Networks": ["fd00:99::/48", "10.99.0.0/16"]},
            [
                FIRST,
                "10.99.0.0/16 /24 10.99.1.0 10.99.255.0 255",
                FIRST_IPV6,
                "fd00:99::/48 /64 fd00:99:0:1:: fd00:99:0:ffff:: 65535",
            ],
            id="IPv4 first",
        ),
        pytest.param(
            {
                **IPV4,
                "networks": [
                    {
                        "network": "10.99.0.0/16",
                        "SUBNETLEN": 26,
                        "SubnetMin": "10.99.1.0",
                        "SubnetMax": "10.99.2.64",
                        "drain": True,
                    }
                ],
            },
            [FIRST, "10.99.0.0/16 /26 10.99.1.0 10.99.2.64 6 drains"],
            id="every key, in any case",
        ),
        pytest.param(
            {**IPV4, "SubnetLen": 26, "Networks": [{"Network": "10.99.0.0/16", "Drain": False}]},
            [
                "10.244.0.0/16 /26 10.244.0.64 10.244.255.192 1023",
                "10.99.0.0/16 /24 10.99.1.0 10.99.255.0 255",
            ],
            id="the first one's keys are its own",
        ),
    ],
)
def test_pools(document: dict[str, Any], expected: list[str]) -> None:
    assert pools(document) == expected
    network = parse_network(json.dumps(document))
    assert parse_network(encode_network(network)) == network


ENTRY = "must be a prefix, or an object with Network"
PREFIX = "must be a prefix such as 10.244.0.0/16"


@pytest.mark.parametrize(
    ("further", "field", "value", "rule"),
    [
        pytest.param(
            "10.99.0.0/16",
            "Networks",
            "10.99.0.0/16",
            "must be a list of prefixes, or of objects with them",
            id="no list",
        ),
        pytest.param([7], "Networks[0]", 7, ENTRY, id="a number"),
        pytest.param(["10.99.0.0/16", None], "Networks[1]", None, ENTRY, id="null in the list"),
        pytest.param([{}], "Networks[0].Network", None, PREFIX, id="no prefix"),
        pytest.param(
            ["10.99.0.1/16"],
            "Networks[0].Network",
            "10.99.0.1/16",
            f"{PREFIX}: 10.99.0.1/16 has host bits set",
            id="host bits",
        ),
        pytest.param(
            ["fd00:99::/48"],
            "Networks[0].Network",
            "fd00:99::/48",
            "is IPv6, which EnableIPv6 leaves out",
            id="a family that is not enabled",
        ),
        pytest.param(
            [{"Network": "10.99.0.0/16", "Drain": "yes"}],
            "Networks[0].Drain",
            "yes",
            "must be true or false",
            id="Drain",
        ),
        pytest.param(
            [{"Network": "10.99.0.0/16", "SubnetLen": 17}],
            "Networks[0].SubnetLen",
            17,
            "must be a whole number, 18 to 30",
            id="SubnetLen",
        ),
        pytest.param(
            [{"Network": "10.99.0.0/16", "SubnetMin": "10.98.0.0"}],
            "Networks[0].SubnetMin",
            "10.98.0.0",
            "must lie in 10.99.0.0/16",
            id="SubnetMin",
        ),
        pytest.param(
            ["10.99.0.0/29"],
            "Networks[0].Network",
            "10.99.0.0/29",
            "must be /28 or larger",
            id="too small",
        ),
        pytest.param(
            ["10.244.7.0/24"],
            "Networks",
            "10.244.7.0/24",
            "must not overlap 10.244.0.0/16",
            id="in",
        ),
        pytest.param(
            ["10.0.0.0/8"], "Networks", "10.0.0.0/8", "must not overlap 10.244.0.0/16", id="around"
        ),
        pytest.param(
            ["10.99.0.0/16", "10.99.0.0/16"],
            "Networks",
            "10.99.0.0/16",
            "must not overlap 10.99.0.0/16",
            id="twice",
        ),
    ],
)
def test_refused(further: object, field: str, value: object, rule: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_network(json.dumps({**IPV4, "Networks": further}))
    assert (refused.value.field, refused.value.value, refused.value.rule) == (field, value, rule)


def test_where_a_subnet_lies() -> None:
    network = parse_network(json.dumps({**DUAL, "Networks": ["10.99.0.0/16"]}))
    assert [str(each) for each in network.prefixes(Family.IPV4)] == [
        "10.244.0.0/16",
        "10.99.0.0/16",
    ]
    for pool in network.pools:
        assert network.pool_around(pool.subnet_at(pool.last)) is pool
        assert network.pool_around(pool.prefix) is pool
    outside = parse_network('{"Network": "10.0.0.0/16"}').pools[0].prefix
    assert network.pool_around(outside) is None
