"""What an agent tells of itself: a line and a count for what changed, and silence otherwise."""

import asyncio
import logging
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.nodes import Node, routes, run, until
from agent.staged_store import changed, peer, removed, staged_node
from podway.agent import lookout
from podway.agent.gauges import watch_agent
from podway.model.kernel import link_key

NEAR = peer("near", "10.9.7.0/24", "192.0.2.7")


def metrics_of(node: Node) -> dict[str, float]:
    """Return what Prometheus would read, without what has labels: value by name."""
    families = text_string_to_metric_families(node.metrics.render().decode())
    return {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if not sample.labels
    }


async def a_pass(node: Node) -> None:
    """Have one more pass made, after which all that was said before has been heard."""
    node.agent.wake()
    await node.agent.passed()


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    """Return message and fields of what was logged."""
    return [
        (record.getMessage(), dict(vars(record)["fields"]))
        for record in caplog.records
        if record.name.startswith("podway")
    ]


def test_one_line_for_what_changed_and_silence_otherwise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "POLL_S", 0.01)
    caplog.set_level(logging.INFO, logger="podway")

    async def scenario() -> None:
        async with staged_node(tmp_path) as (store, node):
            await until(lambda: not node.agent.tracker.pending)
            caplog.clear()
            store.say(changed(NEAR))
            await until(lambda: "10.9.7.0/24" in routes(node))
            await a_pass(node)
            ((message, fields),) = told(caplog)
            assert message == "reconciled"
            assert {name: fields[name] for name in ("create", "failed")} == {
                "create": 1,
                "failed": 0,
            }
            caplog.clear()
            # Said again, looked at again, read again: nothing of it changes anything.
            store.say(changed(NEAR), removed("nobody"))
            node.agent.resync()
            await a_pass(node)
            await asyncio.sleep(0.05)
            await a_pass(node)
            assert told(caplog) == []

    run(scenario)


def test_numbers_follow_what_happens(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with staged_node(tmp_path) as (store, node):
            watch_agent(node.agent, node.metrics)
            passes = metrics_of(node)["podway_reconcile_duration_seconds_count"]
            assert passes >= 1
            store.say(changed(NEAR))
            await until(lambda: "10.9.7.0/24" in routes(node))
            assert (await node.add("c1")).code == 0
            (name,) = node.pod_links()
            await node.tamper(node.kernel.tamper_delete, link_key(name))
            await until(lambda: node.pod_links() == [name])
            await node.calm()
            now = metrics_of(node)
            assert now["podway_reconcile_duration_seconds_count"] >= passes + 3
            expected = {
                "podway_peers": 1,
                "podway_endpoints": 1,
                "podway_addresses_in_use": 1,
                "podway_drift_repaired": 1,
                "podway_failing_operations": 0,
                "podway_store_connected": 1,
            }
            assert {name: now[name] for name in expected} == expected
            assert (await node.delete("c1")).code == 0
            store.say(removed("near"))
            await until(lambda: routes(node) == {})
            now = metrics_of(node)
            assert (now["podway_addresses_in_use"], now["podway_peers"]) == (0, 0)

    run(scenario)
