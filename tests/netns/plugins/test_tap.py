"""The ``tap`` executable. Debian's version of the originals has none: `ip` is the witness."""

from collections.abc import Callable
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    addresses_of,
    config_of,
    devices,
    example_of,
    link_of,
    with_previous,
)
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE

pytestmark = pytest.mark.kernel("tun")

MAC = "0a:00:00:00:00:01"


def tap(runtime: Runtime, **keys: Any) -> Document:
    return config_of("tap", **{"ipam": runtime.ipam("10.1.0.0/24", "fd01::/64"), **keys})


def tun_of(netns: Netns) -> Document:
    """Return what `ip` says of the tap device that is special to those."""
    link = link_of(netns, "eth0")
    assert link["linkinfo"]["info_kind"] == "tun"
    data: Document = link["linkinfo"]["info_data"]
    return data


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    pod.ip("link", "add", "br0", "type", "bridge")
    config = tap(runtime, owner=64123, group=4294967294, mac=MAC, mtu=1300, bridge="br0")
    result = runtime.add(config, pod)
    assert result["interfaces"] == [{"name": "eth0", "mac": MAC, "mtu": 1300, "sandbox": pod.path}]
    link = link_of(pod, "eth0")
    assert (link["address"], link["mtu"], link["master"]) == (MAC, 1300, "br0")
    assert "UP" in link["flags"]
    assert addresses_of(pod, "eth0") == {"10.1.0.2/24", "fd01::2/64"}
    assert pod.exec("cat", "/proc/sys/net/ipv4/conf/eth0/arp_notify") == "1\n"
    assert tun_of(pod) == {
        "type": "tap", "pi": False, "vnet_hdr": False, "multi_queue": False, "persist": True,
        "user": 64123, "group": 4294967294,
    }  # fmt: skip
    assert runtime.call("STATUS", config).code == 0
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert devices(pod) == {"br0"}
        assert runtime.reserved() == set()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        pytest.param({}, [], id="defaults"),
        pytest.param({"multiQueue": True}, ["multi_queue"], id="several queues"),
        pytest.param({"owner": 0}, ["user", "0"], id="owner"),
        pytest.param({"group": 7}, ["group", "7"], id="group"),
    ],
)
def test_as_iproute2_makes_it(
    keys: Document, words: list[str], runtime: Runtime, make_netns: MakeNetns
) -> None:
    ours, theirs = make_netns(), make_netns()
    result = runtime.add(config_of("tap", **keys), ours)
    theirs.ip("tuntap", "add", "mode", "tap", "name", "eth0", *words)
    assert tun_of(ours) == tun_of(theirs)
    checked = with_previous(config_of("tap", **keys), result)
    assert runtime.call("CHECK", checked, ours).code == 0


def test_a_name_that_the_container_has_is_refused(runtime: Runtime, pod: Netns) -> None:
    pod.ip("tuntap", "add", "mode", "tap", "name", "eth0", "user", "64123")
    outcome = runtime.call("ADD", tap(runtime), pod)
    assert outcome.code == IO_FAILURE
    assert tun_of(pod)["user"] == 64123
    assert runtime.reserved() == set()


def test_no_such_bridge(runtime: Runtime, pod: Netns) -> None:
    outcome = runtime.call("ADD", tap(runtime, bridge="br9"), pod)
    assert outcome.code == INVALID_CONFIG
    assert outcome.msg.startswith("bridge = ")
    assert devices(pod) == set()


def test_an_add_that_fails_leaves_nothing(runtime: Runtime, pod: Netns) -> None:
    pod.ip("link", "add", "br0", "type", "veth", "peer", "name", "br1")  # no bridge at all
    outcome = runtime.call("ADD", tap(runtime, bridge="br0"), pod)
    assert outcome.code == IO_FAILURE
    assert devices(pod) == {"br0", "br1"}
    assert runtime.reserved() == set()


def test_without_selinux_a_context_is_refused(runtime: Runtime, pod: Netns) -> None:
    context = "system_u:system_r:container_t:s0"
    outcome = runtime.call("ADD", tap(runtime, selinuxContext=context), pod)
    assert outcome.code == INVALID_CONFIG
    assert context in outcome.msg
    assert devices(pod) == set()


def spoil_owner(pod: Netns) -> None:
    pod.ip("tuntap", "del", "mode", "tap", "name", "eth0")
    pod.ip("tuntap", "add", "mode", "tap", "name", "eth0", "user", "64124")


def spoil_queues(pod: Netns) -> None:
    pod.ip("tuntap", "del", "mode", "tap", "name", "eth0")
    pod.ip("tuntap", "add", "mode", "tap", "name", "eth0", "user", "64123", "multi_queue")


def spoil_mode(pod: Netns) -> None:
    pod.ip("tuntap", "del", "mode", "tap", "name", "eth0")
    pod.ip("tuntap", "add", "mode", "tun", "name", "eth0", "user", "64123")


def spoil_port(pod: Netns) -> None:
    pod.ip("link", "set", "eth0", "nomaster")


@pytest.mark.parametrize("spoil", [spoil_owner, spoil_queues, spoil_mode, spoil_port])
def test_check_notices(spoil: Callable[[Netns], None], runtime: Runtime, pod: Netns) -> None:
    pod.ip("link", "add", "br0", "type", "bridge")
    config = config_of("tap", owner=64123, bridge="br0")
    checked = with_previous(config, runtime.add(config, pod))
    spoil(pod)
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED


def test_the_example_of_the_manual(runtime: Runtime, pod: Netns) -> None:
    config = example_of("tap", runtime)
    checked = with_previous(config, runtime.add(config, pod))
    data = tun_of(pod)
    assert (data["user"], data["group"], data["multi_queue"]) == (64055, 64055, True)
    assert addresses_of(pod, "eth0") == {"10.40.0.2/24"}
    assert runtime.call("CHECK", checked, pod).code == 0
    assert runtime.call("DEL", checked, pod).code == 0
