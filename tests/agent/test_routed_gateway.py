"""The gateway of routed pods on their node's side: kept, and brought to pods that run already."""

from functools import partial
from typing import Any

import pytest

from agent.real_nodes import RealNode, pods, real_cluster, wait_until

pytestmark = pytest.mark.root

NETWORK = {
    "Network": "10.244.0.0/16",
    "EnableIPv6": True,
    "IPv6Network": "fd00:10:244::/48",
    "Attach": "routed",
    "Backend": {"Type": "host-gw"},
}
GATEWAYS = {("169.254.1.1", 32, "host"), ("fe80::1", 64, "link")}


def gateways(node: RealNode, dev: str) -> set[tuple[str, int, str]]:
    """Return which of a host end's addresses its pod sends to."""
    (link,) = node.ip("address", "show", "dev", dev)
    found = ((each["local"], each["prefixlen"], each["scope"]) for each in link["addr_info"])
    return {each for each in found if each in GATEWAYS}


def has_all(node: RealNode, dev: str) -> bool:
    return gateways(node, dev) == GATEWAYS


def test_the_gateway_comes_back_and_comes_to_pods_of_an_older_agent() -> None:
    """An older agent had the kernel answer by proxy ARP, and gave the host end no address."""
    with real_cluster(NETWORK) as (_, (node,)), pods(1) as (pod,):
        node.start()
        node.ready()
        node.cni("ADD", "c", pod)
        (dev,) = node.pod_links()
        assert gateways(node, dev) == GATEWAYS
        _take(node, dev)
        wait_until(partial(has_all, node, dev), node.status)
        node.kill()
        _take(node, dev)
        assert gateways(node, dev) == {("fe80::1", 64, "link")}
        node.start()
        node.ready()
        wait_until(partial(has_all, node, dev), node.status)
        checked: Any = node.cni("CHECK", "c", pod)
        assert checked.exit_code == 0


def _take(node: RealNode, dev: str) -> None:
    node.netns.ip("address", "delete", "169.254.1.1/32", "dev", dev)
