"""The ``bandwidth`` executable behind ``ptp``, and the same configuration through the original."""

import json
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    REFERENCE,
    Document,
    Runtime,
    config_of,
    devices,
    link_of,
    with_previous,
)
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE

pytestmark = pytest.mark.kernel("ifb")

BOTH = {
    "ingressRate": 8_000_000,
    "ingressBurst": 800_000,
    "egressRate": 16_000_000,
    "egressBurst": 1_600_000,
}


@pytest.fixture
def pod(make_netns: MakeNetns) -> Netns:
    """Return a container's namespace."""
    return make_netns()


def bandwidth(**keys: Any) -> Document:
    return config_of("bandwidth", **keys)


def attach(runtime: Runtime, pod: Netns, **told: Any) -> Document:
    """Attach a container by ``ptp``; return the result, as `bandwidth` gets it."""
    config = config_of("ptp", ipam=runtime.ipam("10.1.0.0/24", "fd01::/64"))
    return runtime.add(config, pod, **told)


def host_end(result: Document) -> str:
    return str(result["interfaces"][0]["name"])


def tc(netns: Netns, *words: str) -> list[Document]:
    listed: list[Document] = json.loads(netns.exec("tc", "-j", "-d", *words))
    return listed


def qdiscs(netns: Netns, device: str) -> dict[str, Document]:
    """Return what is on a device, by kind, but for what is on every device."""
    listed = tc(netns, "qdisc", "show", "dev", device)
    return {each["kind"]: each for each in listed if each["kind"] != "noqueue"}


def filters(netns: Netns, device: str, parent: str) -> list[Document]:
    listed = tc(netns, "filter", "show", "dev", device, "parent", parent)
    return [each for each in listed if "match" in each.get("options", {})]


def test_add_check_del(runtime: Runtime, pod: Netns) -> None:
    previous = attach(runtime, pod)
    config = with_previous(bandwidth(**BOTH), previous)
    assert runtime.call("STATUS", bandwidth(**BOTH)).code == 0
    result = runtime.add(config, pod)
    outer = host_end(result)
    ifb = result["interfaces"][-1]
    assert result["interfaces"][:-1] == previous["interfaces"]
    assert {**result, "interfaces": []} == {**previous, "interfaces": []}
    link = link_of(runtime.host, ifb["name"])
    assert ifb == {"name": link["ifname"], "mac": link["address"], "mtu": link["mtu"]}
    assert link["ifalias"] == "cni:net/c1/eth0"
    received = qdiscs(runtime.host, outer)
    assert received.keys() == {"tbf", "ingress"}
    assert received["tbf"]["options"]["rate"] == 1_000_000
    assert received["tbf"]["options"]["burst"].startswith("100000b")
    assert received["tbf"]["options"]["lat"] == 25_000
    assert qdiscs(runtime.host, ifb["name"])["tbf"]["options"]["rate"] == 2_000_000
    (redirection,) = filters(runtime.host, outer, "ffff:")
    (action,) = redirection["options"]["actions"]
    assert (action["mirred_action"], action["to_dev"]) == ("redirect", ifb["name"])

    checked = with_previous(bandwidth(**BOTH), result)
    assert runtime.call("CHECK", checked, pod).code == 0
    for _ in range(2):
        assert runtime.call("DEL", checked, pod).code == 0
        assert devices(runtime.host) == {outer}
        assert qdiscs(runtime.host, outer) == {}
