"""What the agents of a lab say of it: asked all at once, or until they say what is waited for."""

import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from podway.agent.calls import AgentAway, AgentError, NobodyListens, call_agent
from podway.lab.errors import StartFailed
from podway.lab.names import agent_socket, node_name
from podway.lab.readiness import describe_failure
from podway.lab.specs import LabSpec
from podway.lab.topology import plan_agent

POLL_S = 0.01
LINKED_TIMEOUT_S = 15.0


def read_statuses(spec: LabSpec) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return each node's status, and of those whose agent does not answer the reason."""
    names = [node_name(number) for number in spec.nodes]
    with ThreadPoolExecutor(min(len(names), 16), thread_name_prefix="status") as workers:
        answers = list(workers.map(lambda name: _status_or_reason(spec, name), names))
    pairs = list(zip(names, answers, strict=True))
    return (
        {name: answer for name, answer in pairs if isinstance(answer, dict)},
        {name: answer for name, answer in pairs if isinstance(answer, str)},
    )


def _status_or_reason(spec: LabSpec, node: str) -> dict[str, Any] | str:
    try:
        return call_agent(agent_socket(spec.name, node), "status")
    except NobodyListens:
        return f"its agent does not run: 'podway lab --name {spec.name} fault start-agent {node}'"
    except (AgentAway, AgentError) as error:
        return str(error)


def in_order(spec: LabSpec) -> bool:
    """Tell whether every agent is ready, has its store, and has programmed every other node."""
    statuses, away = read_statuses(spec)
    others = len(spec.nodes) - 1
    return not away and all(
        status["ready"]
        and status["store"]["state"] == "connected"
        and [peer["state"] for peer in status["peers"]] == ["programmed"] * others
        for status in statuses.values()
    )


def store_is_away(spec: LabSpec) -> bool:
    """Tell whether every agent has noticed that its store is away."""
    statuses, away = read_statuses(spec)
    return not away and all(status["store"]["state"] == "away" for status in statuses.values())


def wait_linked(spec: LabSpec) -> dict[str, str]:
    """Wait until all agents that answer are ready and have programmed each other.

    An agent has no way of telling others that it has heard of a node, so it is asked.

    Returns:
        Of those that do not answer, or do not get there in time, the reason.
    """
    deadline = time.monotonic() + LINKED_TIMEOUT_S
    statuses, late = read_statuses(spec)
    for node in statuses:
        if lack := _wait_linked(spec, node, statuses.keys() - {node}, deadline):
            late[node] = lack
    return late


def check_linked(spec: LabSpec, numbers: Iterable[int], late: Mapping[str, str]) -> None:
    """Raise `StartFailed` when one of the nodes *numbers* is *late*, as `wait_linked` says."""
    for number in numbers:
        if reason := late.get(node_name(number)):
            what = f"does not get there: {reason}"
            raise StartFailed(describe_failure(plan_agent(spec, number), what))


def _wait_linked(spec: LabSpec, node: str, others: Collection[str], deadline: float) -> str:
    """Wait until *node* is ready and has programmed *others*; return what it lacks in the end."""
    while True:
        status = _status_or_reason(spec, node)
        if isinstance(status, str):
            return status
        lack = _lack_of(status, others)
        if not lack or time.monotonic() > deadline:
            return lack
        time.sleep(POLL_S)


def _lack_of(status: Mapping[str, Any], others: Collection[str]) -> str:
    """Return what keeps the node from being ready and having programmed *others*, or ""."""
    programmed = {peer["name"] for peer in status["peers"] if peer["state"] == "programmed"}
    lacking = ", ".join(sorted({*others} - programmed))
    away = ", its store being away" if status["store"]["state"] == "away" else ""
    unlinked = f"it has not programmed {lacking}{away}" if lacking else ""
    return "; ".join(status["ready_reasons"]) or unlinked
