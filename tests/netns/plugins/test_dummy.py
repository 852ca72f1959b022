"""The ``dummy`` executable. Debian's version of the originals has none."""

import pytest

from netns.conftest import Netns
from netns.plugins.cni_runtime import (
    Runtime,
    addresses_of,
    config_of,
    devices,
    example_of,
    link_of,
    with_previous,
)
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE

pytestmark = pytest.mark.kernel("dummy")

DNS = {"nameservers": ["192.0.2.53"]}


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    addresses = [{"address": "10.1.0.5/24"}, {"address": "fd01::5/64"}]
    config = config_of("dummy", ipam={"type": "static", "addresses": addresses, "dns": DNS})
    assert runtime.call("STATUS", config).code == 0
    result = runtime.add(config, pod)
    link = link_of(pod, "eth0")
    assert result["interfaces"] == [
        {"name": "eth0", "mac": link["address"], "mtu": 1500, "sandbox": pod.path}
    ]
    assert result["dns"] == DNS  # what IPAM says, as with no other plugin of the kind
    assert link["linkinfo"]["info_kind"] == "dummy"
    assert "UP" in link["flags"]
    assert addresses_of(pod, "eth0") == {"10.1.0.5/24", "fd01::5/64"}
    checked = with_previous(config, result)
    assert runtime.call("CHECK", checked, pod).code == 0
    pod.ip("link", "set", "eth0", "down")
    assert runtime.call("CHECK", checked, pod).code == CHECK_FAILED
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert devices(pod) == set()


def test_the_hosts_device_of_the_same_name_does_not_matter(runtime: Runtime, pod: Netns) -> None:
    runtime.host.ip("link", "add", "eth0", "type", "dummy")
    runtime.add(config_of("dummy", ipam=runtime.ipam("10.1.0.0/24")), pod)
    assert devices(pod) == {"eth0"}


def test_refused(runtime: Runtime, pod: Netns) -> None:
    assert runtime.call("ADD", config_of("dummy"), pod).code == INVALID_CONFIG
    assert runtime.call("STATUS", config_of("dummy")).code == INVALID_CONFIG
    pod.ip("link", "add", "eth0", "type", "dummy")
    config = config_of("dummy", ipam=runtime.ipam("10.1.0.0/24"))
    assert runtime.call("ADD", config, pod).code == IO_FAILURE
    assert runtime.reserved() == set()


def test_the_example_of_the_manual(runtime: Runtime, pod: Netns) -> None:
    config = example_of("dummy", runtime)
    checked = with_previous(config, runtime.add(config, pod))
    assert addresses_of(pod, "eth0") == {"198.51.100.7/32"}
    assert runtime.call("CHECK", checked, pod).code == 0
    assert runtime.call("DEL", checked, pod).code == 0
