"""The configuration of ``vrf``, and the choice of a table."""

from typing import Any

import pytest

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.plugins.vrf_add import choose_table
from podway.plugins.vrf_conf import VrfConf, parse_conf
from unit.plugins.plugin_calls import call_of


def conf_of(**config: Any) -> VrfConf:
    return parse_conf(call_of(config).request)


def test_a_configuration() -> None:
    assert conf_of(vrfname="blue") == VrfConf(name="blue", table=None)
    assert conf_of(VRFName="blue", table=0) == VrfConf(name="blue", table=None)
    assert conf_of(vrfname="blue", table=2**32 - 1) == VrfConf(name="blue", table=2**32 - 1)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        pytest.param({}, "vrfname", id="no name"),
        pytest.param({"vrfname": ""}, "vrfname", id="an empty name"),
        pytest.param({"vrfname": 7}, "vrfname", id="a number as name"),
        pytest.param({"vrfname": "sixteen-letters-"}, "vrfname", id="too long"),
        pytest.param({"vrfname": "../blue"}, "vrfname", id="a path"),
        pytest.param({"vrfname": "blue\n"}, "vrfname", id="a line feed"),
        pytest.param({"vrfname": "blue%d"}, "vrfname", id="a pattern"),
        pytest.param({"vrfname": "eth0"}, "vrfname", id="the interface's name"),
        pytest.param({"vrfname": "blue", "table": -1}, "table", id="negative"),
        pytest.param({"vrfname": "blue", "table": 2**32}, "table", id="over 32 bits"),
        pytest.param({"vrfname": "blue", "table": "7"}, "table", id="text as table"),
    ],
)
def test_refusals(config: dict[str, Any], field: str) -> None:
    with pytest.raises(CniError) as caught:
        conf_of(**config)
    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith(field)


@pytest.mark.parametrize(
    ("used", "table"),
    [
        pytest.param(set(), 1, id="the first"),
        pytest.param({1, 2, 4}, 3, id="the first that is free"),
        pytest.param(set(range(1, 252)), 256, id="none that means something to the kernel"),
    ],
)
def test_free_tables(used: set[int], table: int) -> None:
    assert choose_table(used) == table
