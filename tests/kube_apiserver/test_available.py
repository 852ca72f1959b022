"""The condition NetworkUnavailable of Nodes that were claimed: false, whatever others say."""

from functools import partial
from pathlib import Path
from typing import Any

from kube_apiserver.server import Admin, KubeServer
from kube_apiserver.stores import (
    claim,
    next_event,
    opened,
    run_scenario,
    until,
)
from podway.store.protocol import Snapshot


def condition(admin: Admin, name: str) -> dict[str, Any]:
    conditions = admin.node(name)["status"].get("conditions", [])
    return next((each for each in conditions if each["type"] == "NetworkUnavailable"), {})


def is_available(admin: Admin, name: str) -> bool:
    return bool(condition(admin, name)["status"] == "False")


def test_the_network_is_said_to_be_available(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    """Whoever says the opposite is contradicted, for as long as it takes."""
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            events = store.watch()
            await next_event(events, Snapshot)
            await store.claim(claim("n1"))
            assert condition(admin, "n1")["reason"] == "FlannelIsUp"
            for _ in range(2):
                opposite = {"type": "NetworkUnavailable", "status": "True", "reason": "NoRoute"}
                admin.patch("/api/v1/nodes/n1/status", {"status": {"conditions": [opposite]}})
                await until(lambda: condition(admin, "n1")["status"] == "False")

    run_scenario(scenario)


def test_every_node_of_a_hub_is_said_to_be_available(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    names = ("n1", "n2")
    for number, name in enumerate(names, 1):
        admin.add_node(name, f"10.244.{number}.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path) as store:
            events = store.watch()
            await next_event(events, Snapshot)
            for name in names:
                await store.claim(claim(name))
            for name in names:
                opposite = {"type": "NetworkUnavailable", "status": "True", "reason": "NoRoute"}
                admin.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [opposite]}})
                await until(partial(is_available, admin, name))

    run_scenario(scenario)


def test_the_condition_is_left_alone_when_told_so(
    server: KubeServer, admin: Admin, tmp_path: Path
) -> None:
    admin.add_node("n1", "10.244.1.0/24")

    async def scenario() -> None:
        async with opened(server, tmp_path, set_available=False) as store:
            await store.claim(claim("n1"))
            assert condition(admin, "n1") == {}

    run_scenario(scenario)
