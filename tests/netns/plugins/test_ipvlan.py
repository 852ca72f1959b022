"""The ``ipvlan`` executable, and the same configuration through the original."""

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
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, UNAVAILABLE

pytestmark = [pytest.mark.kernel("ipvlan"), pytest.mark.usefixtures("up0")]


def ipvlan(runtime: Runtime, **keys: Any) -> Document:
    ipam = runtime.ipam("10.1.0.0/24", "fd01::/64")
    return config_of("ipvlan", **{"master": "up0", "ipam": ipam, **keys})


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    config = ipvlan(runtime, mode="l3", mtu=1300)
    assert runtime.call("STATUS", config).code == 0
    result = runtime.add(config, pod)
    mac = link_of(runtime.host, "up0")["address"]
    assert result["interfaces"] == [{"name": "eth0", "mac": mac, "mtu": 1300, "sandbox": pod.path}]
    assert link_of(pod, "eth0")["linkinfo"]["info_data"]["mode"] == "l3"
    assert addresses_of(pod, "eth0") == {"10.1.0.2/24", "fd01::2/64"}
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    assert runtime.call("CHECK", {**checked, "mode": "l3s"}, pod).code == CHECK_FAILED
    runtime.host.ip("link", "delete", "up0")
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert devices(pod) == set()
        assert runtime.reserved() == set()
    assert runtime.call("STATUS", config).code == UNAVAILABLE


def test_behind_another_plugin(runtime: Runtime, pod: Netns) -> None:
    previous = {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "up0"}],
        "ips": [{"address": "10.5.0.7/24", "gateway": "10.5.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    config = config_of("ipvlan", prevResult=previous)
    result = runtime.add(config, pod)
    assert result["ips"] == [{"interface": 0, **previous["ips"][0]}]  # type: ignore[dict-item]
    assert addresses_of(pod, "eth0") == {"10.5.0.7/24"}
    assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    assert runtime.call("DEL", with_previous(config, result), pod).code == 0
    assert devices(pod) == set()


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"ipam": {}}, id="no addresses"),
        pytest.param(
            {"master": "", "prevResult": {"cniVersion": "1.1.0", "interfaces": []}},
            id="no interface in the result before",
        ),
    ],
)
def test_refused(keys: Document, runtime: Runtime, pod: Netns) -> None:
    assert runtime.call("ADD", ipvlan(runtime, **keys), pod).code == INVALID_CONFIG
    assert devices(pod) == set()
    assert runtime.reserved() == set()


@needs_original
def test_as_the_original(runtime: Runtime, make_netns: MakeNetns) -> None:
    config = {**ipvlan(runtime, mode="l3s"), "cniVersion": "1.0.0"}
    compare_main_plugins(runtime, make_netns, config, lambda pod, _: state_of(pod, "eth0"))
