"""Is the node fit for pods? The reasons against, in sentences; none means ready."""

import time
from typing import TYPE_CHECKING

from podway.compute import mtu

if TYPE_CHECKING:
    from podway.agent.agent import Agent


def not_ready_reasons(agent: "Agent") -> list[str]:
    """Return why *agent* should not be given pods now; empty when it may."""
    return not_serving_reasons(agent) + _store_reasons(agent) + _failure_reasons(agent)


def not_serving_reasons(agent: "Agent") -> list[str]:
    """Return why *agent* cannot attach pods; a store that is away is no reason.

    It owns its addresses, and a cluster in which every node refused pods as soon as the store is
    restarted would be worse off than with routes that are a little old.
    """
    place = agent.desires.place
    small = mtu.too_small(place.mtus) if place is not None else None
    file = agent.subnet_file.error if agent.subnet_file is not None else ""
    return _lease_reasons(agent) + [text for text in (small, file) if text]


def _lease_reasons(agent: "Agent") -> list[str]:
    if agent.cluster.network_error:
        return [f"the network's configuration cannot be used: {agent.cluster.network_error}"]
    reasons = [text for text in (agent.lookout.uplink_error, agent.claims.error) if text]
    if agent.leases.refusal:
        reasons.append(f"no lease: {agent.leases.refusal}")
    if not reasons and agent.node.place() is None:
        reasons.append(_missing(agent))
    if not reasons and not agent.reconciled:
        reasons.append(agent.lookout.error or "the agent has just started")
    return reasons


def _missing(agent: "Agent") -> str:
    if agent.cluster.network is not None:
        return "the node has no lease yet"
    if agent.cluster.complete:
        return "no network is configured: podway network apply FILE"
    away = f" ({agent.watch.reason})" if agent.watch.reason else ""
    return f"the store {agent.settings.store} has not answered yet{away}"


def _store_reasons(agent: "Agent") -> list[str]:
    away_s = time.monotonic() - agent.watch.since
    if agent.watch.state != "away" or away_s < agent.settings.store_grace_s:
        return []
    return [f"the store has been away for {away_s:.0f} s: {agent.watch.reason}"]


def _failure_reasons(agent: "Agent") -> list[str]:
    failures = list(agent.tracker.failures.values())
    reasons = [f"the kernel fails: {agent.lookout.error}"] if agent.lookout.error else []
    reasons += [f"{name}: {text}" for name, text in sorted(agent.programs.failures.items())]
    if failures:
        first = min(failures, key=lambda failure: failure.since)
        reasons.append(f"{len(failures)} kernel operations fail, first: {first.error}")
    return reasons
