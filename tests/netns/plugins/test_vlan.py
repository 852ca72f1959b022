"""The ``vlan`` executable, and the same configuration through the original."""

from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    addresses_of,
    config_of,
    devices,
    link_of,
    state_of,
    with_previous,
)
from netns.plugins.originals import compare_main_plugins, needs_original
from podway.cni.errors import CHECK_FAILED, IO_FAILURE, UNAVAILABLE

pytestmark = [pytest.mark.kernel("vlan"), pytest.mark.usefixtures("up0")]


def vlan(runtime: Runtime, **keys: Any) -> Document:
    ipam = runtime.ipam("10.1.0.0/24", "fd01::/64")
    return config_of("vlan", **{"master": "up0", "vlanId": 7, "ipam": ipam, **keys})


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    config = vlan(runtime, mtu=1300, dns={"nameservers": ["192.0.2.53"]})
    assert runtime.call("STATUS", config).code == 0
    result = runtime.add(config, pod)
    link = link_of(pod, "eth0")
    assert result["interfaces"] == [
        {"name": "eth0", "mac": link["address"], "mtu": 1300, "sandbox": pod.path}
    ]
    assert result["dns"] == {"nameservers": ["192.0.2.53"]}
    assert link["linkinfo"]["info_data"]["id"] == 7
    assert addresses_of(pod, "eth0") == {"10.1.0.2/24", "fd01::2/64"}
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    assert runtime.call("CHECK", {**checked, "vlanId": 8}, pod).code == CHECK_FAILED
    runtime.host.ip("link", "delete", "up0")
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert devices(pod) == set()
        assert runtime.reserved() == set()
    assert runtime.call("STATUS", config).code == UNAVAILABLE


def test_a_vlan_is_in_one_place_only(runtime: Runtime, make_netns: MakeNetns) -> None:
    first, second = make_netns(), make_netns()
    runtime.add(vlan(runtime), first)
    outcome = runtime.call("ADD", vlan(runtime), second, container_id="c2")
    assert outcome.code == IO_FAILURE
    assert devices(second) == set()
    assert runtime.reserved() == {"10.1.0.2", "fd01::2"}
    runtime.add(vlan(runtime, vlanId=8), second, container_id="c2")


def test_a_name_that_the_container_has_is_refused(runtime: Runtime, pod: Netns) -> None:
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer")
    assert runtime.call("ADD", vlan(runtime), pod).code == IO_FAILURE
    assert devices(pod) == {"eth0", "peer"}
    assert devices(runtime.host) == {"eth0", "up0"}


@needs_original
def test_as_the_original(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = {**vlan(runtime, mtu=1300), "cniVersion": "1.0.0"}
    compare_main_plugins(runtime, make_netns, config, lambda pod, _: state_of(pod, "eth0"))
