"""One node that is ready, over a hub and a kernel in memory: where CNI's verbs are tried."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.nodes import Node, new_kernel, running_node, until
from hub.hub_process import running_hub

BRIDGE: dict[str, Any] = {"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}}
ROUTED = {**BRIDGE, "Attach": "routed"}
DUAL = {**BRIDGE, "EnableIPv6": True, "IPv6Network": "fd00:9::/48"}
TINY = {**BRIDGE, "SubnetLen": 29}  # room for five pods


@asynccontextmanager
async def one_node(
    tmp_path: Path, net_conf: dict[str, Any] = BRIDGE, **settings: Any
) -> AsyncIterator[Node]:
    kernel = new_kernel("192.0.2.1/24", "2001:db8::1/64")
    async with (
        running_hub(net_conf=net_conf) as hub,
        running_node(tmp_path, hub.url, kernel=kernel, **settings) as node,
    ):
        await node.ready()
        yield node


async def assert_clean(node: Node) -> None:
    """Nothing is held, nothing is in the kernel, nothing is left to do."""
    assert await node.used() == 0
    assert node.pod_links() == []
    await until(lambda: not node.agent.tracker.pending)
    assert await node.preview() == []
