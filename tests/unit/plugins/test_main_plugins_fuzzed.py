"""Whatever stands in a configuration: the main plugins read it or refuse it, and say why."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, UNSUPPORTED_FIELD, CniError
from podway.plugins import host_device_conf, ipvlan, macvlan, ptp_conf, tap, vlan
from podway.plugins.dns import configured_dns
from podway.plugins.skeleton import Call
from unit.plugins.plugin_calls import call_of

PARSERS: dict[str, Callable[[Call], Any]] = {
    "dns": lambda call: configured_dns(call.config),
    "host-device": host_device_conf.parse_conf,
    "ipvlan": ipvlan.parse_conf,
    "macvlan": macvlan.parse_conf,
    "ptp": ptp_conf.parse_conf,
    "tap": tap.parse_conf,
    "vlan": vlan.parse_conf,
}
KEYS = [
    "bcqueuelen", "bridge", "dataDir", "device", "dns", "group", "hwaddr", "ipMasq",
    "ipMasqBackend", "kernelpath", "linkInContainer", "mac", "master", "mode", "mtu", "multiQueue",
    "owner", "pciBusID", "selinuxContext", "useInterfaceNetwork", "vlanId",
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
    refusal = None
    try:
        PARSERS[plugin](call_of(config, CNI_ARGS=args))
    except CniError as error:
        refusal = error
    if refusal is not None:
        assert refusal.code in {INVALID_CONFIG, INVALID_ENVIRONMENT, UNSUPPORTED_FIELD}
        assert refusal.msg
