"""What the author of a configuration reads when it is refused: the key, as it stands, and why."""

from typing import Any

import pytest

from podway.cni.errors import INVALID_CONFIG, CniError, broken_rule
from podway.cni.results import Result
from podway.plugins.bridge_conf import parse_bridge_conf
from podway.plugins.delegation import delegate, delegate_add, ipam_type
from podway.plugins.firewall_conf import bridge_of, parse_firewall_conf
from podway.plugins.host_device_conf import parse_conf as parse_host_device_conf
from podway.plugins.host_device_lookup import is_driven_by_program
from podway.plugins.portmap_conf import choose_backend, parse_portmap_conf
from podway.plugins.previous import required_previous_result
from unit.plugins.plugin_calls import call_of

HARDWARE = "ffff:ff:1f.7"


def test_a_value_that_is_missing_is_not_shown_as_python_writes_it() -> None:
    assert broken_rule("vlan", None, "must be 1").msg == "vlan is missing: must be 1"
    assert broken_rule("vlan", 0, "must be 1").msg == "vlan = 0: must be 1"
    with pytest.raises(CniError) as refused:
        parse_bridge_conf(call_of({"vlanTrunk": [{"minID": 5}]}))
    assert refused.value.msg.startswith("vlanTrunk[0].maxID is missing")


@pytest.mark.parametrize(
    ("config", "key"),
    [
        pytest.param({"pciBusID": HARDWARE}, "pciBusID", id="configuration"),
        pytest.param(
            {"pciBusID": "0000:00:1f.6", "runtimeConfig": {"deviceID": HARDWARE}},
            "runtimeConfig.deviceID",
            id="runtime",
        ),
    ],
)
def test_hardware_that_is_not_there_is_named_by_the_key_that_says_so(
    config: dict[str, Any], key: str
) -> None:
    with pytest.raises(CniError) as refused:
        is_driven_by_program(parse_host_device_conf(call_of(config)))
    assert refused.value.code == INVALID_CONFIG
    assert refused.value.msg.startswith(f"{key} = '{HARDWARE}'")


def test_a_plugin_that_is_not_there_is_named_once_by_its_key() -> None:
    call = call_of({"ipam": {"type": "nonesuch"}})
    with pytest.raises(CniError) as refused:
        delegate_add(call, ipam_type(call))
    assert refused.value.msg.startswith("ipam.type = 'nonesuch'")
    assert not hasattr(refused.value, "__notes__")  # no DEL of what cannot be called
    with pytest.raises(CniError) as refused:
        delegate(call, "nonesuch", "delegate.type")
    assert refused.value.msg.startswith("delegate.type = 'nonesuch'")


def test_a_plugin_is_not_found_by_the_name_of_its_module() -> None:
    call = call_of({"ipam": {"type": "host_local", "subnet": "10.1.0.0/24"}})
    with pytest.raises(CniError) as refused:
        delegate_add(call, ipam_type(call))
    assert refused.value.code == INVALID_CONFIG


@pytest.mark.parametrize(
    ("command", "wanted"), [("ADD", "the plugin before it"), ("CHECK", "ADD's result")]
)
def test_which_previous_result_is_missing(command: str, wanted: str) -> None:
    with pytest.raises(CniError) as refused:
        required_previous_result(call_of({}, command).request)
    assert refused.value.code == INVALID_CONFIG
    assert wanted in refused.value.msg


def test_a_policy_without_any_interface_says_where_to_put_the_plugin() -> None:
    conf = parse_firewall_conf(call_of({"ingressPolicy": "isolated"}).request)
    with pytest.raises(CniError) as refused:
        bridge_of(conf, Result())
    assert refused.value.code == INVALID_CONFIG
    assert "behind bridge" in refused.value.msg


@pytest.mark.parametrize(
    ("config", "cure"),
    [
        pytest.param({"externalSetMarkChain": "MARKS"}, "leave it out", id="name of a chain"),
        pytest.param({"conditionsV4": ["-d", "192.0.2.1"]}, "words of nftables", id="conditions"),
    ],
)
def test_what_another_back_end_understands_says_what_to_do(
    config: dict[str, Any], cure: str
) -> None:
    conf = parse_portmap_conf(call_of({"backend": "nftables", **config}).request)
    with pytest.raises(CniError) as refused:
        choose_backend(conf)
    assert refused.value.msg.endswith(cure)
