"""What vlan reads in its configuration, and what it refuses."""

from typing import Any

import pytest

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.plugins.children import Child
from podway.plugins.vlan import parse_child
from unit.plugins.plugin_calls import call_of


def parse(config: dict[str, Any]) -> Child:
    return parse_child(call_of({"master": "up0", "vlanId": 7, **config}))


@pytest.mark.parametrize("vlan_id", [0, 1, 4094])
def test_numbers(vlan_id: int) -> None:
    assert parse({"vlanId": vlan_id}) == Child(
        kind="vlan", master="up0", link_in_container=False, mtu_bytes=0, data={"id": vlan_id}
    )


def test_everything() -> None:
    conf = parse({"VLANID": 5, "mtu": 1400, "linkInContainer": True})
    assert conf == Child(
        kind="vlan", master="up0", link_in_container=True, mtu_bytes=1400, data={"id": 5}
    )


@pytest.mark.parametrize(
    ("config", "start"),
    [
        pytest.param({"master": ""}, "master is missing", id="no master"),
        pytest.param({"master": "a:b"}, "master = ", id="colon in a name"),
        pytest.param({"vlanId": None}, "vlanId is missing", id="no number"),
        pytest.param({"vlanId": -1}, "vlanId = -1", id="negative number"),
        pytest.param({"vlanId": 4095}, "vlanId = 4095", id="reserved number"),
        pytest.param({"vlanId": "7"}, "vlanId = '7'", id="string for a number"),
        pytest.param({"vlanId": True}, "vlanId = True", id="boolean for a number"),
        pytest.param({"mtu": -5}, "mtu = -5", id="negative size"),
        pytest.param({"linkInContainer": 0}, "linkInContainer = 0", id="number for a boolean"),
    ],
)
def test_refused(config: dict[str, Any], start: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(config)
    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith(start)
