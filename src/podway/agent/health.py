"""Is the node fit for pods? The reasons against, in sentences; none means ready."""

import time
from typing import TYPE_CHECKING

from podway.compute import mtu

if TYPE_CHECKING:
    from podway.agent.agent import Agent


def not_ready_reasons(agent: "Agent") -> list[str]:
    """Return why *agent* should not be given pods now; empty when it may."""
    reasons = _lease_reasons(agent) + _store_reasons(agent)
    place = agent.desires.place
    if place is not None:
        small = mtu.too_small(place.mtus)
        reasons += [small] if small else []
    failures = list(agent.tracker.failures.values())
    if failures:
        first = min(failures, key=lambda failure: failure.since)
        reasons.append(f"{len(failures)} kernel operations fail, first: {first.error}")
    return reasons


def _lease_reasons(agent: "Agent") -> list[str]:
    if agent.cluster.network_error:
        return [f"the network's configuration cannot be used: {agent.cluster.network_error}"]
    if agent.uplink_error:
        return [agent.uplink_error]
    if agent.desires.place is not None and not agent.leases.refusal:
        return []
    return [_missing(agent)]


def _missing(agent: "Agent") -> str:
    if agent.leases.refusal:
        return f"no lease: {agent.leases.refusal}"
    if agent.store_state == "never":
        return f"the store {agent.settings.store} has not answered yet: is podway hub running?"
    if agent.cluster.network is None:
        return "no network is configured: podway network apply FILE"
    return "the node has no lease yet"


def _store_reasons(agent: "Agent") -> list[str]:
    away_s = time.monotonic() - agent.store_since
    if agent.store_state != "away" or away_s < agent.settings.store_grace_s:
        return []
    return [f"the store has been away for {away_s:.0f} s: {agent.store_reason}"]
