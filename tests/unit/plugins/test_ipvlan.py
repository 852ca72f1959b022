"""What ipvlan reads in its configuration and in the result before it, and what it refuses."""

from typing import Any

import pytest

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.results import Interface, Result
from podway.netlink.constants import IPVLAN_MODE_L2, IPVLAN_MODE_L3, IPVLAN_MODE_L3S
from podway.plugins.children import Child
from podway.plugins.ipvlan import chained_master, parse_child
from unit.plugins.plugin_calls import call_of


def parse(config: dict[str, Any]) -> Child:
    return parse_child(call_of(config))


@pytest.mark.parametrize(
    ("config", "conf"),
    [
        pytest.param({}, ("", IPVLAN_MODE_L2, 0, False), id="defaults"),
        pytest.param({"mode": "l2"}, ("", IPVLAN_MODE_L2, 0, False), id="l2"),
        pytest.param({"mode": "l3"}, ("", IPVLAN_MODE_L3, 0, False), id="l3"),
        pytest.param(
            {"master": "up0", "mode": "l3s", "mtu": 1300, "linkInContainer": True},
            ("up0", IPVLAN_MODE_L3S, 1300, True),
            id="everything",
        ),
    ],
)
def test_configuration(config: dict[str, Any], conf: tuple[str, int, int, bool]) -> None:
    child = parse(config)
    found = (child.master, child.data["mode"], child.mtu_bytes, child.link_in_container)
    assert found == conf
    assert child.kind == "ipvlan"


@pytest.mark.parametrize(
    ("config", "field"),
    [
        pytest.param({"master": {}}, "master", id="object for a name"),
        pytest.param({"master": "a b"}, "master", id="blank in a name"),
        pytest.param({"mode": "l4"}, "mode", id="no such mode"),
        pytest.param({"mode": 3}, "mode", id="number for a mode"),
        pytest.param({"mtu": 1}, "mtu", id="too small"),
        pytest.param({"mtu": []}, "mtu", id="array for a size"),
        pytest.param({"linkInContainer": "true"}, "linkInContainer", id="string for a boolean"),
    ],
)
def test_refused(config: dict[str, Any], field: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(config)
    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith(f"{field} = ")


def test_master_of_the_result_before() -> None:
    assert chained_master(None) == ""
    assert chained_master(Result(interfaces=(Interface(name="bond0"),))) == "bond0"


@pytest.mark.parametrize("names", [(), ("a", "b"), ("",), ("a" * 16,), ("../a",)])
def test_results_that_give_no_master(names: tuple[str, ...]) -> None:
    interfaces = tuple(Interface(name=name) for name in names)
    with pytest.raises(CniError) as caught:
        chained_master(Result(interfaces=interfaces))
    assert caught.value.code == INVALID_CONFIG
