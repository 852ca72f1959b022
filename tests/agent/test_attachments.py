"""CNI's verbs on an agent over a real hub and a kernel in memory."""

from pathlib import Path

from agent.nodes import run, running_node
from hub.hub_process import running_hub


def test_add_and_del(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_hub() as hub, running_node(tmp_path, hub.url) as node:
            await node.ready()
            answer = await node.add("c1")
            assert answer.code == 0, answer
            assert await node.used() == 1
            assert (await node.delete("c1")).code == 0
            assert await node.used() == 0
            assert node.pod_links() == []

    run(scenario)
