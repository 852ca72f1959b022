"""What tap reads in its configuration, what it refuses, and how it asks for the device."""

from typing import Any

import pytest

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.plugins.tap import TapConf, compute_change, parse_conf
from podway.plugins.taps import Tap, command_of, ifreq_of
from unit.plugins.plugin_calls import call_of

MAC = "0a:00:00:00:00:01"
BRIDGE: Any = {"index": 9, "ifname": "br0"}


def parse(config: dict[str, Any]) -> TapConf:
    return parse_conf(call_of(config))


def test_defaults() -> None:
    assert parse({}) == TapConf(tap=Tap(name="eth0"), bridge="", mac="", mtu_bytes=0)


def test_everything() -> None:
    conf = parse(
        {
            "multiQueue": True,
            "owner": 0,
            "group": 4294967294,
            "selinuxContext": "system_u:system_r:container_t:s0",
            "bridge": "br0",
            "mac": MAC,
            "mtu": 9000,
        }
    )
    assert conf == TapConf(
        tap=Tap(
            name="eth0",
            owner=0,
            group=4294967294,
            has_queues=True,
            selinux_context="system_u:system_r:container_t:s0",
        ),
        bridge="br0",
        mac=MAC,
        mtu_bytes=9000,
    )


@pytest.mark.parametrize(
    ("config", "field"),
    [
        pytest.param({"multiQueue": "on"}, "multiQueue", id="string for a boolean"),
        pytest.param({"owner": -1}, "owner", id="negative user"),
        pytest.param({"owner": 4294967295}, "owner", id="user that means nobody"),
        pytest.param({"owner": "root"}, "owner", id="name for a user"),
        pytest.param({"group": 1 << 32}, "group", id="group of 33 bits"),
        pytest.param({"group": 1.5}, "group", id="fraction for a group"),
        pytest.param({"selinuxContext": "a\nb"}, "selinuxContext", id="context of two lines"),
        pytest.param({"selinuxContext": 1}, "selinuxContext", id="number for a context"),
        pytest.param({"bridge": "br/0"}, "bridge", id="slash in a name"),
        pytest.param({"bridge": False}, "bridge", id="boolean for a name"),
        pytest.param({"mac": "ff:ff:ff:ff:ff:ff"}, "mac", id="broadcast"),
        pytest.param({"mtu": 20}, "mtu", id="too small"),
    ],
)
def test_refused(config: dict[str, Any], field: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(config)
    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith(f"{field} = ")


@pytest.mark.parametrize(
    ("tap", "flags"),
    [
        pytest.param(Tap(name="eth0"), b"\x02\x90", id="one queue"),
        pytest.param(Tap(name="eth0", has_queues=True), b"\x02\x91", id="several queues"),
    ],
)
def test_ifreq(tap: Tap, flags: bytes) -> None:
    """Little endian: IFF_TAP 0x2, IFF_MULTI_QUEUE 0x100, IFF_NO_PI 0x1000, IFF_TUN_EXCL 0x8000."""
    assert ifreq_of(tap) == b"eth0" + bytes(12) + flags + bytes(22)


@pytest.mark.parametrize(
    ("tap", "words"),
    [
        pytest.param(Tap(name="eth0"), [], id="defaults"),
        pytest.param(
            Tap(name="eth0", owner=0, group=7, has_queues=True),
            ["multi_queue", "user", "0", "group", "7"],
            id="everything",
        ),
    ],
)
def test_command(tap: Tap, words: list[str]) -> None:
    argv = ["/sbin/ip", "tuntap", "add", "mode", "tap", "name", "eth0", *words]
    assert command_of(tap, "/sbin/ip") == argv


def test_change() -> None:
    assert compute_change(parse({}), 5, None) is None
    conf = parse({"mac": MAC, "mtu": 1300, "bridge": "br0"})
    assert compute_change(conf, 5, BRIDGE) == {
        "index": 5,
        "address": MAC,
        "mtu": 1300,
        "master": 9,
    }


def test_shape_tells_owner_and_group_only_when_they_are_set() -> None:
    data = {"type": 2, "persist": 1, "multi_queue": 0}
    assert parse({}).shape.data == data
    assert parse({"owner": 0}).shape.data == {**data, "owner": 0}
