"""The configuration of ``bandwidth``, and what it comes to."""

from typing import Any

import pytest

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.netlink.constants import ETH_P_IP, ETH_P_IPV6
from podway.netlink.traffic_filters import split_filter_info
from podway.plugins.bandwidth_conf import BandwidthConf, Limit, Subnet, parse_conf
from podway.plugins.bandwidth_devices import ifb_name
from podway.plugins.bandwidth_plans import (
    DESTINATION,
    SHAPED,
    SOURCE,
    UNSHAPED,
    compute_redirection,
    compute_shaper,
)
from unit.plugins.plugin_calls import call_of

EGRESS = {"egressRate": 8000, "egressBurst": 800}
LIMIT = Limit(rate_bytes_ps=1000, burst_bytes=100)
TEN = Subnet(packed=bytes([10, 0, 0, 0]), bits=8)


def conf_of(**config: Any) -> BandwidthConf:
    return parse_conf(call_of(config).config)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({}, BandwidthConf(ingress=None, egress=None), id="nothing"),
        pytest.param(EGRESS, BandwidthConf(ingress=None, egress=LIMIT), id="one way"),
        pytest.param(
            {"INGRESSRATE": 8007, "ingressburst": 807},
            BandwidthConf(ingress=LIMIT, egress=None),
            id="keys without case, bits rounded down",
        ),
        pytest.param(
            {"runtimeConfig": {"bandwidth": EGRESS}},
            BandwidthConf(ingress=None, egress=LIMIT),
            id="by the runtime",
        ),
        pytest.param(
            {"ingressRate": 0, "runtimeConfig": {"bandwidth": EGRESS}},
            BandwidthConf(ingress=None, egress=None),
            id="the configuration counts before the runtime, all of it",
        ),
        pytest.param(
            {**EGRESS, "shapedSubnets": ["10.1.2.3/8"]},
            BandwidthConf(ingress=None, egress=LIMIT, subnets=(TEN,), shapes_subnets=True),
            id="some subnets",
        ),
        pytest.param(
            {**EGRESS, "unshapedSubnets": ["10.0.0.0/8"], "shapedSubnets": []},
            BandwidthConf(ingress=None, egress=LIMIT, subnets=(TEN,)),
            id="all but some subnets",
        ),
        pytest.param(
            {"egressRate": 8 * 10**11, "egressBurst": 2**35 - 9},
            BandwidthConf(ingress=None, egress=Limit(rate_bytes_ps=10**11, burst_bytes=2**32 - 2)),
            id="the most",
        ),
    ],
)
def test_configurations(config: dict[str, Any], expected: BandwidthConf) -> None:
    assert conf_of(**config) == expected


@pytest.mark.parametrize(
    ("config", "field"),
    [
        pytest.param({"egressRate": 8000}, "egressBurst", id="rate alone"),
        pytest.param({"ingressBurst": 800}, "ingressRate", id="burst alone"),
        pytest.param({"egressRate": 7, "egressBurst": 80}, "egressRate", id="rate of no byte"),
        pytest.param({"egressRate": 8, "egressBurst": 7}, "egressBurst", id="burst of no byte"),
        pytest.param({"egressRate": 10**10, "egressBurst": 8000}, "egressBurst", id="under 1 µs"),
        pytest.param({"egressRate": 8, "egressBurst": 2**35 - 8}, "egressBurst", id="4 GiB"),
        pytest.param({"egressRate": 2**64, "egressBurst": 80}, "egressRate", id="over 64 bits"),
        pytest.param({"egressRate": -8, "egressBurst": 80}, "egressRate", id="negative"),
        pytest.param({"egressRate": "8M", "egressBurst": 80}, "egressRate", id="text"),
        pytest.param({"egressRate": 8e6, "egressBurst": 80}, "egressRate", id="fraction"),
        pytest.param({"egressRate": True, "egressBurst": 80}, "egressRate", id="boolean"),
        pytest.param({"shapedSubnets": "10.0.0.0/8"}, "shapedSubnets", id="no list"),
        pytest.param({"shapedSubnets": [8]}, "shapedSubnets[0]", id="no text"),
        pytest.param({"unshapedSubnets": ["10.0.0.0"]}, "unshapedSubnets[0]", id="no length"),
        pytest.param({"unshapedSubnets": ["10.0.0.0/33"]}, "unshapedSubnets[0]", id="too long"),
        pytest.param({"unshapedSubnets": ["::/0", "x/8"]}, "unshapedSubnets[1]", id="no address"),
        pytest.param(
            {"shapedSubnets": ["::/0"], "unshapedSubnets": ["::/1"]}, "shapedSubnets", id="both"
        ),
        pytest.param({"runtimeConfig": {"bandwidth": 1}}, "runtimeConfig.bandwidth", id="number"),
        pytest.param(
            {"runtimeConfig": {"bandwidth": {"egressRate": 8000}}},
            "runtimeConfig.bandwidth.egressBurst",
            id="by the runtime",
        ),
    ],
)
def test_refusals(config: dict[str, Any], field: str) -> None:
    with pytest.raises(CniError) as caught:
        conf_of(**config)
    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith(f"{field} = ")


def test_a_limit_is_a_token_bucket() -> None:
    shaper = compute_shaper(LIMIT, BandwidthConf(ingress=LIMIT, egress=None), SOURCE)
    assert shaper.qdisc["kind"] == "tbf"
    # 25 ms of 1000 bytes per second, and the burst; 100 ms in ticks of 64 ns.
    parms = {"rate": 1000, "limit": 125, "buffer": 1_562_500}
    assert shaper.qdisc["options"] == {"parms": parms}
    assert (shaper.classes, shaper.filters) == ((), ())


@pytest.mark.parametrize("shapes_subnets", [True, False])
def test_subnets_are_told_by_the_other_ends_address(*, shapes_subnets: bool) -> None:
    packed = bytes.fromhex("20010db8000000010000000000000000")
    conf = BandwidthConf(
        ingress=LIMIT,
        egress=LIMIT,
        subnets=(TEN, Subnet(packed=packed, bits=64)),
        shapes_subnets=shapes_subnets,
    )
    target, default = (SHAPED, 1) if shapes_subnets else (UNSHAPED, 0x30)
    for address, four, six in ((SOURCE, 12, 8), (DESTINATION, 16, 24)):
        shaper = compute_shaper(LIMIT, conf, address)
        assert shaper.qdisc["options"]["init"]["defcls"] == default
        assert [each["handle"] for each in shaper.classes] == [SHAPED, UNSHAPED]
        assert [split_filter_info(each["info"]) for each in shaper.filters] == [
            (16, ETH_P_IP),
            (15, ETH_P_IPV6),
        ]
        assert {each["options"]["classid"] for each in shaper.filters} == {target}
        keys = [each["options"]["sel"]["keys"] for each in shaper.filters]
        assert keys == [
            [{"mask": 0xFF000000, "val": 0x0A000000, "off": four}],
            [
                {"mask": 0xFFFFFFFF, "val": 0x20010DB8, "off": six},
                {"mask": 0xFFFFFFFF, "val": 0x00000001, "off": six + 4},
            ],
        ]


def test_everything_is_redirected() -> None:
    options = compute_redirection(7)["options"]
    assert options["sel"]["keys"] == [{"mask": 0, "val": 0, "off": 0}]
    assert options["act"][0]["options"]["parms"]["ifindex"] == 7


def test_devices_are_called_as_the_originals() -> None:
    # printf %s netcontainer-id | sha512sum
    assert ifb_name("net", "container-id") == "bwp18c3035df614"
