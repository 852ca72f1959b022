"""What macvlan reads in its configuration, what it refuses, and what it asks the kernel for."""

from typing import Any

import pytest

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from podway.cni.values import replace
from podway.netlink.constants import (
    MACVLAN_MODE_BRIDGE,
    MACVLAN_MODE_PASSTHRU,
    MACVLAN_MODE_PRIVATE,
    MACVLAN_MODE_VEPA,
)
from podway.plugins.children import Child
from podway.plugins.macvlan import parse_child
from podway.plugins.sysctls import ARP_NOTIFY, NDISC_NOTIFY
from unit.plugins.plugin_calls import call_of

MAC = "0a:00:00:00:00:01"
DEFAULTS = Child(
    kind="macvlan",
    master="",
    link_in_container=False,
    mtu_bytes=0,
    data={"mode": MACVLAN_MODE_BRIDGE},
    notify=(ARP_NOTIFY, NDISC_NOTIFY),
)


def parse(config: dict[str, Any], args: str = "") -> Child:
    return parse_child(call_of(config, CNI_ARGS=args))


def test_defaults() -> None:
    assert parse({}) == DEFAULTS
    assert parse({"master": None, "mode": "", "mtu": 0, "mac": "", "bcqueuelen": 0}) == DEFAULTS


def test_everything() -> None:
    conf = parse(
        {
            "Master": "up0",
            "MODE": "vepa",
            "mtu": 1300,
            "mac": MAC.upper(),
            "linkInContainer": True,
            "bcQueueLen": 77,
        }
    )
    assert conf == replace(
        DEFAULTS,
        master="up0",
        data={"mode": MACVLAN_MODE_VEPA},
        data_if_told={"bc_queue_len": 77},
        mtu_bytes=1300,
        mac=MAC,
        link_in_container=True,
    )


@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("bridge", MACVLAN_MODE_BRIDGE),
        ("private", MACVLAN_MODE_PRIVATE),
        ("vepa", MACVLAN_MODE_VEPA),
        ("passthru", MACVLAN_MODE_PASSTHRU),
    ],
)
def test_modes(mode: str, number: int) -> None:
    assert parse({"mode": mode}).data["mode"] == number


@pytest.mark.parametrize(
    ("config", "field"),
    [
        pytest.param({"master": 1}, "master", id="number for a name"),
        pytest.param({"master": "a" * 16}, "master", id="name of 16 characters"),
        pytest.param({"master": "../up0"}, "master", id="path for a name"),
        pytest.param({"master": "up0\0"}, "master", id="zero byte in a name"),
        pytest.param({"master": "up%d"}, "master", id="pattern for a name"),
        pytest.param({"mode": "source"}, "mode", id="mode that the original lacks"),
        pytest.param({"mode": "Bridge"}, "mode", id="mode in another case"),
        pytest.param({"mode": 4}, "mode", id="number for a mode"),
        pytest.param({"mtu": -1}, "mtu", id="negative size"),
        pytest.param({"mtu": 67}, "mtu", id="too small"),
        pytest.param({"mtu": 65536}, "mtu", id="too large"),
        pytest.param({"mtu": "1500"}, "mtu", id="string for a size"),
        pytest.param({"mtu": 1500.5}, "mtu", id="fraction for a size"),
        pytest.param({"mtu": True}, "mtu", id="boolean for a size"),
        pytest.param({"mac": "0a:00:00:00:01"}, "mac", id="five bytes"),
        pytest.param({"mac": "01:00:00:00:00:01"}, "mac", id="multicast"),
        pytest.param({"mac": "00:00:00:00:00:00"}, "mac", id="zero"),
        pytest.param({"mac": 5}, "mac", id="number for a MAC"),
        pytest.param({"mac": MAC, "mode": "passthru"}, "mac", id="passthru has its master's"),
        pytest.param({"linkInContainer": "yes"}, "linkInContainer", id="string for a boolean"),
        pytest.param({"linkInContainer": 1}, "linkInContainer", id="number for a boolean"),
        pytest.param({"bcqueuelen": -1}, "bcqueuelen", id="negative length"),
        pytest.param({"bcqueuelen": 1 << 32}, "bcqueuelen", id="length of 33 bits"),
        pytest.param({"runtimeConfig": {"mac": "x"}}, "runtimeConfig.mac", id="the runtime's MAC"),
        pytest.param({"args": {"cni": {"mac": []}}}, "args.cni.mac", id="the orders' MAC"),
    ],
)
def test_refused(config: dict[str, Any], field: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(config)
    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith(f"{field} = ")


@pytest.mark.parametrize("args", ["MAC=1", "COLOUR=red", "MAC"])
def test_refused_arguments(args: str) -> None:
    with pytest.raises(CniError) as caught:
        parse({}, args)
    assert caught.value.code == INVALID_ENVIRONMENT
