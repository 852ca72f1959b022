"""The agent in numbers that are read when somebody asks: how it is now, for Prometheus.

In: an agent, and what its store's client counts. Out: gauges in its `Metrics`. What is counted as
it happens is there already (`metrics`).
"""

from functools import partial

from podway.agent.agent import Agent
from podway.agent.metrics import Metrics
from podway.agent.relay_counters import RelayCounters, relay_socket
from podway.store.counts import StoreCounts


def watch_agent(agent: Agent, metrics: Metrics) -> None:
    """Show how *agent* fares."""
    metrics.registry.register(RelayCounters(relay_socket(agent.settings)))
    metrics.watch("podway_peers", "Other nodes of the cluster.", lambda: _peers(agent))
    metrics.watch(
        "podway_peers_skipped",
        "Peers of which something cannot be reached or cannot be true; status says why.",
        lambda: float(len(agent.desires.skipped)),
    )
    metrics.watch(
        "podway_conflicts",
        "Kernel objects that more than one peer or pod wants differently.",
        lambda: float(len(agent.tracker.conflicts())),
    )
    metrics.watch(
        "podway_endpoints", "Pod interfaces of this node.", lambda: float(len(agent.endpoints))
    )
    metrics.watch(
        "podway_endpoints_detached",
        "Endpoints whose namespace is gone and that wait for DEL.",
        lambda: float(agent.endpoints.detached()),
    )
    metrics.watch(
        "podway_endpoints_stranded",
        "Endpoints whose addresses are not in this node's subnets any more.",
        lambda: float(len(agent.node.stranded())),
    )
    metrics.watch(
        "podway_addresses_in_use",
        "Pod addresses that are held.",
        lambda: float(sum(pool.used for pool in agent.ipam.pools.values())),
    )
    metrics.watch(
        "podway_drift_repaired",
        "Objects that somebody changed or removed and that were put right, since the start.",
        lambda: float(agent.tracker.drift_repaired),
    )
    metrics.watch(
        "podway_udp_checksum_errors",
        "UDP datagrams that came with a wrong checksum, since the start.",
        lambda: float(agent.checksum_errors()),
    )
    metrics.watch(
        "podway_failing_operations",
        "Kernel operations that fail and are tried again.",
        lambda: float(len(agent.tracker.failures)),
    )
    metrics.watch(
        "podway_forward_drops",
        "Chains of others that drop forwarded packets which their rules do not accept.",
        lambda: float(len(agent.lookout.forward_drops)),
    )
    metrics.watch(
        "podway_store_connected",
        "1 while the store answers.",
        lambda: float(agent.watch.state == "connected"),
    )


def watch_store(counts: object, metrics: Metrics) -> None:
    """Show what the store's client counts of itself, where it does."""
    if not isinstance(counts, StoreCounts):
        return
    for name, text, field in (
        ("requests", "Requests to the store so far.", "requests"),
        ("lists", "Times that everything was read from the store.", "relists"),
        ("malformed_entries", "Entries of others that cannot be read, now.", "malformed"),
        ("passed_over", "Entries of others that could not be read, so far.", "passed_over"),
    ):
        metrics.watch(f"podway_store_{name}", text, partial(_count, counts, field))


def _count(counts: StoreCounts, field: str) -> float:
    return float(getattr(counts, field))


def _peers(agent: Agent) -> float:
    return float(len(agent.cluster.nodes.keys() - {agent.settings.node}))
