"""Whatever stands in a configuration: plugins behind another one read it or refuse it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from podway.plugins import bandwidth_conf, sbr_conf, tuning_conf, vrf_conf
from podway.plugins.bandwidth_plans import DESTINATION, compute_shaper, shaper_requests
from podway.plugins.skeleton import Call
from unit.plugins.plugin_calls import call_of


def parse_bandwidth(call: Call) -> None:
    """Read the configuration, and put what it comes to into bytes."""
    conf = bandwidth_conf.parse_conf(call.config)
    for limit in conf.limits:
        for request in shaper_requests(compute_shaper(limit, conf, DESTINATION), 1):
            request.schema.encode(request.fields)


def parse_tuning(call: Call) -> None:
    """Read the configuration; no parameter may be anywhere but below net."""
    for sysctl in tuning_conf.parse_conf(call.request).sysctls:
        assert sysctl.path.startswith("net/")
        assert not {"", ".", ".."} & set(sysctl.path.split("/"))


PARSERS: dict[str, Callable[[Call], object]] = {
    "bandwidth": parse_bandwidth,
    "sbr": lambda call: sbr_conf.parse_conf(call.config),
    "tuning": parse_tuning,
    "vrf": lambda call: vrf_conf.parse_conf(call.request),
}
NUMBERS = st.one_of(st.integers(-2, 1 << 66), st.sampled_from([7, 8, 2**32, 2**35 - 9, 2**64 - 1]))
SYSCTLS = st.text("net./IFNAME\0 x", max_size=24)
WORDS = ["eth0", "../eth0", "10.0.0.0/8", "10.0.0.1", "::1", "0a:00:00:00:00:01", "/run/x", "a\nb"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(WORDS),
    st.lists(st.one_of(st.sampled_from(WORDS), NUMBERS), max_size=3),
    st.dictionaries(SYSCTLS, st.one_of(st.text(max_size=3), NUMBERS), max_size=3),
)
KEYS = [
    "addSourceHints", "allmulti", "dataDir", "egressBurst", "egressRate", "gateways",
    "ingressBurst", "ingressRate", "mac", "mtu", "promisc", "shapedSubnets", "sysctl", "table",
    "txQLen", "unshapedSubnets", "vrfname",
]  # fmt: skip
CONFIGS = st.dictionaries(st.sampled_from(KEYS), VALUES)
LIMITS = st.fixed_dictionaries(
    {"egressRate": NUMBERS, "egressBurst": NUMBERS},
    optional={"shapedSubnets": st.lists(st.sampled_from(["10.0.0.0/8", "::/0", "fd01::/65"]))},
)


def refusal_of(plugin: str, call: Call) -> CniError | None:
    try:
        PARSERS[plugin](call)
    except CniError as error:
        return error
    return None


@pytest.mark.parametrize("plugin", PARSERS)
@given(config=CONFIGS, told=CONFIGS, args=st.sampled_from(["", "MAC=x", "IgnoreUnknown=1;X=1"]))
def test_any_configuration(
    plugin: str, config: dict[str, Any], told: dict[str, Any], args: str
) -> None:
    whole = {**config, "args": {"cni": told}, "runtimeConfig": {"bandwidth": told}}
    refusal = refusal_of(plugin, call_of(whole, CNI_ARGS=args))
    if refusal is not None:
        assert refusal.code in {INVALID_CONFIG, INVALID_ENVIRONMENT}
        assert refusal.msg


@given(config=LIMITS)
def test_any_limit_fits_the_kernels_numbers(config: dict[str, Any]) -> None:
    refusal = refusal_of("bandwidth", call_of(config))
    assert refusal is None or refusal.code == INVALID_CONFIG


@given(key=SYSCTLS)
def test_any_key_of_a_parameter(key: str) -> None:
    refusal = refusal_of("tuning", call_of({"sysctl": {key: "1"}}))
    assert refusal is None or refusal.code == INVALID_CONFIG
