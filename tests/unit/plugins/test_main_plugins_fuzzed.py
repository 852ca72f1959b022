"""Whatever stands in a configuration: main and IPAM plugins read it or refuse it, and say why."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, UNSUPPORTED_FIELD, CniError
from podway.plugins import (
    bridge_conf,
    flannel_conf,
    host_device_conf,
    host_local_conf,
    ipvlan,
    macvlan,
    ptp_conf,
    static,
    tap,
    vlan,
)
from podway.plugins.dns import configured_dns
from podway.plugins.registry import PLUGINS
from podway.plugins.skeleton import Call
from unit.plugins.plugin_calls import call_of

PARSERS: dict[str, Callable[[Call], Any]] = {
    "bridge": bridge_conf.parse_bridge_conf,
    "dns": lambda call: configured_dns(call.config),
    "host-device": host_device_conf.parse_conf,
    "ipvlan": ipvlan.parse_child,
    "macvlan": macvlan.parse_child,
    "ptp": ptp_conf.parse_conf,
    "tap": tap.parse_conf,
    "vlan": vlan.parse_child,
}
IPAM_PARSERS: dict[str, Callable[[Call], Any]] = {
    "flannel": lambda call: flannel_conf.parse_flannel_conf(call.request),
    "host-local": lambda call: host_local_conf.parse_host_local_conf(call.request),
    "static": lambda call: static.parse_static_conf(call.request),
}
# In other files, or without keys of their own.
ELSEWHERE = {
    *("bandwidth", "sbr", "tuning", "vrf"),  # test_meta_plugins_fuzzed.py
    *("dhcp", "firewall", "portmap", "podway"),  # test_dhcp_conf.py and so on
    *("dummy", "loopback"),
}
KEYS = [
    "bcqueuelen", "bridge", "dataDir", "device", "dns", "group", "hwaddr", "ipMasq",
    "ipMasqBackend", "kernelpath", "linkInContainer", "mac", "master", "mode", "mtu", "multiQueue",
    "owner", "pciBusID", "selinuxContext", "useInterfaceNetwork", "vlanId",
    "disableContainerInterface", "enabledad", "forceAddress", "hairpinMode", "isDefaultGateway",
    "isGateway", "macspoofchk", "portIsolation", "preserveDefaultVlan", "promiscMode", "vlan",
    "vlanTrunk",
]  # fmt: skip
WORDS = ["bridge", "l2", "eth0", "../eth0", "0a:00:00:00:00:01", "/sys/devices/x", "0000:00:1f.6"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 33), 1 << 33),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(WORDS),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.sampled_from(["search", "domain", "x"]), st.text(max_size=3), max_size=2),
)


@pytest.mark.parametrize("plugin", PARSERS)
@given(config=st.dictionaries(st.sampled_from(KEYS), VALUES), args=st.sampled_from(["", "MAC=x"]))
def test_any_configuration(plugin: str, config: dict[str, Any], args: str) -> None:
    see_it_read_or_refused(PARSERS[plugin], call_of(config, CNI_ARGS=args))


def see_it_read_or_refused(parse: Callable[[Call], Any], call: Call) -> None:
    refusal = None
    try:
        parse(call)
    except CniError as error:
        refusal = error
    if refusal is not None:
        assert refusal.code in {INVALID_CONFIG, INVALID_ENVIRONMENT, UNSUPPORTED_FIELD}
        assert refusal.msg


IPAM_KEYS = ["address", "addresses", "dataDir", "delegate", "dns", "dst", "gateway", "gw", "mtu",
             "priority", "rangeEnd", "rangeStart", "ranges", "resolvConf", "routes", "scope",
             "subnet", "subnetFile", "table", "type"]  # fmt: skip
IPAM_WORDS = ["10.1.0.0/24", "10.1.0.5/24", "10.1.0.9", "fd01::/64", "fd01::5", "0.0.0.0/0", "/run"]
IPAM_VALUES = st.recursive(
    VALUES | st.sampled_from(IPAM_WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(IPAM_KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
IPAM = st.dictionaries(st.sampled_from(IPAM_KEYS), IPAM_VALUES, max_size=6)


@pytest.mark.parametrize("plugin", IPAM_PARSERS)
@given(ipam=IPAM, told=IPAM_VALUES, args=st.sampled_from(["", "IP=x", "IP=10.1.0.5", "GATEWAY=1"]))
def test_any_ipam(plugin: str, ipam: dict[str, Any], told: object, args: str) -> None:
    runtime = {"ips": told, "ipRanges": told}
    config = {**ipam, "type": plugin, "ipam": ipam, "runtimeConfig": runtime}
    see_it_read_or_refused(IPAM_PARSERS[plugin], call_of(config, CNI_ARGS=args))


def test_every_plugin_is_fuzzed() -> None:
    fuzzed = {*PARSERS, *IPAM_PARSERS, *ELSEWHERE} - {"dns"}
    assert fuzzed == {plugin.name for plugin in PLUGINS}
